"""The app does not know its server: under stock Hypercorn it answers as when it is called directly."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import h11
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from gateway.core.signature import sign
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Room
from tests.ingress.rig import MAX_BODY_BYTES, MESSAGE, SECRET, VERIFY_TOKEN, Answer, Edge

SERVERS_OWN = {b"date", b"server", b"transfer-encoding", b"connection"}
FULL = Room(free_bytes=0, total_bytes=1, enough=False, writable=True, detail="full")
QUERY = b"hub.mode=subscribe&hub.challenge=42&hub.verify_token="
SIGNED = (b"x-hub-signature-256", sign(SECRET, MESSAGE).encode())


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    path: bytes
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    length: bytes | None = None
    """What Content-Length says, if not the truth; the body then stays away."""

    @property
    def all_headers(self) -> list[tuple[bytes, bytes]]:
        length = str(len(self.body)).encode() if self.length is None else self.length
        return [*self.headers, (b"content-length", length)]


LAX = b"/webhooks/lax"
REQUESTS = {
    "stored": Sent("POST", LAX, headers=(SIGNED,), body=MESSAGE),
    "challenge": Sent("GET", LAX, query=QUERY + VERIFY_TOKEN),
    "wrong token": Sent("GET", LAX, query=QUERY + b"guessed"),
    "no parameters": Sent("GET", LAX),
    "unknown path": Sent("POST", b"/nowhere", body=MESSAGE),
    "encoded path": Sent("POST", b"/webhooks/l%61x", headers=(SIGNED,), body=MESSAGE),
    "method": Sent("DELETE", LAX),
    "head": Sent("HEAD", LAX),
    "no certificate": Sent("POST", b"/webhooks/main", headers=(SIGNED,), body=MESSAGE),
    "encoding": Sent("POST", LAX, headers=(SIGNED, (b"content-encoding", b"gzip")), body=MESSAGE),
    "too large": Sent("POST", LAX, length=str(MAX_BODY_BYTES + 1).encode()),
    "forged": Sent("POST", LAX, headers=((b"x-hub-signature-256", b"sha256=" + b"0" * 64),), body=MESSAGE),
    "unsigned": Sent("POST", LAX, body=MESSAGE),
    "largest": Sent(
        "POST",
        LAX,
        headers=((b"x-hub-signature-256", sign(SECRET, b"x" * MAX_BODY_BYTES).encode()),),
        body=b"x" * MAX_BODY_BYTES,
    ),
}


async def directly(edge: Edge, sent: Sent) -> Answer:
    return await edge.call(
        sent.method, sent.path, query=sent.query, headers=sent.all_headers, chunks=[sent.body]
    )


@asynccontextmanager
async def hypercorn(edge: Edge) -> AsyncGenerator[int, None]:
    """Serve the app on loopback, in plain; the port comes out."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 0.1
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        (bind,) = await nursery.start(partial(serve, edge.app, config, mode="asgi"))  # type: ignore[arg-type] # the same shape in other words
        yield int(bind.rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def over_the_wire(port: int, sent: Sent) -> Answer:
    """Make one request on a connection of its own."""
    client = h11.Connection(h11.CLIENT)
    target = sent.path + (b"?" + sent.query if sent.query else b"")
    request = h11.Request(
        method=sent.method, target=target, headers=[(b"host", b"localhost"), *sent.all_headers]
    )
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    with trio.fail_after(10):
        async with stream:
            await stream.send_all(client.send(request) or b"")
            if sent.body:
                await stream.send_all(client.send(h11.Data(data=sent.body)) or b"")
            if sent.length is None:
                client.send(h11.EndOfMessage())
            return await read_answer(client, stream.receive_some)


async def read_answer(client: h11.Connection, receive: Callable[[], Awaitable[bytes]]) -> Answer:
    head, body = None, b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(await receive())
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            kept = {name: value for name, value in head.headers if name not in SERVERS_OWN}
            return Answer(status=head.status_code, headers=kept, body=body)
        else:
            raise AssertionError(f"unexpected: {event}")


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS.keys())
async def test_under_stock_hypercorn_it_answers_as_when_called_directly(sent: Sent) -> None:
    one, other = Edge(), Edge()
    async with hypercorn(one) as port:
        answer = await over_the_wire(port, sent)
    assert answer == await directly(other, sent)
    assert [stored.body.raw for stored in one.spool.stored] == [
        stored.body.raw for stored in other.spool.stored
    ]


@pytest.mark.parametrize("trouble", ["no room", "cannot store"])
async def test_503_is_the_same_too(trouble: str) -> None:
    one, other = Edge(), Edge()
    for edge in (one, other):
        if trouble == "no room":
            edge.spool.room_now = FULL
        else:
            edge.spool.fault = SpoolUnavailableError("disk full")
    sent = REQUESTS["stored"]
    async with hypercorn(one) as port:
        answer = await over_the_wire(port, sent)
    assert answer == await directly(other, sent)
    assert answer.status == 503


async def test_a_client_that_leaves_in_the_middle_of_its_body_stores_nothing() -> None:
    edge = Edge()
    async with hypercorn(edge) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        length = str(len(MESSAGE)).encode()
        head = b"POST /webhooks/lax HTTP/1.1\r\nhost: x\r\ncontent-length: " + length + b"\r\n\r\n"
        await stream.send_all(head + MESSAGE[:20])
        await stream.aclose()
        with trio.fail_after(5):
            while not edge.sample("requests_total", app="lax", status="499"):
                await trio.lowlevel.checkpoint()
    assert edge.spool.stored == []
