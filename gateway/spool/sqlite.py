"""The embedded spool: SQLite, one file, one writer thread (architecture, section 4, "Storage").

This side runs on the Trio thread: it queues requests, counts, and wakes whoever waits. `writer.py` groups
them into batches, `engine.py` makes a transaction of each.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from gateway.core.lanes import ORDER, Lane
from gateway.core.merging import Merging
from gateway.core.pausing import Pauses
from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError
from gateway.private_file import sync_directory
from gateway.settings.model import Spool as SpoolSettings
from gateway.spool import requests
from gateway.spool.contract import (
    Appended,
    Kept,
    KeptStates,
    Lease,
    Mentions,
    NewDelivery,
    Notification,
    Place,
    Remembered,
    Room,
    Settlement,
    TracedNotification,
)
from gateway.spool.database import FILE_NAME, open_database, wal_of
from gateway.spool.duplicates import Limits
from gateway.spool.engine import Engine
from gateway.spool.intake import check_notification, check_pauses, check_settlements
from gateway.spool.lock import DirectoryLock
from gateway.spool.room import DiskRoom
from gateway.spool.writer import Writer
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics

log = get_logger("spool")

WORKER_NAME: Final = re.compile(r"0|[1-9][0-9]{0,2}")
"""The directory of a worker, below that of the spool."""

MAX_QUEUED_REQUESTS = 8192
"""Notifications that may wait for the writer: about a second's worth; beyond it Meta hears 503."""
MAX_QUEUED_BYTES = 64 * 1024**2
"""Bodies that may wait for the writer."""


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


