"""Where a dead-letter file is, below the store's directory: `TARGET/YYYY-MM-DD/HH/ID.json`."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.delivery.dead_letter_record import DELIVERY_ID, TARGET_NAME
from gateway.delivery.descriptors import opened
from gateway.delivery.message import rfc3339

SUFFIX: Final = ".json"
_HOUR_MS: Final = 3_600_000
_PAGE: Final = 4096
"""Names sorted at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A dead-letter file: where it is, and which file it was when it was seen."""

    target: str
    day: str
    hour: str
    id: str
    identity: tuple[int, int]
    """Inode and change time: another file under the same name has another."""
    size_bytes: int
    written_ms: int
    """Unix time, from the file system: when it died, unless someone edited it."""

    @property
    def parts(self) -> tuple[str, str, str]:
        """The directories on the way."""
        return self.target, self.day, self.hour

    @property
    def name(self) -> str:
        """The path below the store's directory."""
        return "/".join((*self.parts, self.id + SUFFIX))

    @property
    def place(self) -> tuple[str, ...]:
        """What orders the files: day, hour, target, id."""
        return self.day, self.hour, self.target, self.id


def names_of(root: int, parts: tuple[str, str, str]) -> Iterator[str]:
    """Yield the names of an hour as they come, sorted a page at a time: an hour may hold a million."""
    try:
        with opened(root, parts) as hour, os.scandir(hour) as entries:
            names = (entry.name for entry in entries if entry.name.endswith(SUFFIX))
            while page := sorted(islice(names, _PAGE)):
                yield from page
    except FileNotFoundError:
        return  # pruned meanwhile


def files_of(root: int, parts: tuple[str, str, str]) -> Iterator[Found]:
    """Go through the files of an hour, as `names_of` does."""
    for name in names_of(root, parts):
        if found := look(root, parts, name.removesuffix(SUFFIX)):
            yield found


def files_back(root: int, parts: tuple[str, str, str], before: tuple[str, ...]) -> Iterator[Found]:
    """Go through the files of an hour, the last place first, from before one on; `before` empty: all."""
    target, day, hour = parts
    if before and (day, hour, target) > before[:3]:
        return
    for name in sorted((name.removesuffix(SUFFIX) for name in names_of(root, parts)), reverse=True):
        if (not before or (day, hour, target, name) < before) and (found := look(root, parts, name)):
            yield found


def look(root: int, parts: tuple[str, str, str], identifier: str) -> Found | None:
    """See whether there is such a file: a plain one with an id for a name, below the name of a target."""
    # Both may come from a database that others write to.
    if not DELIVERY_ID.fullmatch(identifier) or not TARGET_NAME.fullmatch(parts[0]):
        return None
    try:
        with opened(root, parts) as hour:
            state = os.stat(identifier + SUFFIX, dir_fd=hour, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    return Found(
        target=parts[0],
        day=parts[1],
        hour=parts[2],
        id=identifier,
        identity=(state.st_ino, state.st_ctime_ns),
        size_bytes=state.st_size,
        written_ms=state.st_mtime_ns // 1_000_000,
    )


def likely(identifier: str) -> Iterator[tuple[str, str, str]]:
    """Guess the place from the id, `<UUID version 7>-...-<target>`: the hour of its time stamp, or a
    neighbour.
    """
    try:
        created_ms = int(identifier[:12], 16)
        moments = [rfc3339(created_ms + shift) for shift in (0, _HOUR_MS, -_HOUR_MS)]
    except (ValueError, OverflowError, OSError):
        return
    for cut in (position for position, sign in enumerate(identifier) if sign == "-"):
        for moment in moments:
            yield identifier[cut + 1 :], moment[:10], moment[11:13]
