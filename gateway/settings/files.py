"""The files that a configuration names: which they are, and whether their content has changed.

Content is compared, never a time: a clock that was set back, a restored mtime or a touched file say nothing.
"""

import errno
import hashlib
import os
import select
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

MAX_BYTES: Final = 4 * 1024**2
"""As much of a file is looked at; a longer one, such as a large CA's revocation list, says its date at its
beginning."""
MAX_LINKS: Final = 40
"""Symbolic links on the way to one file; Linux follows no more (path_resolution(7))."""

PIPE_SECONDS: Final = 20.0
"""For the writer of a named pipe, a program beside us; a thread that waits for nobody never ends."""
CHUNK_BYTES: Final = 1024**2
"""Read at a time; most files are smaller."""

NO_FILE: Final = "no file"
"""Stands for a pipe or a device: it cannot be looked at twice, so it never changes."""

_STATE: Final = frozenset({"spool", "dead_letter"})
"""Sections whose directories the gateway writes to."""

Sight = Mapping[Path, str]
"""File or directory -> a digest of its content; a word where there is none to be had."""


def digest(content: bytes) -> str:
    """Return the SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def paths_of(settings: BaseModel) -> frozenset[Path]:
    """Return the files and directories that the sections name to be read, secrets and lists of ids left out:
    these are on record where they are read (`Loaded.opened`).
    """
    return frozenset(
        path
        for name in type(settings).model_fields
        if name not in _STATE
        for path in paths_in(getattr(settings, name))
    )


def paths_in(value: object) -> Iterator[Path]:
    """Return every path in a part of the settings."""
    match value:
        case Path():
            yield value
        case BaseModel():
            for name in type(value).model_fields:
                yield from paths_in(getattr(value, name))
        case dict():
            for below in value.values():
                yield from paths_in(below)
        case tuple() | list():
            for below in value:
                yield from paths_in(below)


def look(paths: Iterable[Path]) -> Sight:
    """Look at each file, and at each file in a directory. Blocks for the disk; raises nothing."""
    return {path: _look(path) for path in paths}


def read_within(path: Path, *, max_bytes: int) -> tuple[bytes, bool]:
    """Return at most `max_bytes`, and whether it is a plain file; a pipe is waited for, not without end.

    Raises:
        OSError: it cannot be read; ENODATA: a pipe's writer has not come, or not come to its end.
        ValueError: it is no path.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        deadline = None if is_file else time.monotonic() + PIPE_SECONDS
        content = bytearray()
        while len(content) < max_bytes:
            try:
                if deadline is not None:
                    _wait_for_data(descriptor, deadline)
                part = os.read(descriptor, min(CHUNK_BYTES, max_bytes - len(content)))
            except BlockingIOError:
                continue
            if not part:
                break
            content += part
        return bytes(content), is_file
    finally:
        os.close(descriptor)


def _wait_for_data(descriptor: int, deadline: float) -> None:
    """A pipe that was never written to has not ended either: poll(2) tells the two apart, and read(2) does
    not."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))


def directories_of(paths: Iterable[Path]) -> frozenset[Path]:
    """Return the directories in which an entry must change for one of the paths to lead to other content.

    That is where the file itself stands, where each symbolic link on the way to it does, and the directory
    above each of these, in which it may be replaced as a whole. Of what is not there, the nearest directory
    that is.
    """
    return frozenset(
        one for path in paths for directory in _directories(path) for one in (directory, directory.parent)
    )


def _look(path: Path) -> str:
    try:
        if path.is_dir():
            names = sorted(os.listdir(path))  # noqa: PTH208 (names, and no Path a file)
            return digest("\n".join(f"{name} {_read(path / name)}" for name in names).encode())
        return _read(path)
    except (OSError, ValueError) as error:
        return _word(error)


def _read(path: Path) -> str:
    try:
        # A named pipe is not even opened: its writer would take us for the reader that it waits for. Nor is
        # one waited for that has just taken the file's place (O_NONBLOCK).
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (beside os.open)
            return NO_FILE
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return _word(error)
    with open(descriptor, "rb") as file:  # noqa: PTH123 (a descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return NO_FILE
        try:
            return digest(file.read(MAX_BYTES))
        except OSError as error:
            return _word(error)


def _word(error: OSError | ValueError) -> str:
    return f"error {error.errno}" if isinstance(error, OSError) else "no path"


def _directories(path: Path) -> Iterator[Path]:
    """Walk a path as the system does, and return every directory where it could be turned elsewhere."""
    at, rest, links = Path(path.anchor or "."), list(reversed(path.parts[bool(path.anchor) :])), 0
    while rest:
        part = rest.pop()
        entry = at.parent if part == ".." else at / part
        try:
            target = Path(os.readlink(entry))  # noqa: PTH115 (as it is written)
        except (OSError, ValueError):
            at = entry
            continue
        yield at
        links += 1
        if links > MAX_LINKS:
            return
        if target.anchor:
            at = Path(target.anchor)
        rest.extend(reversed(target.parts[bool(target.anchor) :]))
    # Not `Path.is_dir`: it raises where a directory above may not be looked into, or a name is too long.
    while not os.path.isdir(at) and at != at.parent:  # noqa: PTH112
        at = at.parent
    yield at
