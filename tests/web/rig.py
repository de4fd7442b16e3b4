"""A web server on a real socket, and clients that speak byte by byte."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h2.config
import h2.connection
import h2.events
import h11
import trio

from gateway.core.identity import Identity, LeafSummary, Peer, Reason, Refusal
from gateway.telemetry.metrics import Metrics
from gateway.web.limits import HttpLimits
from gateway.web.server import WebServer

PATIENCE_SECONDS = 10.0
"""A test that waits longer has failed."""

App = Callable[[Any, Any, Any], Awaitable[None]]

_LEAF = LeafSummary(subject="CN=test", issuer="CN=ca", serial="01", sha256="00")
KNOWN = Peer(
    address="192.0.2.1",
    port=4711,
    identity=Identity(clients=frozenset({"meta"}), name="test", leaf=_LEAF, anchor_sha256="00"),
    refusal=None,
)
ANONYMOUS = Peer(
    address="192.0.2.2",
    port=4712,
    identity=None,
    refusal=Refusal(reason=Reason.NO_CERTIFICATE, detail="no certificate"),
)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def read_body(receive: Any) -> bytes:
    """Read a request to its end, as an app does."""
    body = b""
    while True:
        message: dict[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


async def answer(send: Any, status: int, body: bytes = b"", headers: Any = ()) -> None:
    """Answer in one piece."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body, piece by piece as it comes."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})
        if not more:
            return


async def upper(scope: Any, receive: Any, send: Any) -> None:
    """Answer with method, path and body, when all is read."""
    body = await read_body(receive)
    await answer(send, 200, f"{scope['method']} {scope['path']} ".encode() + body)


async def too_large(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer 413 before a byte of body is read."""
    await answer(send, 413, b"too large")


@dataclass
class Rig:
    """A server under test."""

    web: WebServer
    metrics: Metrics
    port: int
    nursery: trio.Nursery
    opened: list[trio.SocketStream] = field(default_factory=list)
    ended: int = 0
    _wake: trio.Event = field(default_factory=trio.Event)

    async def connect(self) -> trio.SocketStream:
        """Open a connection."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.opened.append(stream)
        return stream

    def refused(self, status: int) -> float:
        """How many answers of that status were given without the app."""
        value = self.metrics.registry.get_sample_value(
            "meta_gateway_requests_total", {"app": "none", "status": str(status)}
        )
        return value or 0.0

    async def wait_ended(self, count: int = 1) -> None:
        """Return once so many connections are over."""
        with trio.fail_after(PATIENCE_SECONDS):
            while self.ended < count:
                await self._wake.wait()

    def note_ended(self) -> None:
        """One more is over."""
        self.ended += 1
        self._wake.set()
        self._wake = trio.Event()


@asynccontextmanager
async def serving(
    app: App,
    *,
    limits: HttpLimits | None = None,
    peer: Peer | None = KNOWN,
    alpn: str = "http/1.1",
    wrap: Callable[[trio.SocketStream], Awaitable[trio.abc.Stream]] | None = None,
) -> AsyncIterator[Rig]:
    """Serve an app on a port of 127.0.0.1. Whatever `serve` raises fails the test."""
    metrics = Metrics()
    web = WebServer(app, limits=limits or HttpLimits(), metrics=metrics)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        rig = Rig(web=web, metrics=metrics, port=port, nursery=nursery)

        async def handle(stream: trio.SocketStream) -> None:
            wrapped: trio.abc.Stream = stream if wrap is None else await wrap(stream)
            await web.serve(wrapped, peer=peer, alpn=alpn, server=("127.0.0.1", port))
            rig.note_ended()

        nursery.start_soon(partial(trio.serve_listeners, handle, [listener], handler_nursery=nursery))
        try:
            yield rig
        finally:
            for opened in rig.opened:
                opened.socket.close()
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Read to the end; a reset raises."""
    data = b""
    with trio.fail_after(PATIENCE_SECONDS):
        async for chunk in stream:
            data += chunk
    return data


class Client:
    """An HTTP/1.1 client that sends raw bytes and reads with h11."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.CLIENT)

    async def ask(self, raw: bytes, *, method: bytes = b"GET") -> Answer:
        """Send bytes, read one answer."""
        await self.stream.send_all(raw)
        return await self.read(method=method)

    async def read(self, *, method: bytes = b"GET") -> Answer:
        """Read one answer to what was sent raw."""
        if self._h11.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._h11.start_next_cycle()
        if self._h11.our_state is h11.IDLE:
            self._h11.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
            self._h11.send(h11.EndOfMessage())
        status, headers, body = 0, {}, b""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    self._h11.receive_data(bytes(await self.stream.receive_some()))
                elif isinstance(event, h11.InformationalResponse):
                    continue
                elif isinstance(event, h11.Response):
                    status, headers = event.status_code, dict(event.headers)
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return Answer(status, headers, body)
                else:
                    raise AssertionError(f"no answer: {event!r}")


@dataclass
class StreamRecord:
    """What an HTTP/2 client saw of one stream."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    is_ended: bool = False
    reset_code: int | None = None


class H2Client:
    """An HTTP/2 client on the h2 library."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
            )
        )
        self.streams: dict[int, StreamRecord] = {}
        self.goaway: int | None = None
        self.is_closed = False
        self.h2.initiate_connection()

    def request(
        self,
        path: bytes = b"/",
        *,
        method: bytes = b"GET",
        headers: Any = (),
        end: bool = True,
    ) -> int:
        """Queue a request head; return its stream."""
        pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", b"a"), (b":path", path)]
        return self.request_raw([*pseudo, *headers], end=end)

    def request_raw(self, headers: Any, *, end: bool) -> int:
        """Queue a request head as it is given; return its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers, end_stream=end)
        self.streams[stream_id] = StreamRecord()
        return stream_id

    async def flush(self) -> None:
        """Send what is queued."""
        data = self.h2.data_to_send()
        if data:
            await self.stream.send_all(data)

    async def send_body(self, stream_id: int, body: bytes, *, end: bool = True) -> None:
        """Send body as the server's windows allow; stop when the stream is over."""
        while body and not self.is_over(stream_id):
            window = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if window <= 0:
                await self.pump()
                continue
            self.h2.send_data(stream_id, body[:window])
            body = body[window:]
            await self.flush()
        if end and not self.is_over(stream_id):
            self.h2.end_stream(stream_id)
            await self.flush()

    def is_over(self, stream_id: int) -> bool:
        """Whether nothing more will come on a stream."""
        record = self.streams[stream_id]
        return self.is_closed or record.is_ended or record.reset_code is not None

    async def pump(self) -> None:
        """Flush, and take one read."""
        await self.flush()
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                data = bytes(await self.stream.receive_some())
            except trio.BrokenResourceError:
                data = b""
        if not data:
            self.is_closed = True
            return
        self.note_data(data)
        await self.flush()

    def note_data(self, data: bytes) -> None:
        """Take what was read."""
        for event in self.h2.receive_data(data):
            self._note(event)

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            record = self.streams[event.stream_id]
            record.headers = dict(event.headers)
            record.status = int(record.headers[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id].body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id].is_ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.streams[event.stream_id].reset_code = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)

    async def finish(self, stream_id: int) -> StreamRecord:
        """Read until a stream is over."""
        while not self.is_over(stream_id):
            await self.pump()
        return self.streams[stream_id]

    async def read_to_end(self) -> None:
        """Read until the server closes."""
        while not self.is_closed:
            await self.pump()
