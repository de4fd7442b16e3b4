"""The ASGI messages on their way from an HTTP/2 connection to the app of one request.

Hypercorn's own channel holds ten messages and has no end: once an app has answered early and stopped reading,
both the reader of the connection and the sender of the answer wait on it for ever. Here a writer never waits:
what may be queued is bounded by flow control, for the peer gets new credit only for what has left the queue.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveEvent, HTTPDisconnectEvent

Taken = Callable[[int], Awaitable[None]]
"""Told how many bytes of body left the inbox, so that the peer gets new credit for them."""


class Inbox:
    """One writer (the connection), one reader (the app)."""

    def __init__(self, *, taken: Taken | None = None) -> None:
        self._taken = taken
        self._messages: deque[ASGIReceiveEvent] = deque()
        self.is_disconnected = False
        self._discarding = False
        self._reader = trio.lowlevel.ParkingLot()

    async def put(self, message: "ASGIReceiveEvent") -> None:
        """Queue a message."""
        if message["type"] == "http.disconnect":
            self.is_disconnected = True
            self._reader.unpark_all()
        elif self._discarding or self.is_disconnected:
            await self._report_taken(_size(message))
        else:
            self._messages.append(message)
            self._reader.unpark_all()

    async def receive(self) -> "ASGIReceiveEvent":
        """ASGI's receive: the next message, or a disconnect, again and again."""
        while not self._messages:
            if self.is_disconnected:
                return _disconnect()
            await self._reader.park()
        message = self._messages.popleft()
        await self._report_taken(_size(message))
        return message

    async def discard(self) -> None:
        """Drop what is queued and what will come: the app has ended."""
        self._discarding = True
        dropped = sum(_size(message) for message in self._messages)
        self._messages.clear()
        await self._report_taken(dropped)

    async def _report_taken(self, size: int) -> None:
        if self._taken is not None and size:
            await self._taken(size)


def _size(message: "ASGIReceiveEvent") -> int:
    return len(message["body"]) if message["type"] == "http.request" else 0


def _disconnect() -> "HTTPDisconnectEvent":
    return {"type": "http.disconnect"}
