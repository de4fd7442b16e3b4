"""The lock on a spool directory (promise 17): one process at a time, and an error that names who has it.

The lock is `flock` on the directory itself: it ends with the process, however that ends, and no file has to
be there for it, so none can be deleted under it. The file `holder` beside it only tells who holds it.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.errors import SpoolLockedError, SpoolUnavailableError
from gateway.private_file import sync_directory

HOLDER_FILE = "holder"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def make_directory(directory: Path) -> None:
    """Create a directory (0700) with its parents, each durable in the one above; fine if it is there."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    sync_directory(directory.parent)


class DirectoryLock:
    """A spool directory, held. Use `with`, or `release` it.

    Raises:
        SpoolLockedError: another process, or another spool of this one, holds the directory.
        SpoolUnavailableError: the directory cannot be made, read or locked.
    """

    def __init__(self, directory: Path) -> None:
        try:
            make_directory(directory)
            self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SpoolUnavailableError(
                f"the spool directory {directory} cannot be used: {error.strerror}",
                remedy="make it a directory that the gateway may read and write",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_holder(directory)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise SpoolLockedError(
                f"the spool directory {directory} is in use by {_holder(directory)}",
                remedy="stop that process, or give this one a directory of its own",
            ) from error
        except OSError as error:
            os.close(self._descriptor)
            raise SpoolUnavailableError(
                f"the spool directory {directory} cannot be written: {error.strerror}",
                remedy="let the gateway's user write there; the directory must be on a local file system",
            ) from error

    def release(self) -> None:
        """Give the directory back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _write_holder(directory: Path) -> None:
    descriptor = os.open(
        directory / HOLDER_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE
    )
    try:
        os.write(descriptor, f"{os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


def _holder(directory: Path) -> str:
    try:
        text = (directory / HOLDER_FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    return f"process {text}" if text.isdigit() else "another process"
