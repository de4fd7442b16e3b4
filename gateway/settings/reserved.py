"""Keys that belong to the configuration but do nothing yet: they may state what holds anyway, and nothing
else.

Accepting such a key at its default lets one file serve several versions; accepting more would promise what
is not there. A table: whoever builds the feature removes the row and adds the field.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic_core import PydanticCustomError

from gateway.settings.reading import read_text
from gateway.settings.tree import KeyPath, Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """One key."""

    default: str | None
    """What it may say, as it is written; None: it must be absent."""
    read: Callable[[object], object] = read_text


RESERVED: Final[Mapping[tuple[str, ...], Reserved]] = {}
"""By path; `*` stands for any name."""


def reserved_under(path: tuple[str, ...]) -> frozenset[str]:
    """Return the keys that the table knows directly under a path."""
    return frozenset(key[len(path)] for key in RESERVED if len(key) > len(path) and key[: len(path)] == path)


def complain_of_reserved(
    pattern: tuple[str, ...], path: KeyPath, value: Plain
) -> list[tuple[KeyPath, str, str]]:
    """Check one value that stands at a reserved key, or a mapping above some."""
    row = RESERVED.get(pattern)
    if row is None:
        return _complain_of_mapping(pattern, path, value)
    name = pattern[-1]
    if row.default is None:
        return [(path, "is not available in this version", "remove it")]
    try:
        stated = row.read(value)
    except (PydanticCustomError, KeyError):
        stated = None
    if stated == row.read(row.default):
        return []
    written = f"{name}: {value}" if isinstance(value, str) and value.isprintable() else name
    return [(path, f"`{written}` is not available in this version", f"remove it or use {row.default}")]


def _complain_of_mapping(
    pattern: tuple[str, ...], path: KeyPath, value: Plain
) -> list[tuple[KeyPath, str, str]]:
    known = reserved_under(pattern)
    if not isinstance(value, dict):
        return [
            (path, "must be a mapping", f"write keys under it ({', '.join(sorted(known))}), or remove it")
        ]
    found: list[tuple[KeyPath, str, str]] = []
    for key, below in value.items():
        if key in known:
            found += complain_of_reserved((*pattern, key), (*path, key), below)
        else:
            found.append(((*path, key), "unknown key", f"known here: {', '.join(sorted(known))}"))
    return found
