"""A stream whose peer has to keep moving: what was read and not yet used, and one deadline mechanism.

Deadlines are told, not set. A cancel scope around every wait costs more than the parser of a request does; so
a wait only says by when it must be over, which is an assignment, and a second task (`watch`) sleeps until
then, looks, and closes the stream if it is so. Whoever waits on the stream is woken by trio's
ClosedResourceError. The watcher sleeps until the deadline that it last saw, so it is poked only where a
sooner one is set: once per `send_seconds` on a busy connection.
"""

from math import inf
from typing import Final

import trio

from gateway.web.limits import HttpLimits

READ_BYTES: Final = 65_536
"""What one read may bring, and so what is held for an app that does not read."""

_LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class GuardedStream:
    """Any trio stream, under `watch`."""

    def __init__(self, stream: trio.abc.Stream, limits: HttpLimits) -> None:
        self._stream = stream
        # TLS can send without a turn of the scheduler: behind each answer the connection waits anyway.
        self._send_all = getattr(stream, "send_eagerly", stream.send_all)
        self._limits = limits
        self._read_due = inf
        self._send_due = inf
        self._nap = trio.CancelScope()
        self._wakes_at = inf
        self.data = b""
        """Read, and not used yet."""
        self.is_broken = False
        """Whether nothing more can be sent."""

    async def watch(self) -> None:
        """Close the stream when the peer has not moved in time; then return."""
        while (due := min(self._read_due, self._send_due)) > trio.current_time():
            self._wakes_at = due
            with trio.CancelScope(deadline=due) as self._nap:
                await trio.sleep_forever()
        self._wakes_at = -inf
        if self._send_due <= trio.current_time():
            # Half an answer is under way: no good-bye can be said behind it.
            await trio.aclose_forcefully(self._stream)
        else:
            await self.close()

    def expire(self) -> None:
        """Have the watcher close the stream now."""
        self._wake_by(-inf)
        self._read_due = -inf

    def hasten(self, due: float) -> None:
        """Have the read that is waited for end by `due`, if it was to end later."""
        if due < self._read_due:
            self._read_due = due
            self._wake_by(due)

    async def read(self, *, due: float) -> bool:
        """Add to `data`; False at the end, or if nothing has come by `due` (trio's clock)."""
        self._read_due = due
        if due < self._wakes_at:
            self._wake_by(due)
        try:
            data = await self._stream.receive_some(READ_BYTES)
        except _LOST:
            return False
        finally:
            self._read_due = inf
        self.data = self.data + data if self.data else bytes(data)
        return bool(data)

    async def send(self, data: bytes) -> None:
        """Send all, or nothing where the peer is gone; each slice has its own deadline."""
        size = self._limits.send_slice_bytes
        if len(data) <= size:
            await self._send_slice(data)
        else:
            for start in range(0, len(data), size):
                await self._send_slice(data[start : start + size])

    async def _send_slice(self, data: bytes) -> None:
        if self.is_broken:
            return
        self._send_due = due = trio.current_time() + self._limits.send_seconds
        if due < self._wakes_at:
            self._wake_by(due)
        try:
            await self._send_all(data)
        except _LOST:
            self.is_broken = True
        except trio.Cancelled:
            self.is_broken = True  # nothing may follow half a message
            raise
        finally:
            self._send_due = inf

    async def send_eof(self) -> None:
        """Say that nothing more will be said, where that can be said without closing."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream) and not self.is_broken:
            self._send_due = trio.current_time() + self._limits.close_seconds
            self._wake_by(self._send_due)
            try:
                await self._stream.send_eof()
            except _LOST:
                self.is_broken = True
            finally:
                self._send_due = inf

    async def close(self) -> None:
        """Close, with a good-bye. Shielded: a cancelled connection says it too, but within close_seconds."""
        self.is_broken = True
        with trio.move_on_after(self._limits.close_seconds, shield=True):
            try:
                await self._stream.aclose()
            except trio.BrokenResourceError:
                return

    def _wake_by(self, due: float) -> None:
        if due < self._wakes_at:
            self._wakes_at = self._nap.deadline = due
