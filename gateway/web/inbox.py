"""The ASGI messages on their way from a connection to the app of one request.

Hypercorn's own channel holds ten messages and has no end: once an app has answered early and stopped reading,
both the reader of the connection and the sender of the answer wait on it for ever. This one counts bytes, and
after it is closed nobody waits.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveEvent, HTTPDisconnectEvent

Taken = Callable[[int], Awaitable[None]]
"""Told how many bytes of body left the inbox: HTTP/2 gives the peer new credit for them."""


class Inbox:
    """One writer (the connection), one reader (the app)."""

    def __init__(self, *, limit_bytes: float = inf, taken: Taken | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._taken = taken
        self._messages: deque[ASGIReceiveEvent] = deque()
        self._queued_bytes = 0
        self.is_disconnected = False
        self._discarding = False
        self._reader = trio.lowlevel.ParkingLot()
        self._writer = trio.lowlevel.ParkingLot()

    async def put(self, message: "ASGIReceiveEvent") -> None:
        """Queue a message; wait while the limit is reached. A disconnect never waits."""
        if message["type"] == "http.disconnect":
            self.is_disconnected = True
            self._reader.unpark_all()
            self._writer.unpark_all()
            return
        size = _size(message)
        while self._queued_bytes >= self._limit_bytes and not (self.is_disconnected or self._discarding):
            await self._writer.park()
        if self._discarding or self.is_disconnected:
            await self._report_taken(size)
            return
        self._messages.append(message)
        self._queued_bytes += size
        self._reader.unpark_all()

    async def receive(self) -> "ASGIReceiveEvent":
        """ASGI's receive: the next message, or a disconnect, again and again."""
        while not self._messages:
            if self.is_disconnected:
                return _disconnect()
            await self._reader.park()
        message = self._messages.popleft()
        size = _size(message)
        self._queued_bytes -= size
        self._writer.unpark_all()
        await self._report_taken(size)
        return message

    async def discard(self) -> None:
        """Drop what is queued and what will come: the app has ended."""
        self._discarding = True
        dropped, self._queued_bytes = self._queued_bytes, 0
        self._messages.clear()
        self._writer.unpark_all()
        await self._report_taken(dropped)

    async def _report_taken(self, size: int) -> None:
        if self._taken is not None and size:
            await self._taken(size)


def _size(message: "ASGIReceiveEvent") -> int:
    return len(message["body"]) if message["type"] == "http.request" else 0


def _disconnect() -> "HTTPDisconnectEvent":
    return {"type": "http.disconnect"}