class SqliteSpool:
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
        self._file = file
        self._options = options
        self._room = DiskRoom(
            file.parent, options.min_free_bytes, files=(file, wal_of(file)), lost=self._lose
        )
        self._engine = engine
        self._pending = dict(engine.pending)
        self._pending_bytes = dict(engine.pending_bytes)
        self._callbacks: list[Callable[[frozenset[str]], None]] = []
        self._queued_requests = 0
        self._queued_bytes = 0
        self._failure: SpoolBrokenError | None = None
        self._broken = trio.Event()
        self._closed = False
        self._writer = Writer(
            engine,
            observe_commit_seconds=metrics.spool_commit_seconds.observe,
            wake=self._wake,
            broken=self._break,
            now_ms=now_ms,
        )

    async def append(self, notification: Notification) -> Appended:
        """See `Spool.append`. ValueError: an id, a name or a time that cannot be kept."""
        check_notification(notification)
        request = requests.Append(notification=notification)
        await self._store(request)
        return request.result

    async def restore(self, notification: Notification, *, clock_started_ms: int) -> frozenset[str]:
        """See `Spool.restore`. ValueError: an id, a name or a time that cannot be kept."""
        check_notification(notification)
        request = requests.Restore(notification=notification, clock_started_ms=clock_started_ms)
        await self._store(request)
        return request.result

    async def lease(
        self,
        target: str,
        *,
        now_ms: int,
        limit: int,
        next_due_ms: Callable[[int], int],
        merging: Merging | None = None,
        lanes: Sequence[Lane] = ORDER,
    ) -> tuple[Lease, ...]:
        """See `Spool.lease`. SpoolUnavailableError: no room to write the attempts down; nothing is leased."""
        request = requests.Take(
            target=target,
            now_ms=now_ms,
            limit=max(0, limit),
            next_due_ms=next_due_ms,
            merging=merging,
            lanes=tuple(lanes),
        )
        await self._ask(request)
        return request.result

    async def lease_oldest(
        self, target: str, *, now_ms: int, clock_started_by_ms: int, limit: int
    ) -> tuple[Lease, ...]:
        """See `Spool.lease_oldest`."""
        request = requests.TakeOldest(
            target=target, now_ms=now_ms, clock_started_by_ms=clock_started_by_ms, limit=max(0, limit)
        )
        await self._ask(request)
        return request.result

    async def settle(self, lease: Lease, settlement: Settlement) -> bool:
        """See `Spool.settle`. SpoolUnavailableError: no room to write it down; the lease stands."""
        return await self.settle_together(((lease, settlement),))

    async def settle_together(self, settled: Sequence[tuple[Lease, Settlement]]) -> bool:
        """See `Spool.settle_together`. SpoolUnavailableError: no room to write it down; the leases stand."""
        check_settlements(settled)
        request = requests.Settle(settled=tuple((lease.token, settlement) for lease, settlement in settled))
        await self._ask(request)
        return request.result

    async def next_due_ms(self, target: str) -> int | None:
        """See `Spool.next_due_ms`; 0 means at once."""
        request = requests.NextDue(target=target)
        await self._ask(request)
        return request.result

    async def hasten(self, target: str, *, now_ms: int, limit: int) -> int:
        """See `Spool.hasten`."""
        request = requests.Hasten(target=target, now_ms=now_ms, limit=max(1, limit))
        await self._ask(request)
        return request.result

    async def oldest_received_ms(self) -> Mapping[str, int]:
        """See `Spool.oldest_received_ms`."""
        request = requests.Oldest(targets=tuple(self._pending))
        await self._ask(request)
        return request.result

    async def oldest_clock_ms(self) -> Mapping[str, int]:
        """See `Spool.oldest_clock_ms`."""
        request = requests.OldestClock(targets=tuple(self._pending))
        await self._ask(request)
        return request.result

    async def pauses(self) -> Mapping[str, Pauses]:
        """See `Spool.pauses`."""
        request = requests.GetPauses()
        await self._ask(request)
        return request.result

    async def set_pauses(self, target: str, pauses: Pauses) -> None:
        """See `Spool.set_pauses`. ValueError: a name, a reason or a time that cannot be kept."""
        check_pauses(target, pauses)
        await self._ask(requests.SetPauses(target=target, pauses=pauses))

    async def kept(
        self, *, since_ms: int, until_ms: int, after: Place | None = None, limit: int
    ) -> tuple[Kept, ...]:
        """See `Spool.kept`."""
        request = requests.GetKept(since_ms=since_ms, until_ms=until_ms, after=after, limit=max(0, limit))
        await self._ask(request)
        return request.result

    async def kept_states(self, ids: Sequence[str]) -> KeptStates:
        """See `Spool.kept_states`."""
        request = requests.AskKept(ids=tuple(ids))
        await self._ask(request)
        return request.result

    async def send_again(
        self, items: Sequence[tuple[Kept, NewDelivery]], *, clock_started_ms: int
    ) -> frozenset[str]:
        """See `Spool.send_again`."""
        request = requests.SendAgain(items=tuple(items), clock_started_ms=clock_started_ms)
        await self._ask(request)
        return request.result

    async def oldest_kept_ms(self) -> int | None:
        """See `Spool.oldest_kept_ms`."""
        request = requests.OldestKept()
        await self._ask(request)
        return request.result

    async def trace(self, notification_id: str) -> TracedNotification | None:
        """See `Spool.trace`."""
        request = requests.Trace(notification_id=notification_id)
        await self._ask(request)
        return request.result

    async def mentions(self, needles: Sequence[bytes], *, before: int | None = None) -> Mentions:
        """See `Spool.mentions`."""
        request = requests.FindMentions(needles=tuple(needles), before=before)
        await self._ask(request)
        return request.result

    def remembered(self, now_ms: int) -> Remembered:
        """See `Spool.remembered`."""
        return self._engine.remembered(now_ms)

    def pending(self) -> Mapping[str, int]:
        """See `Spool.pending`."""
        return dict(self._pending)

    def pending_bytes(self) -> Mapping[str, int]:
        """See `Spool.pending_bytes`."""
        return dict(self._pending_bytes)

    def on_ready(self, callback: Callable[[frozenset[str]], None]) -> None:
        """See `Spool.on_ready`."""
        self._callbacks.append(callback)

    def room(self) -> Room:
        """See `Spool.room`."""
        return self._room.now()

    def size_bytes(self) -> int:
        """See `Spool.size_bytes`."""
        total = 0
        for file in (self._file, wal_of(self._file)):
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                continue  # there is no log before the first write
        return total

    async def wait_broken(self) -> None:
        """See `Spool.wait_broken`."""
        await self._broken.wait()

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

    # -- the way to the writer and back

    async def _store(self, request: requests.Append | requests.Restore) -> None:
        size_bytes = request.size_bytes
        if (
            self._queued_requests >= self._options.max_queued_requests
            or self._queued_bytes + size_bytes > self._options.max_queued_bytes
        ):
            raise SpoolUnavailableError(
                "too many notifications wait for the disk", remedy="it passes by itself"
            )
        self._queued_requests += 1
        self._queued_bytes += size_bytes
        try:
            await self._ask(request)
        finally:
            self._queued_requests -= 1
            self._queued_bytes -= size_bytes

    async def _ask(self, request: requests.Request) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._failure is not None:
            raise _again(self._failure)
        if self._closed:
            raise SpoolUnavailableError("the spool is closed")
        request.task = trio.lowlevel.current_task()
        self._writer.put(request)
        await trio.lowlevel.wait_task_rescheduled(_not_now)
        if request.error is not None:
            raise _again(request.error)

    def _wake(self, batch: list[requests.Request], effects: requests.Effects) -> None:
        """Give out the answers of a batch: on the Trio thread, where an exception would end the program."""
        for target, change in effects.pending.items():
            left = self._pending.get(target, 0) + change
            if left:
                self._pending[target] = left
                size_bytes = self._pending_bytes.get(target, 0) + effects.pending_bytes[target]
                self._pending_bytes[target] = size_bytes
            else:
                self._pending.pop(target, None)
                self._pending_bytes.pop(target, None)
        if effects.failure is not None:
            if self._room.write_failed(effects.failure.message):
                log.warning("spool_write_failed", detail=effects.failure.message)
        elif effects.stored:
            self._room.write_succeeded()
        for request in batch:
            if request.task is not None:
                trio.lowlevel.reschedule(request.task)
        if effects.ready:
            for callback in self._callbacks:
                try:
                    callback(effects.ready)
                except Exception as error:  # noqa: BLE001 - see the docstring; the fault is the callback's
                    log.error("spool_ready_callback_failed", error=repr(error))  # noqa: TRY400 - our Logger has no exception()

    def _lose(self, file: Path) -> None:
        """End it: what is written to a file that has lost its name is gone with the process."""
        failure = SpoolBrokenError(
            f"the spool file is gone, or another is in its place: {file}",
            remedy="before the next start, bring back the spool directory with all of its files",
        )
        self._writer.leave(failure)
        self._break(failure)

    def _break(self, failure: SpoolBrokenError) -> None:
        self._failure = failure
        self._room.failed_for_good(failure.message)
        log.error("spool_broken", detail=failure.message)
        self._broken.set()


def _not_now(_: Callable[[], object]) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


def _again(error: Exception) -> Exception:
    """Return an error of one's own: many tasks that raise one object would add up its tracebacks."""
    if isinstance(error, GatewayError):
        copy = type(error)(error.message, remedy=error.remedy)
        copy.__cause__ = error
        return copy
    return error
