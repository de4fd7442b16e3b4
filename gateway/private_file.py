"""Small files that are their owner's alone: tokens, keys. Made whole or not at all, read with suspicion."""

import os
import stat
from pathlib import Path

from gateway.errors import GatewayError


class LooseFileError(GatewayError):
    """The operator's fault: no plain file, or one that others may read or write, and so may know."""


def make_private_file(path: Path, content: bytes) -> None:
    """Write under another name, fsync, rename, fsync the directory; mode 0600 whatever the umask.

    For a process that is alone in making it: the spool's lock sees to that.

    Raises:
        OSError: nothing stands under the name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a crashed process with our number
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        rest = content
        while rest:  # a disk that fills up takes a part, and says why at the next
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_directory(path.parent)


def read_private_file(path: Path, *, max_bytes: int) -> bytes:
    """Return at most `max_bytes`. Symbolic links are not followed, pipes not waited for.

    Raises:
        OSError: there is none, or it cannot be read.
        LooseFileError: not a plain file, or open to others.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise LooseFileError("is not a plain file")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise LooseFileError(f"may be read or written by others ({mode:04o})")
        return os.read(descriptor, max_bytes)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
