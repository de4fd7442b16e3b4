"""What the other servers run: bare ASGI apps, on the standard library alone.

`bare` checks the signature and keeps nothing: the least that a webhook endpoint may do. `row` also writes one
row with SQLite and answers after the commit reached the disk: what people write who must not lose anything.
"""

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

SECRET = os.environ.get("BENCH_SECRET", "").encode()
DATABASE = os.environ.get("BENCH_DATABASE", "")


async def read_signed(scope: Scope, receive: Receive) -> bytes | None:
    """Return the body if its signature was made with the app's secret."""
    chunks = []
    more = True
    while more:
        event = await receive()
        chunks.append(event.get("body", b""))
        more = event.get("more_body", False)
    body = b"".join(chunks)
    expected = b"sha256=" + hmac.digest(SECRET, body, hashlib.sha256).hex().encode()
    given = next((value for name, value in scope["headers"] if name == b"x-hub-signature-256"), b"")
    return body if hmac.compare_digest(given, expected) else None


async def answer(send: Send, status: int) -> None:
    """Send an empty answer."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def lifespan(receive: Receive, send: Send) -> None:
    """Say yes to everything."""
    while True:
        event = await receive()
        await send({"type": event["type"] + ".complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Check the signature, and forget."""
    if scope["type"] != "http":
        await lifespan(receive, send)
        return
    await answer(send, 401 if await read_signed(scope, receive) is None else 200)


class _Row:
    """One row a request, in a transaction of its own."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None

    def store(self, body: bytes) -> None:
        """Return when the row is on disk."""
        if self._connection is None:
            self._connection = sqlite3.connect(DATABASE, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("CREATE TABLE notification (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        # Called on the loop itself: handing each row to a thread and back costs more than the wait.
        self._connection.execute("INSERT INTO notification (body) VALUES (?)", (body,))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await lifespan(receive, send)
            return
        body = await read_signed(scope, receive)
        if body is not None:
            self.store(body)
        await answer(send, 401 if body is None else 200)


row = _Row()
