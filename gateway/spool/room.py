"""Whether there is room on the disk, and the spool still in its place: looked up at most once a second
(`Spool.room`)."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.core.sizes import say_size
from gateway.spool.contract import Room

LOOK_SECONDS = 1.0
"""How old a look at the file system may be: `room` is asked at every request."""
FAILURE_SECONDS = 5.0
"""How long a failed write counts: meanwhile Meta hears 503; then a notification is let through to try."""


class DiskRoom:
    """Free space of the file system, and what became of the last write."""

    def __init__(
        self,
        directory: Path,
        min_free_bytes: int,
        *,
        files: Iterable[Path] = (),
        lost: Callable[[Path], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lost` is called, once, with that of `files` which was there and is gone, or has been replaced."""
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._files: dict[Path, tuple[int, int] | None] = {file: _identity(file) for file in files}
        self._lost = lost
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._free_bytes = 0
        self._total_bytes = 0
        self._no_look = ""
        self._failure = ""
        self._failed_at = float("-inf")
        self._final = ""
        self._unclouded: Room | None = None
        """What `now` says until the next look, where there is nothing to complain of."""

    def write_failed(self, detail: str) -> bool:
        """Remember that something could not be stored; True where that is news."""
        now = self._monotonic()
        news = not self._failure or now - self._failed_at >= FAILURE_SECONDS
        self._failure = detail
        self._failed_at = now
        self._unclouded = None
        return news

    def write_succeeded(self) -> None:
        """Forget the failure."""
        self._failure = ""

    def failed_for_good(self, detail: str) -> None:
        """Remember that nothing will be stored any more."""
        self._final = detail
        self._unclouded = None

    def now(self) -> Room:
        """Return the state."""
        now = self._monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._look()
        elif self._unclouded is not None:
            return self._unclouded
        failure = self._failure if now - self._failed_at < FAILURE_SECONDS else ""
        reason = self._final or self._no_look or failure
        enough = self._free_bytes >= self._min_free_bytes
        if not reason and not enough:
            reason = (
                f"{say_size(self._free_bytes)} are free, {say_size(self._min_free_bytes)} are to stay free"
            )
        room = Room(
            free_bytes=self._free_bytes,
            total_bytes=self._total_bytes,
            enough=enough,
            writable=not (self._final or self._no_look or failure),
            detail=reason,
        )
        self._unclouded = None if reason else room
        return room

    def _look(self) -> None:
        try:
            self._look_at_files()
            found = os.statvfs(self._directory)
        except OSError as error:
            self._no_look = f"{self._directory} cannot be looked at: {error.strerror}"
            return
        self._no_look = f"{self._directory} is read-only" if found.f_flag & os.ST_RDONLY else ""
        self._free_bytes = found.f_bavail * found.f_frsize
        self._total_bytes = found.f_blocks * found.f_frsize

    def _look_at_files(self) -> None:
        """See that the names still lead to what is open: nothing in a file without a name outlives us."""
        if self._final:
            return
        for file, known in self._files.items():
            found = _identity(file)
            if known is None:
                self._files[file] = found
            elif found != known:
                self._final = f"{file} is gone, or another"
                self._lost(file)
                return


def _identity(file: Path) -> tuple[int, int] | None:
    """Return what a file is, whatever it is called; None where there is none."""
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
