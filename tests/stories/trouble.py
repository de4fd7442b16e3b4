"""Targets that do to an attempt whatever a peer can do: raw sockets, below HTTP."""

import re
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from tests.stories.rig import message_id

Trouble = Callable[[trio.SocketStream], Awaitable[None]]
"""What is done to the connection, once the whole request has come; then it is closed."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_ATTEMPT = re.compile(rb"\r\ngateway-attempt: *(\d+)\r\n", re.IGNORECASE)


def answer(status: int, *headers: str, body: bytes = b"") -> Trouble:
    """Answer so."""
    head = "\r\n".join((f"HTTP/1.1 {status} Whatever", *headers, f"Content-Length: {len(body)}", "", ""))

    async def trouble(stream: trio.SocketStream) -> None:
        await stream.send_all(head.encode() + body)

    return trouble


def say(head: bytes) -> Trouble:
    """Say just that, and close."""

    async def trouble(stream: trio.SocketStream) -> None:
        await stream.send_all(head)

    return trouble


def go_on(head: bytes, more: bytes, *, pause_seconds: float = 0.0) -> Trouble:
    """Begin so, and never end."""

    async def trouble(stream: trio.SocketStream) -> None:
        await stream.send_all(head)
        while True:
            await stream.send_all(more)
            await trio.sleep(pause_seconds)

    return trouble


async def hang(stream: trio.SocketStream) -> None:
    """Never answer."""
    await trio.sleep_forever()


async def reset(stream: trio.SocketStream) -> None:
    """End the connection with a reset."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt as the target saw it."""

    id: str
    number: int
    at_seconds: float
    """On Trio's clock."""


@dataclass(slots=True)
class RawTarget:
    """A target in trouble until that is taken away; then it accepts."""

    trouble: Trouble | None
    url: str = ""
    tried: list[Tried] = field(default_factory=list)
    """Attempts that met the trouble."""
    taken: list[str] = field(default_factory=list)

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        async with stream:
            try:
                while request := await _read_request(stream):
                    head, body = request
                    if self.trouble is not None:
                        number = _ATTEMPT.search(head)
                        assert number is not None
                        self.tried.append(Tried(message_id(body), int(number.group(1)), trio.current_time()))
                        await self.trouble(stream)
                        return
                    self.taken.append(message_id(body))
                    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            except trio.BrokenResourceError:
                return  # the gateway has lost patience, as it should


async def _read_request(stream: trio.SocketStream) -> tuple[bytes, bytes] | None:
    """Return head and body; None at the end of the connection."""
    got = b""
    while True:
        head, end, rest = got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if end and length is not None and len(rest) >= int(length.group(1)):
            return head + b"\r\n", rest
        more = await stream.receive_some()
        if not more:
            return None
        got += more


@asynccontextmanager
async def raw_target(trouble: Trouble | None) -> AsyncGenerator[RawTarget]:
    """Run one on a free port of the loopback."""
    target = RawTarget(trouble)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    target.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/raw"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, target.handle, listeners)
        yield target
        nursery.cancel_scope.cancel()
