"""Deadlines of a connection: on memory streams, with the clock in the test's hand."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing

from gateway.core.identity import Peer
from gateway.web.limits import HttpLimits
from gateway.web.server import WebServer
from tests.web.rig import ANONYMOUS, GET, KNOWN, App, Client, H2Client, answer, read_body, too_large, upper

LIMITS = HttpLimits(newcomer_seconds=0.2)
PING = b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
SERVER = ("127.0.0.1", 8443)


@dataclass
class Ended:
    """When the connection was over, on the test's clock."""

    at: float | None = None
    event: trio.Event = field(default_factory=trio.Event)

    async def when(self) -> float:
        """Wait for it."""
        await self.event.wait()
        assert self.at is not None
        return self.at


@asynccontextmanager
async def talking(
    app: App = upper,
    *,
    limits: HttpLimits = LIMITS,
    peer: Peer | None = KNOWN,
    alpn: str = "http/1.1",
    lockstep: bool = False,
) -> AsyncIterator[tuple[trio.abc.Stream, Ended]]:
    """One connection; in lockstep, a send waits until the other side has read all of it."""
    make = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    ours, theirs = make()
    ended = Ended()
    started = trio.current_time()
    web = WebServer(app, limits=limits, metrics=None)

    async def serve() -> None:
        await web.serve(theirs, peer=peer, alpn=alpn, server=SERVER)
        ended.at = trio.current_time() - started
        ended.event.set()
        assert web.open_connections == 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield ours, ended
        nursery.cancel_scope.cancel()


async def _drip(stream: trio.abc.SendStream, raw: bytes, ended: Ended) -> None:
    for byte in raw:
        if ended.at is None:
            await stream.send_all(bytes([byte]))
            await trio.sleep(1.01)


async def _drain(stream: trio.abc.ReceiveStream) -> bytes:
    data = b""
    async for chunk in stream:
        data += chunk
    return data


async def test_a_head_that_drips_in_is_cut_off(autojump_clock: Any) -> None:
    async with talking() as (stream, ended):
        await trio.sleep(20)
        await _drip(stream, GET[:-1], ended)
        assert await ended.when() == pytest.approx(20 + LIMITS.head_seconds)
        assert await _drain(stream) == b""


async def test_the_deadline_of_a_head_counts_from_its_first_byte_behind_a_pipelined_request(
    autojump_clock: Any,
) -> None:
    async with talking() as (stream, ended):
        await stream.send_all(GET + GET[:5])
        assert (await _drain(stream)).startswith(b"HTTP/1.1 200 ")
        assert await ended.when() == pytest.approx(LIMITS.head_seconds)


@pytest.mark.parametrize(("peer", "seconds"), [(KNOWN, 75), (None, 75), (ANONYMOUS, 5)])
@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_a_silent_connection_is_closed(
    autojump_clock: Any, peer: Peer | None, seconds: float, alpn: str
) -> None:
    async with talking(peer=peer, alpn=alpn) as (stream, ended):
        await _drain(stream)
        assert await ended.when() == pytest.approx(seconds)


async def test_keep_alive_lasts_from_the_last_answer(autojump_clock: Any) -> None:
    async with talking() as (stream, ended):
        client = Client(stream)
        for _ in range(3):
            await trio.sleep(70)
            assert (await client.ask(GET)).status == 200
        await _drain(stream)
        assert await ended.when() == pytest.approx(210 + LIMITS.idle_seconds)


async def test_a_body_that_does_not_come_is_not_waited_for(autojump_clock: Any) -> None:
    heard: list[str] = []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while not heard or heard[-1] != "http.disconnect":
            heard.append((await receive())["type"])

    async with talking(app) as (stream, ended):
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
        await trio.sleep(29)
        await stream.send_all(b"a")
        await _drain(stream)
        assert await ended.when() == pytest.approx(29 + LIMITS.read_seconds)
        assert heard == ["http.request", "http.disconnect"]


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_an_app_may_take_its_time(autojump_clock: Any, alpn: str) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await trio.sleep(1000)
        await answer(send, 200)

    async with talking(app, alpn=alpn) as (stream, ended):
        if alpn == "h2":
            h2_client = H2Client(stream)
            stream_id = h2_client.request(method=b"POST", end=False)
            await h2_client.flush()
            await trio.sleep(20)
            await h2_client.send_body(stream_id, b"abc")
            with trio.fail_after(2000):
                while not h2_client.is_over(stream_id):
                    await h2_client.flush()
                    h2_client.note_data(bytes(await stream.receive_some()))
            assert h2_client.streams[stream_id].status == 200
        else:
            await stream.send_all(GET)
            assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        assert ended.at is None


@pytest.mark.parametrize("raw", [GET, GET * 50], ids=["one", "pipelined"])
async def test_a_client_that_does_not_read_is_cut_off(autojump_clock: Any, raw: bytes) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, 200, bytes(1_000_000))

    async with talking(app, lockstep=True) as (stream, ended):
        await stream.send_all(raw)
        await trio.sleep(100)
        assert await ended.when() == pytest.approx(LIMITS.send_seconds)


