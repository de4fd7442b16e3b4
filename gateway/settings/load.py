"""Reading the file: bytes -> tree -> `Loaded`, with every complaint at its place, all in one go."""

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from gateway.errors import ConfigurationError, Problem
from gateway.settings.complaints import complaints_of
from gateway.settings.crosschecks import Found, cross_check
from gateway.settings.files import digest, read_within
from gateway.settings.form import examine_form
from gateway.settings.missing_files import remedy_for
from gateway.settings.model import Settings
from gateway.settings.reading import Reading, reason, remedy
from gateway.settings.tree import Complaint, KeyPath, Plain, Tree, read_tree

__all__ = ["KeyPath", "Loaded", "Source", "load_settings", "write_key_path"]

_LARGEST_BYTES: Final = 1024**2
"""A configuration beyond 1 MiB is the wrong file; long id lists stand in files of their own."""
_NAME_IT: Final = "name it with --config or GATEWAY_CONFIG; `gateway init` writes one to start from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where every key stands in the file, so that later checks can name the place too."""

    file: Path
    sha256: str
    """Hexadecimal, of the file's bytes: `config_info{hash}`."""
    positions: Mapping[KeyPath, tuple[int, int]]
    """Line and column, 1-based."""
    content: bytes = field(default=b"", repr=False)
    """The file's bytes: a reload for the sake of another file reads these again, and not the file."""

    def problem(self, key_path: KeyPath, message: str, *, remedy: str) -> Problem:
        """Make a complaint about a key (at the place of the nearest parent that stands in the file)."""
        nearest = key_path
        while nearest and nearest not in self.positions:
            nearest = nearest[:-1]
        line, column = self.positions.get(nearest, (0, 0))
        return Problem(
            file=self.file,
            line=line,
            column=column,
            key_path=write_key_path(key_path),
            message=message,
            remedy=remedy_for(key_path, remedy),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Validated settings with their source."""

    settings: Settings
    source: Source
    opened: Mapping[Path, str] = field(default_factory=dict, repr=False)
    """The files of secrets and lists -> the digest of what was read (`settings.files`)."""


def load_settings(
    path: Path,
    *,
    environ: Mapping[str, str],
    with_secrets: bool = True,
    with_lists: bool = True,
    content: bytes | None = None,
) -> Loaded:
    """Load and validate one configuration file.

    Args:
        path: The file.
        environ: The environment, for secrets and for where state lives.
        with_secrets: False: secrets are empty.
        with_lists: False: an id list in a file of its own stands for any id.
        content: What to read in place of the file; paths are relative to the file all the same.

    Raises:
        ConfigurationError: every problem that was found, in order of position.
    """
    source, tree = read_source(path, content=content)
    problems = [_place(source, complaint) for complaint in tree.complaints]
    if not isinstance(tree.root, dict):
        raise ConfigurationError(tuple(problems) or (_not_a_mapping(source, tree),))
    context = Reading(
        base=path.absolute().parent, environ=environ, with_secrets=with_secrets, with_lists=with_lists
    )
    settings, found = _validate(tree.root, context, tree)
    problems += [source.problem(key_path, message, remedy=remedy) for key_path, message, remedy in found]
    if settings is None or problems:
        raise ConfigurationError(tuple(sorted(problems, key=lambda problem: (problem.line, problem.column))))
    return Loaded(settings=settings, source=source, opened=context.opened)


def read_source(path: Path, *, content: bytes | None = None) -> tuple[Source, Tree]:
    """Read a file (or, in its place, `content`) as a tree, with the place of every key.

    Raises:
        ConfigurationError: it cannot be read, or is no text.
    """
    if content is None:
        content = _read(path)
    tree = read_tree(_decode(path, content))
    return Source(file=path, sha256=digest(content), positions=tree.positions, content=content), tree


def write_key_path(key_path: KeyPath) -> str:
    """Write a path as messages do: `targets.support.retry.schedule[2]`."""
    text = ""
    for part in key_path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if part.isprintable() and part else f".{part!r}"
    return text.removeprefix(".")


def _validate(root: dict[str, Plain], context: Reading, tree: Tree) -> tuple[Settings | None, list[Found]]:
    """Form, then values, then what the sections say of each other; nothing is complained of twice."""
    form = examine_form(root)
    found = list(form.complaints)
    settings = None
    try:
        settings = Settings.model_validate(form.root, context=context, by_alias=True, by_name=False)
    except ValidationError as error:
        covered = {path for path, _, _ in found} | {c.key_path for c in tree.complaints} | form.excused
        found += _without(covered, complaints_of(error, standing=tree.positions))
    covered = {path for path, _, _ in found}
    found += _without(covered, cross_check(form.root))
    return settings, found


def _without(covered: set[KeyPath], found: Iterable[Found]) -> list[Found]:
    """Leave out what stands at or below a place that is complained of already."""
    return [
        (path, message, remedy)
        for path, message, remedy in found
        if not any(path[: len(above)] == above for above in covered if above)
    ]


def _read(path: Path) -> bytes:
    try:
        content, _ = read_within(path, max_bytes=_LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "its name holds a NUL"
        fault = error if isinstance(error, OSError) else FileNotFoundError(errno.ENOENT, why)
        raise _whole(path, f"cannot be read: {why}", remedy(fault, absent=_NAME_IT)) from None
    if len(content) > _LARGEST_BYTES:
        raise _whole(path, "is larger than 1 MiB", "name a configuration file with --config")
    return content


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        line = before.count(b"\n") + 1
        raise _whole(path, "is not UTF-8 text", "save it as UTF-8", line=line, column=column) from None


def _whole(path: Path, message: str, remedy: str, *, line: int = 0, column: int = 0) -> ConfigurationError:
    problem = Problem(file=path, line=line, column=column, key_path="", message=message, remedy=remedy)
    return ConfigurationError((problem,))


def _not_a_mapping(source: Source, tree: Tree) -> Problem:
    if tree.root is None:
        return source.problem(
            (), "holds nothing", remedy="`gateway init` writes a configuration to start from"
        )
    return source.problem(
        (), "is not a mapping", remedy="begin with `tls:`, `apps:`, `targets:` and `routes:`"
    )


def _place(source: Source, complaint: Complaint) -> Problem:
    line, column = complaint.position
    return Problem(
        file=source.file,
        line=line,
        column=column,
        key_path=write_key_path(complaint.key_path),
        message=complaint.message,
        remedy=complaint.remedy,
    )
