"""YAML text -> plain tree with positions. The only importer of ruamel.yaml.

Only the syntax of YAML 1.2 is used, none of its guesses: every scalar stays the text that was written, and
the field that takes it decides what it means. `off` is a text, `0123456` keeps its zero, `1_000` is no
number. Null is None.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.tokens import ScalarToken

KeyPath = tuple[str | int, ...]
"""Where something stands: `("targets", "support", "retry", "schedule", 2)`."""
Plain = str | None | list["Plain"] | dict[str, "Plain"]
"""What a file holds."""

_DEEPEST: Final = 32
"""Levels of nesting; the configuration has six. Keeps recursion far from Python's limit."""
_MOST_NODES: Final = 200_000
"""Values once aliases are expanded: a "billion laughs" file stops here."""
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
"""YAML 1.2 core schema, section 10.3.2."""
_TAGS: Final = re.compile(
    r"tag:yaml\.org,2002:(str|int|float|bool|null|seq|map|merge|timestamp|value|omap|set)"
)
_VERSION: Final = re.compile(r"^%YAML\s+(?!1\.2\s*(?:#.*)?$).*$", re.MULTILINE)

_SYNTAX: Final = (
    # What ruamel says, what we say (None: the same), what to do. Where ruamel quotes the file we do not:
    # it could be a secret.
    (r"'\\t' that cannot start", "a tab stands where YAML wants spaces", "indent with spaces"),
    (r"cannot start any token", None, "put quotes around a value that begins with this character"),
    (r"scanning an alias", "an alias (*) names nothing", "quote a text that begins with *"),
    (r"scanning an anchor", "an anchor (&) names nothing", "quote a text that begins with &"),
    (r"undefined alias", "an alias (*) names no anchor (&)", "quote a text that begins with *"),
    (r"another document", "a second document begins here", "keep one document in the file"),
    (r"undefined tag handle", "a tag (!) is not defined", "quote a text that begins with !"),
    (r"unknown escape", "a backslash escapes nothing known", "use single quotes, or double the backslash"),
    (r"incompatible YAML", "the file declares another version of YAML", "remove the %YAML line"),
    (r"mapping values are not", None, "quote a text that holds ': ', and check the indentation"),
    (r"block end", "a key or an item stands at the wrong depth", "align it with its neighbours, with spaces"),
    (r"expected ':'", "a line is neither `key: value` nor an item", "add the missing colon"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One thing that is wrong with a place in the file."""

    key_path: KeyPath
    position: tuple[int, int]
    """Line and column, 1-based."""
    message: str
    remedy: str


@dataclass(slots=True, kw_only=True)
class Tree:
    """A file as plain values, with the position of every key and item, and what is wrong with its form."""

    root: Plain = None
    positions: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)


def read_tree(text: str) -> Tree:
    """Parse a file. Never raises on account of its content."""
    tree = Tree()
    try:
        node = _compose(text)
        if node is not None:
            tree.positions[()] = _place(node)
            tree.root = _Builder(tree).build(node, ())
    except _SyntaxError as error:
        tree.root = None
        tree.complaints.append(error.complaint)
    return tree


class _SyntaxError(Exception):
    """The file cannot be read on from here."""

    def __init__(
        self, message: str, remedy: str, *, position: tuple[int, int], key_path: KeyPath = ()
    ) -> None:
        self.complaint = Complaint(key_path=key_path, position=position, message=message, remedy=remedy)
        super().__init__(message)


def _compose(text: str) -> Node | None:
    """Let ruamel parse; its errors become ours here and nowhere else."""
    if version := _VERSION.search(text):
        line = text.count("\n", 0, version.start()) + 1
        raise _SyntaxError(
            "the file declares another version of YAML", "remove the %YAML line", position=(line, 1)
        )
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = _DEEPEST
    yaml.composer.warn_double_anchors = False  # YAML 1.2 section 3.2.2.2: the later one counts
    try:
        node: Node | None = yaml.compose(text)
    except MaxDepthExceededError as error:
        raise _SyntaxError("is nested too deep", "write it flatter", position=_mark(error)) from None
    except MarkedYAMLError as error:
        if (quote := _open_quote(text, error)) is not None:
            raise quote from None
        message, remedy = _explain(error)
        raise _SyntaxError(message, remedy, position=_mark(error)) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        raise _SyntaxError(
            f"the character U+{ord(text[error.position]):04X} may not stand in YAML",
            "remove it",
            position=(line, column),
        ) from None
    except YAMLError:
        raise _SyntaxError("is not YAML", "correct its form", position=(1, 1)) from None
    return node


def _open_quote(text: str, error: MarkedYAMLError) -> _SyntaxError | None:
    """Blame the quote that was left open, where one was: ruamel stumbles behind the next one, lines later."""
    closed = None
    if "quoted scalar" in str(error.context) and "unexpected" in str(error.problem):
        opens = error.context_mark
    else:
        token = _quoted_over_lines(text, _mark(error))
        opens, closed = (token.start_mark, token.end_mark.line + 1) if token else (None, None)
    if opens is None:
        return None
    how = f"closed only in line {closed}" if closed else "never closed"
    place = (opens.line + 1, opens.column + 1)
    return _SyntaxError(f"the quote that opens here is {how}", "close it where the text ends", position=place)


def _quoted_over_lines(text: str, stumbled: tuple[int, int]) -> ScalarToken | None:
    """Return the quoted text of several lines that ends where the parser stumbled, or in the line before."""
    found = None
    try:
        for token in YAML(typ="safe", pure=True).scan(text):
            ends = (token.end_mark.line + 1, token.end_mark.column + 1)
            if ends > stumbled:
                break
            if isinstance(token, ScalarToken) and token.start_mark.line < token.end_mark.line:
                found = token if token.style in {"'", '"'} and ends[0] >= stumbled[0] - 1 else None
    except YAMLError:
        return found
    return found


def _explain(error: MarkedYAMLError) -> tuple[str, str]:
    problem = str(error.problem or error.context).partition("\n")[0]
    told = f"{problem} {error.context or ''}"
    for pattern, message, remedy in _SYNTAX:
        if re.search(pattern, told):
            return message or f"not YAML: {problem}", remedy
    return f"not YAML: {problem}", "correct its form here or just before"


def _mark(error: MarkedYAMLError) -> tuple[int, int]:
    mark = error.problem_mark or error.context_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _place(node: Node) -> tuple[int, int]:
    return (node.start_mark.line + 1, node.start_mark.column + 1)


class _Builder:
    """Walks the nodes once; an alias is walked again wherever it is used."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._nodes = 0

    def build(self, node: Node, path: KeyPath) -> Plain:
        self._nodes += 1
        if len(path) > _DEEPEST or self._nodes > _MOST_NODES:
            raise _SyntaxError(
                "aliases make it endless", "write it out", position=_place(node), key_path=path[:8]
            )
        if not _TAGS.fullmatch(str(node.tag)):
            self._complain(node, path, "carries a tag (!)", "remove it, or quote a text that begins with !")
        match node:
            case ScalarNode():
                return None if node.style is None and node.value in _NULLS else str(node.value)
            case SequenceNode():
                return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
            case MappingNode():
                return self._mapping(node, path)
        raise TypeError(type(node))

    def _item(self, node: Node, path: KeyPath) -> Plain:
        self._tree.positions.setdefault(path, _place(node))
        return self.build(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> Plain:
        values: dict[str, Plain] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._complain(
                    key_node, path, "a key is a list or a mapping", "write a plain text before the colon"
                )
                continue
            key = str(key_node.value)
            key_path = (*path, key)
            if key == "<<" and key_node.style is None:
                self._complain(
                    key_node,
                    key_path,
                    "is a merge key of YAML 1.1, which YAML 1.2 does not know",
                    "use an alias for a whole value (key: *anchor), or write it out",
                )
            elif key in values:
                line = self._tree.positions[key_path][0]
                self._complain(
                    key_node, key_path, f"stands here twice, first in line {line}", "remove one of them"
                )
            else:
                self._tree.positions[key_path] = _place(key_node)
                values[key] = self.build(value_node, key_path)
        return values

    def _complain(self, node: Node, path: KeyPath, message: str, remedy: str) -> None:
        self._tree.complaints.append(
            Complaint(key_path=path, position=_place(node), message=message, remedy=remedy)
        )