async def test_a_slow_reader_is_served_as_long_as_it_reads(autojump_clock: Any) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, 200, bytes(1_000_000))

    async with talking(app, lockstep=True) as (stream, ended):
        await stream.send_all(GET)
        got = 0
        while got < 1_000_000:
            await trio.sleep(1)
            got += len(await stream.receive_some(20_000))
        assert ended.at is None
        assert trio.current_time() > 3 * LIMITS.send_seconds


async def test_lingering_has_an_end(autojump_clock: Any) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, 413)

    async with talking(app) as (stream, ended):
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 413 ")
        await _drip(stream, b"x" * 10, ended)
        assert await ended.when() == pytest.approx(LIMITS.linger_seconds)


async def test_lingering_ends_with_the_body(autojump_clock: Any) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, 413)

    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with talking(app) as (stream, ended):
        await stream.send_all(head)
        await stream.receive_some()
        await trio.sleep(1)
        await stream.send_all(b"3\r\nabc\r\n")
        await trio.sleep(1)
        assert ended.at is None
        await stream.send_all(b"0\r\n\r\n")
        assert await ended.when() == pytest.approx(2)


async def test_lingering_ends_with_the_client(autojump_clock: Any) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, 417)

    async with talking(app) as (stream, ended):
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        await stream.receive_some()
        await trio.sleep(2)
        await stream.aclose()
        await trio.sleep(0.1)
        assert await ended.when() == pytest.approx(2)


async def test_pings_do_not_keep_an_idle_connection(autojump_clock: Any) -> None:
    async with talking(alpn="h2") as (stream, ended):
        client = H2Client(stream)
        while ended.at is None:
            client.h2.ping(b"12345678")
            await client.flush()
            await trio.sleep(20)
        assert await ended.when() == pytest.approx(LIMITS.idle_seconds)
        client.note_data(await _drain(stream))
        assert client.goaway == 0


async def test_a_frame_that_drips_in_is_cut_off(autojump_clock: Any) -> None:
    async with talking(alpn="h2") as (stream, ended):
        client = H2Client(stream)
        await client.flush()
        await trio.sleep(30)
        client.request()
        await _drip(stream, client.h2.data_to_send()[:-1], ended)
        assert await ended.when() == pytest.approx(30 + LIMITS.head_seconds)


async def test_a_ping_that_drips_in_does_not_prolong_the_wait(autojump_clock: Any) -> None:
    async with talking(alpn="h2") as (stream, ended):
        client = H2Client(stream)
        await client.flush()
        await trio.sleep(70)
        client.h2.ping(b"12345678")
        raw = client.h2.data_to_send()
        await stream.send_all(raw[:5])
        await trio.sleep(2)
        await stream.send_all(raw[5:])
        await _drain(stream)
        assert await ended.when() == pytest.approx(LIMITS.idle_seconds)


async def test_a_client_that_opens_no_window_is_cut_off(autojump_clock: Any) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await answer(send, 200, bytes(1_000_000))

    async with talking(app, alpn="h2") as (stream, ended):
        client = H2Client(stream)
        client.request()
        await client.flush()
        await trio.sleep(100)
        assert await ended.when() == pytest.approx(LIMITS.send_seconds)


async def test_a_cancelled_connection_is_closed() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    web = WebServer(upper, limits=LIMITS, metrics=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: web.serve(theirs, peer=KNOWN, alpn="http/1.1", server=SERVER))
        assert (await Client(ours).ask(GET)).status == 200
        assert web.open_connections == 1
        nursery.cancel_scope.cancel()
    assert web.open_connections == 0
    with pytest.raises(trio.ClosedResourceError):
        await theirs.send_all(b"x")


async def test_a_connection_that_comes_after_shutdown_and_asks_nothing_is_closed() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    web = WebServer(upper, limits=LIMITS, metrics=None)
    web.shutdown()
    with trio.fail_after(5):
        await web.serve(theirs, peer=KNOWN, alpn="http/1.1", server=SERVER)
        assert await ours.receive_some() == b""


async def test_what_comes_while_the_good_bye_is_being_sent_is_dropped(autojump_clock: Any) -> None:
    got = bytearray()

    async def read_slowly(stream: trio.abc.ReceiveStream) -> None:
        while data := await stream.receive_some(1):
            got.extend(data)
            await trio.sleep(0.01)

    # In lockstep every byte that the server sends waits for this reader; the pings overtake the good-bye.
    async with talking(too_large, alpn="h2", peer=ANONYMOUS, lockstep=True) as (stream, ended):
        client = H2Client(stream)
        stream_id = client.request(method=b"POST", end=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_slowly, stream)
            await client.flush()
            while ended.at is None:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(PING)
                await trio.sleep(0.005)
        client.note_data(bytes(got))
        assert client.streams[stream_id].status == 413
        assert client.goaway == 0
