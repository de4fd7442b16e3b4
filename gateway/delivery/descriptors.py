"""Files and directories below one directory, reached by descriptors: no symbolic link on the way is
followed.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOCK_FILE: Final = ".lock"
"""Stands for the directory where that cannot be locked."""
DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_parents(directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        with closing(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as parent:
            os.fsync(parent)


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def locked(root: int) -> Iterator[None]:
    """Hold the directory's lock: for a look and one system call, never for an fsync."""
    # A descriptor of its own: flock belongs to the open file, so this excludes other threads, too.
    with closing(os.open(".", DIRECTORY_FLAGS, dir_fd=root)) as own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
        except OSError as error:
            # On NFS a lock is one of the server's, and needs a file that is open for writing (flock(2)).
            if error.errno != errno.EBADF:
                raise
        else:
            yield
            return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with closing(os.open(LOCK_FILE, flags, 0o600, dir_fd=root)) as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        yield


@contextmanager
def opened(root: int, parts: tuple[str, ...]) -> Iterator[int]:
    """Open a directory below the root, following no link on the way."""
    current = os.dup(root)
    try:
        for part in parts:
            child = os.open(part, DIRECTORY_FLAGS, dir_fd=current)
            os.close(current)
            current = child
        yield current
    finally:
        os.close(current)


def write_file(name: str, content: bytes, directory: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with closing(os.open(name, flags, 0o600, dir_fd=directory)) as descriptor:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)


def read_file(name: str, directory: int, *, max_bytes: int) -> bytes | None:
    """Return a plain file's content; None for anything else, or one that is too large."""
    # O_NONBLOCK: opening a named pipe would otherwise wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with closing(os.open(name, flags, dir_fd=directory)) as descriptor:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_size > max_bytes:
            return None
        chunks = []
        while chunk := os.read(descriptor, 1 << 20):
            chunks.append(chunk)
        return b"".join(chunks)


def identity(name: str, directory: int) -> tuple[int, int] | None:
    try:
        state = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_ctime_ns


def _directories(descriptor: int) -> list[str]:
    with os.scandir(descriptor) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def subdirectories(root: int, parts: tuple[str, ...]) -> list[str]:
    try:
        with opened(root, parts) as descriptor:
            return _directories(descriptor)
    except FileNotFoundError:
        return []  # pruned meanwhile


def make_directory(name: str, parent: int) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    return True
