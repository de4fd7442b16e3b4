"""Internal targets on real sockets, and deliveries to give them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from gateway.core.ids import new_notification_id
from gateway.core.lanes import Lane
from gateway.core.routing import UNROUTED
from gateway.core.signature import VerifiedBody, sign, verify_signature
from gateway.delivery.dead_letter_record import DeadLetter, Reason, Summary
from gateway.spool.contract import Lease, NewDelivery, Notification
from gateway.spool.history import AttemptRecord

APP_SECRET = b"app secret"
EPOCH_MS = 1_770_000_000_000


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as a target saw it."""

    line: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    connection: int


Script = Callable[[Received, trio.abc.Stream], Awaitable[bool]]
"""Answers one request; False: the connection is closed then."""


def answer(status: int, body: bytes = b"", *, headers: str = "", keep: bool = True) -> Script:
    """Answer like a well-behaved server."""

    async def script(_: Received, stream: trio.abc.Stream) -> bool:
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        await stream.send_all(head.encode() + body)
        return keep

    return script


def raw(content: bytes) -> Script:
    """Send these bytes and close."""

    async def script(_: Received, stream: trio.abc.Stream) -> bool:
        await stream.send_all(content)
        return False

    return script


async def _for_ever() -> bool:
    await trio.Event().wait()
    return False


async def hang(_: Received, stream: trio.abc.Stream) -> bool:
    """Never answer."""
    return await _for_ever()


@dataclass
class FakeTarget:
    """An HTTP/1.1 server that answers by a script, and remembers what it was asked."""

    scripts: list[Script] = field(default_factory=list)
    """For the first requests, in order; the last repeats."""
    requests: list[Received] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    asked: trio.Event = field(default_factory=trio.Event)
    """The first request is there."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    async def serve(self, stream: trio.abc.Stream) -> None:
        number = self.connections
        self.connections += 1
        pending = b""
        async with stream:
            try:
                while True:
                    while b"\r\n\r\n" not in pending:
                        chunk = await stream.receive_some()
                        if not chunk:
                            return
                        pending += chunk
                    head, _, pending = pending.partition(b"\r\n\r\n")
                    line, *rest = head.decode("latin-1").split("\r\n")
                    headers = {
                        name.lower(): value.strip() for name, _, value in (x.partition(":") for x in rest)
                    }
                    length = int(headers.get("content-length", "0"))
                    while len(pending) < length:
                        pending += await stream.receive_some()
                    body, pending = pending[:length], pending[length:]
                    received = Received(line=line, headers=headers, body=body, connection=number)
                    self.requests.append(received)
                    self.asked.set()
                    script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
                    if not await script(received, stream):
                        return
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


@asynccontextmanager
async def serving(*scripts: Script) -> AsyncIterator[FakeTarget]:
    """Run a target on a port of its own."""
    target = FakeTarget(scripts=list(scripts) or [answer(200)])
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, target.serve, 0, host="127.0.0.1"))
        target.port = listeners[0].socket.getsockname()[1]
        yield target
        nursery.cancel_scope.cancel()


def verified(raw_body: bytes, app: str = "main") -> VerifiedBody:
    """Sign as Meta does, and verify: there is no other way to a verified body."""
    body = verify_signature(
        app=app, raw=raw_body, header_values=[sign(APP_SECRET, raw_body).encode()], secrets=[APP_SECRET]
    )
    assert isinstance(body, VerifiedBody)
    return body


def notification(
    raw_body: bytes,
    *targets: str,
    selection: tuple[int, ...] | None = None,
    number: int = 0,
    received_at_ms: int = EPOCH_MS,
    app: str = "main",
    lane: Lane = Lane.NORMAL,
    copies: int = 1,
) -> Notification:
    """A notification with one delivery a target; `number` makes ids differ, `copies` a backlog."""
    identifier = new_notification_id(received_at_ms, number.to_bytes(10, "big"))
    return Notification(
        id=identifier,
        received_at_ms=received_at_ms,
        body=verified(raw_body, app),
        deliveries=tuple(
            NewDelivery(
                id=f"{identifier}-{target}" + (f"-{copy}" if copy else ""),
                target=target,
                selection=selection,
                lane=lane,
            )
            for target in targets
            for copy in range(copies)
        ),
    )


def a_lease(raw_body: bytes, *, selection: tuple[int, ...] | None = None, target: str = "support") -> Lease:
    """A lease as the spool hands it out."""
    identifier = new_notification_id(EPOCH_MS, bytes(10))
    return Lease(
        token=1,
        delivery_id=f"{identifier}-{target}",
        notification_id=identifier,
        app="main",
        target=target,
        raw=raw_body,
        selection=selection,
        received_at_ms=EPOCH_MS,
        clock_started_ms=EPOCH_MS,
        attempt=3,
        leased_at_ms=EPOCH_MS + 5000,
        earlier=(),
    )


def a_letter(
    *,
    target: str = "support",
    body: bytes = '{"a": "ä"}'.encode(),
    reason: Reason = Reason.REFUSED,
    number: int = 0,
    received_at_ms: int = EPOCH_MS,
    attempts: tuple[AttemptRecord, ...] | None = None,
) -> DeadLetter:
    """A dead letter; `number` makes ids differ."""
    identifier = new_notification_id(received_at_ms, number.to_bytes(10, "big"))
    one = AttemptRecord(
        number=1, at_ms=EPOCH_MS + 5000, status=422, error="", duration_ms=3, response_excerpt="no\0 \ufffd"
    )
    return DeadLetter(
        id=f"{identifier}-{target}",
        notification_id=identifier,
        app="main",
        target=target,
        url=None if target == UNROUTED else "http://support.internal/hook",
        summary=Summary(
            object="whatsapp_business_account",
            fields=("messages",),
            kinds=("message",),
            waba="102290129340398",
            phone_number_id=None,
        ),
        reason=reason,
        received_at_ms=received_at_ms,
        died_at_ms=EPOCH_MS + 5001,
        attempts=(one,) if attempts is None else attempts,
        headers={"Content-Type": "application/json", "Gateway-App": "main"},
        body=body,
    )
