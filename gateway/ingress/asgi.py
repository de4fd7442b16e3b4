"""The little of ASGI 3 that the public port needs: types, one answer in two messages, the lifespan."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

Header = tuple[bytes, bytes]


_EMPTY_START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
_EMPTY_BODY: Message = {"type": "http.response.body", "body": b"", "more_body": False}


async def send_accepted(send: Send) -> None:
    """Send 200 and nothing else: the one answer that nearly every request gets."""
    await send({**_EMPTY_START})
    await send({**_EMPTY_BODY})


async def send_answer(send: Send, status: int, body: bytes, *, headers: tuple[Header, ...] = ()) -> None:
    """Send a whole answer. A body is always plain text that no browser may take for anything else."""
    typed: tuple[Header, ...] = ()
    if body:
        typed = ((b"content-type", b"text/plain"), (b"x-content-type-options", b"nosniff"))
    length = (b"content-length", str(len(body)).encode("ascii"))
    await send({"type": "http.response.start", "status": status, "headers": [*typed, length, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def run_lifespan(receive: Receive, send: Send) -> None:
    """Agree to start and to stop: whatever the app needs was made before the app."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
