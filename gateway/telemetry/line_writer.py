"""Lines to a descriptor, written by a thread of their own: whoever logs never waits for who reads.

A pipe that is full, a terminal that is held (Ctrl-S), a disk that hangs would hold the loop, and with it
every acknowledgement; a reader that is gone or a disk that is full must not end it. What cannot be kept for
the thread, and what it cannot write, is dropped and counted.
"""

import os
import select
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final

MAX_HELD_LINES: Final = 10_000
"""Waiting for the thread: a burst, or some seconds of `log.notifications: all`; of 500 bytes each, 5 MB."""

MAX_WRITE_BYTES: Final = 4096
"""In one write, lines whole: what a pipe takes as one piece (PIPE_BUF of pipe(7)), so that the lines of
several workers do not run into each other."""


class LineWriter:
    """Writes whole lines to one descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._lost_lines = 0
        self._counting = threading.Lock()
        self._torn = False
        """The last write ended within a line."""
        # A daemon: one that is stuck in a write must not keep the process.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def lost_lines(self) -> int:
        """How many lines were dropped and not told of yet."""
        return self._lost_lines

    def take_lost(self) -> int:
        """Return how many lines were dropped, for a line that tells of them: `put` it with that number."""
        if not self._lost_lines:
            return 0
        with self._counting:
            lost, self._lost_lines = self._lost_lines, 0
        return lost

    def put(self, line: str, *, tells_lost: int = 0) -> None:
        """Have a line written soon. Where it is dropped, the lines that it would have told of count again."""
        if self._queue.qsize() >= MAX_HELD_LINES:
            self._lose(1 + tells_lost)
            return
        self._queue.put((line.encode("utf-8", "backslashreplace") + b"\n", tells_lost))

    def close(self, *, seconds: float) -> bool:
        """Return whether all that was put has been written within so many seconds."""
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive() and not self._lost_lines

    def _lose(self, lines: int) -> None:
        with self._counting:
            self._lost_lines += lines

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch, ends = self._gather(first)
            self._write(batch)
            if ends:
                return

    def _gather(self, first: tuple[bytes, int]) -> tuple[list[tuple[bytes, int]], bool]:
        """Take what waits and fits into one write; the second value says that nothing comes after it."""
        batch, size = [first], len(first[0])
        while size < MAX_WRITE_BYTES:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if item is None:
                return batch, True
            if size + len(item[0]) > MAX_WRITE_BYTES:
                self._write(batch)
                batch, size = [], 0
            batch.append(item)
            size += len(item[0])
        return batch, False

    def _write(self, batch: Sequence[tuple[bytes, int]]) -> None:
        data = b"".join(line for line, _ in batch)
        if self._torn:
            data = b"\n" + data
        begun = False
        while data:
            try:
                written = os.write(self._descriptor, data)
            except BlockingIOError:
                # Whoever shares the descriptor has made it so; this thread may wait.
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except OSError:
                self._torn = self._torn or begun
                self._lose(sum(1 + tells_lost for _, tells_lost in batch))
                return
            else:
                begun, data = True, data[written:]
        self._torn = False
