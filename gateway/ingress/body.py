"""Reading a body: bounded in size, in time, and in what all bodies together may hold in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import trio

from gateway.ingress.asgi import Receive

BODY_SECONDS: Final = 30.0
"""For a body that does not come at all; Meta gives up on an answer long before."""

BODY_BYTES_PER_SECOND: Final = 32 * 1024
"""What has come is granted the time that it takes at this rate, besides: a steady sender on a slow line
always finishes (3 MiB in 126 s at most), and what drips in does not."""

MAX_HELD_BYTES: Final = 256 * 1024**2
"""Of all bodies that wait for their end or for the disk: 80 of the largest, or half a million usual ones."""

UNPROVEN_SHARE: Final = 4
"""Clients without an accepted certificate may hold one part in four of it, as of the connections: what
anybody can send must not crowd out what Meta sends."""


class BodyFault(StrEnum):
    """Why there is no body."""

    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    NO_MEMORY = "no_memory"


@dataclass(slots=True)
class Held:
    """The part of one request in the memory that bodies hold; on leaving the block it is given back."""

    _memory: "BodyMemory"
    _proved: bool
    _bytes: int = 0

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def grow(self, count: int) -> bool:
        """Hold more; False where there is no more to have."""
        if not self._memory.take(count, proved=self._proved):
            return False
        self._bytes += count
        return True

    def release(self) -> None:
        """Give back whatever is held."""
        self._memory.give_back(self._bytes, proved=self._proved)
        self._bytes = 0


class BodyMemory:
    """Counts the bytes that bodies hold (law 6: every queue has a bound; full means 503, never memory)."""

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._unproven_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._held_bytes

    def hold(self, *, proved: bool) -> Held:
        """Hold memory for one request, until its notification is stored or refused."""
        return Held(self, proved)

    def take(self, count: int, *, proved: bool) -> bool:
        """Count bytes in; False, and nothing counted, where the bound would be passed."""
        if self._held_bytes + count > self._max_bytes:
            return False
        if not proved and self._unproven_bytes + count > self._max_bytes // UNPROVEN_SHARE:
            return False
        self._held_bytes += count
        self._unproven_bytes += 0 if proved else count
        return True

    def give_back(self, count: int, *, proved: bool) -> None:
        """Count bytes out."""
        self._held_bytes -= count
        self._unproven_bytes -= 0 if proved else count


async def read_body(
    receive: Receive,
    held: Held,
    *,
    max_bytes: int,
    seconds: float = BODY_SECONDS,
    bytes_per_second: int = BODY_BYTES_PER_SECOND,
) -> bytes | BodyFault:
    """Read to the end of the body, or say why that did not happen. Stops at the first byte too many.

    It may take `seconds`, and for what has come the time that it takes at `bytes_per_second`.
    """
    due = trio.current_time() + seconds
    with trio.CancelScope(deadline=due) as scope:

        def extend(count: int) -> None:
            scope.deadline = due + count / bytes_per_second

        return await gather_body(receive, held, max_bytes=max_bytes, came=extend)
    return BodyFault.TIMEOUT


async def gather_body(
    receive: Receive, held: Held, *, max_bytes: int, came: Callable[[int], None] | None = None
) -> bytes | BodyFault:
    """Read as `read_body` does, but without a deadline: for a body that is here.

    `came` is told how many bytes are here whenever more are to come.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return BodyFault.DISCONNECTED
        chunk: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if len(body) + len(chunk) > max_bytes:
            return BodyFault.TOO_LARGE
        if not held.grow(len(chunk)):
            return BodyFault.NO_MEMORY
        if not body and not more:
            return bytes(chunk)  # most bodies come in one piece: no second copy
        body += chunk
        if not more:
            return bytes(body)
        if came is not None:
            came(len(body))
