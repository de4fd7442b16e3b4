"""Ids of accounts and phone numbers, from the command line and from files. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_ID_DIGITS: Final = 32
"""Meta's ids have up to 17; a longer run of digits is something else."""
_MAX_SHOWN_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class IdFile:
    """What a file of ids holds."""

    ids: tuple[str, ...]
    """In their order, each once."""
    problems: tuple[str, ...]
    """One for each line that holds no id: `line 3: ...`."""
    repeated: int
    """How many lines name an id that stands above already."""


def read_ids(text: str) -> IdFile:
    """Read one id a line; blank lines and what follows a # are skipped. Every bad line is told."""
    ids: dict[str, None] = {}
    problems: list[str] = []
    repeated = 0
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        if not is_id(word):
            shown = repr(word if len(word) <= _MAX_SHOWN_CHARACTERS else word[:_MAX_SHOWN_CHARACTERS] + "...")
            problems.append(f"line {number}: {shown} is no id: ids are digits alone")
            continue
        repeated += word in ids
        ids[word] = None
    return IdFile(ids=tuple(ids), problems=tuple(problems), repeated=repeated)


def is_id(text: str) -> bool:
    """Say whether a text can be an id of Meta's, and so stand in a path."""
    return text.isascii() and text.isdecimal() and len(text) <= MAX_ID_DIGITS


def write_remaining(rest: Iterable[tuple[str, str]], *, heading: str) -> str:
    """Write ids and why each remains, as a file that `read_ids` takes."""
    lines = [f"# {heading}", *(f"{id_}  # {why}" for id_, why in rest)]
    return "\n".join(lines) + "\n"
