"""Patterns of routes: `*` and `?` as in a shell, and nothing else of a shell."""

import re
from collections.abc import Callable, Sequence
from typing import Final

Glob = Callable[[str], bool]
"""Whether a text matches the patterns of one key."""

_WILDCARD: Final = re.compile(r"[*?]")


def compile_globs(patterns: Sequence[str] | None) -> Glob:
    """Return a predicate: whether a text matches any of the patterns (None: no patterns stated, everything
    does).

    `*` stands for any number of characters, `?` for one; everything else, `[` included, for itself. Case
    matters.
    """
    if patterns is None or "*" in patterns:
        return _everything
    literal = frozenset(pattern for pattern in patterns if not _WILDCARD.search(pattern))
    wild = [_glob_to_regex(pattern) for pattern in patterns if _WILDCARD.search(pattern)]
    if not wild:
        return literal.__contains__
    matches = re.compile("|".join(wild), re.DOTALL).fullmatch
    return lambda text: text in literal or matches(text) is not None


def _everything(_text: str) -> bool:
    return True


def _glob_to_regex(pattern: str) -> str:
    """Translate one pattern. Middle parts are atomic groups: the first place where one fits is as good as any
    later."""
    first, *rest = (re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", pattern))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last
