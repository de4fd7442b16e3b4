"""One connection to the web server over streams in memory: what http1 and http2 have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog.testing
import trio
import trio.testing

from gateway.core.identity import Identity, LeafSummary, Peer
from gateway.web.limits import HttpLimits
from gateway.web.server import AsgiApp, WebServer

DEFECTS: Final = frozenset({"app_failed", "connection_failed"})
PATIENCE_SECONDS: Final = 20.0
"""A connection that has not ended by then hangs."""
EARLY: Final = "/early"
"""Requests whose path begins so are answered before their body is read."""

_LEAF: Final = LeafSummary(subject="CN=test", issuer="CN=ca", serial="01", sha256="00")
_PEER: Final = Peer(
    address="192.0.2.1",
    port=4711,
    identity=Identity(clients=frozenset({"meta"}), name="test", leaf=_LEAF, anchor_sha256="00"),
    refusal=None,
)
_LIMITS: Final = HttpLimits(linger_seconds=0, close_seconds=0)


class DefectError(AssertionError):
    """The server did what it must not."""


@dataclass(slots=True)
class Conversation:
    """What came of one connection."""

    requests: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    """Method, raw path and body of each request that the app had whole, in order of completion."""
    answer: bytes = b""


def converse(pieces: Sequence[bytes], *, alpn: str) -> Conversation:
    """Send the pieces, end, and return what came of it.

    Raises:
        DefectError: an exception reached the last line of defence.
        trio.TooSlowError: the connection did not end.
    """
    return trio.run(_converse, pieces, alpn)


async def _converse(pieces: Sequence[bytes], alpn: str) -> Conversation:
    seen = Conversation()
    ours, theirs = trio.testing.memory_stream_pair()
    web = WebServer(_noting(seen), limits=_LIMITS, metrics=None)
    with structlog.testing.capture_logs() as logs, trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await web.serve(theirs, peer=_PEER, alpn=alpn, server=("127.0.0.1", 8443))

            nursery.start_soon(serve)
            try:
                for piece in pieces:
                    await ours.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
                await ours.send_eof()
            except trio.BrokenResourceError:
                pass
    if web.open_connections:
        raise DefectError("the connection is still counted")
    for entry in logs:
        if entry["event"] in DEFECTS:
            raise DefectError(str(entry))
    async for chunk in ours:
        seen.answer += chunk
    return seen


def _noting(seen: Conversation) -> AsgiApp:
    """Make an app that reads each request to its end, and takes note of it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith(EARLY):
            await _answer(send, 413)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        seen.requests.append((scope["method"], scope["raw_path"], body))
        await _answer(send, 200)

    return app


async def _answer(send: Any, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def cut(data: bytes, pattern: int) -> list[bytes]:
    """Cut data into up to nine pieces, by the bits of a pattern; empty pieces are left out."""
    pieces = []
    for _ in range(8):
        size = 1 + pattern % 61
        pattern //= 3
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]
