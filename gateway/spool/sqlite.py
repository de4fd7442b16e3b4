"""The embedded spool: SQLite, one file, one writer thread (architecture, section 4, "Storage").

`front.py` is the side on the Trio thread; `writer.py` groups requests into batches, `engine.py` makes a
transaction of each.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from gateway.errors import GatewayError, SpoolBrokenError
from gateway.private_file import sync_directory
from gateway.settings.model import Spool as SpoolSettings
from gateway.spool.contract import Offer, Remembered
from gateway.spool.database import FILE_NAME, open_database, wal_of
from gateway.spool.duplicates import Limits
from gateway.spool.engine import Engine
from gateway.spool.front import MAX_QUEUED_BYTES, MAX_QUEUED_REQUESTS, SpoolFront
from gateway.spool.lock import DirectoryLock
from gateway.spool.requests import Request
from gateway.spool.room import DiskRoom
from gateway.spool.writer import Writer
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics

log = get_logger("spool")

WORKER_NAME: Final = re.compile(r"0|[1-9][0-9]{0,2}")
"""The directory of a worker, below that of the spool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteOptions:
    """What of the settings concerns the embedded spool."""

    duplicates_window_seconds: float
    duplicates_max: int
    min_free_bytes: int
    keep_delivered_seconds: float = 0.0
    max_queued_requests: int = MAX_QUEUED_REQUESTS
    max_queued_bytes: int = MAX_QUEUED_BYTES

    @classmethod
    def of(cls, spool: SpoolSettings) -> "SqliteOptions":
        """Say what the settings mean for the embedded spool."""
        return cls(
            duplicates_window_seconds=spool.duplicates_window_seconds,
            duplicates_max=spool.duplicates_max,
            min_free_bytes=spool.min_free_bytes,
            keep_delivered_seconds=spool.keep_delivered_seconds,
        )


@asynccontextmanager
async def open_sqlite_spool(
    directory: Path,
    options: SqliteOptions,
    *,
    metrics: Metrics,
    now_ms: Callable[[], int],
    vfs: str | None = None,
) -> AsyncIterator["SqliteSpool"]:
    """Lock a spool directory, open the file of its only worker, and close both at the end.

    `now_ms` gives Unix time, from any thread. `vfs` names a SQLite VFS: tests put faults there.

    Raises:
        SpoolLockedError: somebody else holds the directory or has the file open (17).
        SpoolUnavailableError: the directory cannot be written.
        SpoolBrokenError: the file is damaged, foreign, or of a newer version; it has not been touched (16).
    """
    with DirectoryLock(directory):
        async with open_worker_spool(directory, 0, options, metrics=metrics, now_ms=now_ms, vfs=vfs) as spool:
            yield spool


@asynccontextmanager
async def open_worker_spool(
    directory: Path,
    worker: int,
    options: SqliteOptions,
    *,
    metrics: Metrics,
    now_ms: Callable[[], int],
    vfs: str | None = None,
) -> AsyncIterator["SqliteSpool"]:
    """Open the file of one worker, `DIRECTORY/WORKER`, and close it at the end; who called holds the lock of
    the directory, or is the child of who does. Raises as `open_sqlite_spool`.
    """
    worker_directory = directory / str(worker)
    limits = Limits(
        window_ms=round(options.duplicates_window_seconds * 1000), max_keys=options.duplicates_max
    )
    file = worker_directory / FILE_NAME

    def make_engine() -> Engine:
        return Engine(
            open_database(worker_directory, vfs=vfs),
            file,
            limits,
            keep_ms=round(options.keep_delivered_seconds * 1000),
            min_free_bytes=options.min_free_bytes,
            now_ms=now_ms,
        )

    engine = await trio.to_thread.run_sync(make_engine)
    spool = SqliteSpool(engine, file, options, metrics=metrics, now_ms=now_ms)
    try:
        yield spool
    finally:
        await spool.close()


def workers_with_files(directory: Path) -> tuple[int, ...]:
    """Return the numbers of the workers whose files lie in a spool directory."""
    try:
        names = [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return ()
    numbers = (int(name) for name in names if WORKER_NAME.fullmatch(name))
    return tuple(sorted(number for number in numbers if (directory / str(number) / FILE_NAME).exists()))


def remove_worker_file(directory: Path, worker: int) -> None:
    """Remove the file of a worker in which nothing waits, closed by now; the main file goes first, since it
    alone makes the rest a spool."""
    file = directory / str(worker) / FILE_NAME
    for path in (file, wal_of(file)):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # something else lies there: not ours to remove
        file.parent.rmdir()
    sync_directory(directory)


class SqliteSpool(SpoolFront):
    """A `Spool`. Made by `open_sqlite_spool`."""

    def __init__(
        self,
        engine: Engine,
        file: Path,
        options: SqliteOptions,
        *,
        metrics: Metrics,
        now_ms: Callable[[], int],
    ) -> None:
        super().__init__(
            DiskRoom(file.parent, options.min_free_bytes, files=(file, wal_of(file)), lost=self._lose),
            pending=engine.pending,
            pending_bytes=engine.pending_bytes,
            max_queued_requests=options.max_queued_requests,
            max_queued_bytes=options.max_queued_bytes,
        )
        self._file = file
        self._engine = engine
        self._writer = Writer(
            engine,
            observe_commit_seconds=metrics.spool_commit_seconds.observe,
            wake=self._wake,
            broken=self._break,
            now_ms=now_ms,
        )

    def _put(self, request: Request) -> None:
        self._writer.put(request)

    def offer(self, offer: Offer) -> bool:
        """See `Spool.offer`."""
        self._engine.offer(offer)
        return True

    def remembered(self, now_ms: int) -> Remembered:
        """See `Spool.remembered`."""
        return self._engine.remembered(now_ms)

    def size_bytes(self) -> int:
        """See `Spool.size_bytes`."""
        total = 0
        for file in (self._file, wal_of(self._file)):
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                continue  # there is no log before the first write
        return total

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._writer.close()
        except GatewayError as error:
            # All that was acknowledged is durable in the log; the next opening reads it from there.
            log.warning("spool_close_failed", detail=str(error))

    def _lose(self, file: Path) -> None:
        """End it: what is written to a file that has lost its name is gone with the process."""
        failure = SpoolBrokenError(
            f"the spool file is gone, or another is in its place: {file}",
            remedy="before the next start, bring back the spool directory with all of its files",
        )
        self._writer.leave(failure)
        self._break(failure)
