"""The writer thread: group commit (promises 1, 16 and 18).

Requests gather on the Trio side. While the thread is idle they are handed over at the end of the scheduler's
pass, so that what became runnable together is committed together; while it commits, the next batch gathers,
and is handed over the moment the last one is done. One hand-over and one wake-up a batch: a queue that took
each request by itself would have the two threads take turns at the interpreter for each of them. There is no
timer that waits for more: under load the fsync itself is the time in which the next batch gathers, and
without load nobody is kept waiting.

A caller that waits for a write cannot be cancelled: it may have begun, and a commit is a matter of
milliseconds.
After a failure of the disk the thread touches the file no more and answers every request with the error.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

import trio

from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError
from gateway.spool.requests import Effects, Request

MAX_BATCH_REQUESTS = 512
"""Requests a transaction: beyond that the fsync is shared by so many that more only adds latency."""
MAX_BATCH_BYTES = 16 * 1024**2
"""Bodies a transaction: some large ones, and still no stall."""
CHECKPOINT_PAGES = 4096
"""Pages of log (16 MiB) after which a checkpoint is due even under load. From 4 to 64 MiB neither rate nor
tail changed measurably; this bounds the log, and what a restart has to read."""
CHECKPOINT_EVERY = 8
"""Batches between two looks at the size of the log."""
IDLE_SECONDS = 0.25
"""Quiet after which upkeep begins while there is some to do."""
SLEEP_SECONDS = 30.0
"""Between two looks at the age of the duplicates window while nothing comes in."""


class BatchEngine(Protocol):
    """What makes a transaction of a batch, on the writer thread; see `engine.Engine`."""

    def run(self, batch: list[Request]) -> Effects: ...

    def tidy(self, now_ms: int) -> bool: ...

    def checkpoint(self) -> None: ...

    def wal_pages(self) -> int: ...

    def close(self, *, clean: bool) -> None: ...


class Writer:
    """Runs an engine on a thread of its own."""

    def __init__(
        self,
        engine: BatchEngine,
        *,
        observe_commit_seconds: Callable[[float], object],
        wake: Callable[[list[Request], Effects], None],
        broken: Callable[[SpoolBrokenError], None],
        now_ms: Callable[[], int],
    ) -> None:
        """`wake` and `broken` are called on the Trio thread and must not raise."""
        self._engine = engine
        self._observe = observe_commit_seconds
        self._wake = wake
        self._broken = broken
        self._now_ms = now_ms
        self._gathered: deque[Request] = deque()
        self._is_busy = False
        """A batch is with the thread, or about to be."""
        self._quiet = trio.lowlevel.ParkingLot()
        self._queue: SimpleQueue[list[Request] | None] = SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        self._failure: SpoolBrokenError | None = None
        self._close_failure: GatewayError | None = None
        self._stopping = False
        self._batches = 0
        self._no_room = False
        # Daemon: should the Trio run crash, the thread must not keep the process; a commit is atomic anyway.
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def put(self, request: Request) -> None:
        """Queue a request, on the Trio thread; its task is woken when it is done."""
        self._gathered.append(request)
        if not self._is_busy:
            self._is_busy = True
            self._token.run_sync_soon(self._hand_over)

    def leave(self, failure: SpoolBrokenError) -> None:
        """Touch the file no more, at closing neither; every request is answered with the failure."""
        self._failure = failure

    async def close(self) -> None:
        """Finish what is queued, checkpoint, close the file.

        Raises:
            SpoolUnavailableError: the last checkpoint had no room; nothing is lost, the next opening does it.
            SpoolBrokenError: the disk failed just then.
        """
        with trio.CancelScope(shield=True):  # the file must be closed before the lock is given back
            while self._is_busy:
                await self._quiet.park()
            self._queue.put(None)
            await self._ended.wait()
        if self._close_failure is not None:
            raise self._close_failure

    def _hand_over(self) -> None:
        """Give the thread the next batch; on the Trio thread, where an exception would end the program."""
        batch: list[Request] = []
        size_bytes = 0
        while self._gathered and len(batch) < MAX_BATCH_REQUESTS and size_bytes < MAX_BATCH_BYTES:
            request = self._gathered.popleft()
            batch.append(request)
            size_bytes += request.size_bytes
        self._is_busy = bool(batch)
        if batch:
            self._queue.put(batch)
        else:
            self._quiet.unpark_all()

    def _done(self, batch: list[Request], effects: Effects) -> None:
        """Let the thread go on with the next batch, then give out the answers of this one."""
        self._hand_over()
        self._wake(batch, effects)

    # -- the thread

    def _run(self) -> None:
        try:
            upkeep = True
            while not self._stopping:
                batch = self._take(IDLE_SECONDS if upkeep else SLEEP_SECONDS)
                if batch:
                    self._do(batch)
                    upkeep = True
                elif not self._stopping:
                    upkeep = self._tidy()
            self._close()
            self._call(self._ended.set)
        except trio.RunFinishedError:
            # Nobody is left to answer. What was committed stays; the file is closed as after a crash.
            self._engine.close(clean=False)

    def _take(self, timeout_seconds: float) -> list[Request]:
        """Wait for a batch; empty when nothing came, or on the way out."""
        try:
            batch = self._queue.get(timeout=timeout_seconds)
        except Empty:
            return []
        self._stopping = batch is None
        return batch or []

    def _do(self, batch: list[Request]) -> None:
        effects = Effects()
        if self._failure is None:
            started = time.perf_counter()
            try:
                effects = self._engine.run(batch)
            except Exception as error:  # noqa: BLE001 - a bug here must stop the spool, not hang its callers
                self._fail(error)
            else:
                if effects.wrote:
                    self._observe(time.perf_counter() - started)
        if self._failure is not None:
            effects = Effects()  # of a file that was lost meanwhile nobody is told anything
            for request in batch:
                request.error = self._failure
        self._call(self._done, batch, effects)
        self._batches += 1
        if self._failure is not None:
            return
        if effects.failure is not None:
            self._no_room = True
        if self._no_room:
            # A log that has been moved is written again from its start, without growing: try until it works.
            self._attempt(lambda: self._checkpoint(1))
        elif self._batches % CHECKPOINT_EVERY == 0:
            self._attempt(lambda: self._checkpoint(CHECKPOINT_PAGES))

    def _tidy(self) -> bool:
        """Do a step of upkeep; True while there may be more."""
        if self._failure is not None:
            return False
        if self._attempt(lambda: self._engine.tidy(self._now_ms())):
            return True
        self._attempt(lambda: self._checkpoint(1))
        return False

    def _checkpoint(self, pages: int) -> None:
        if self._engine.wal_pages() >= pages:
            self._engine.checkpoint()
        self._no_room = False

    def _attempt(self, step: Callable[[], object]) -> bool:
        """Do upkeep; without room for it, it waits for the next occasion."""
        try:
            return bool(step())
        except SpoolUnavailableError:
            return False
        except Exception as error:  # noqa: BLE001 - as in _do
            self._fail(error)
            return False

    def _fail(self, error: Exception) -> None:
        if isinstance(error, SpoolBrokenError):
            self._failure = error
        else:
            self._failure = SpoolBrokenError(
                f"the spool met a fault of its own: {type(error).__name__}: {error}",
                remedy="report it, with the log",
            )
            self._failure.__cause__ = error
        self._call(self._broken, self._failure)

    def _close(self) -> None:
        try:
            self._engine.close(clean=self._failure is None)
        except GatewayError as error:
            self._close_failure = error

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        self._token.run_sync_soon(function, *arguments)
