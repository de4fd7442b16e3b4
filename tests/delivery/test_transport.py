"""The connection beneath a lane. What a lane does with it stands in test_sender.py."""

import contextlib
from functools import partial

import httpx
import pytest
import trio
import trio.testing

from gateway.delivery.sender import tls_context
from gateway.delivery.transport import HOLD_BYTES, OneConnection, SocketStream
from tests.delivery.rig import answer, raw, serving


async def a_pair() -> tuple[SocketStream, SocketStream]:
    one, other = trio.socket.socketpair()
    return SocketStream(trio.SocketStream(one)), SocketStream(trio.SocketStream(other))


async def a_clogged_pair() -> tuple[SocketStream, SocketStream]:
    """Return streams of which the first can send no more."""
    one, other = await a_pair()
    with contextlib.suppress(BlockingIOError):
        while True:
            one.socket.send(b"x" * 65536)
    return one, other


async def test_a_socket_is_a_stream_as_trio_has_it() -> None:
    """But for one thing: what can be sent at once is sent without a checkpoint."""
    one, other = await a_pair()
    await one.send_all(b"abc")
    assert other.is_readable()
    assert not one.is_readable()
    assert await other.receive_some(2) == b"ab"
    assert await other.receive_some() == b"c"
    with trio.move_on_after(0.01) as scope:
        await other.receive_some(1)
    assert scope.cancelled_caught
    await one.aclose()
    await one.aclose()
    assert other.is_readable()
    assert await other.receive_some(1) == b""
    for ask in (partial(one.send_all, b"x"), partial(one.receive_some, 1)):
        with pytest.raises((trio.ClosedResourceError, ValueError)):
            await ask()
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"x")
    await other.aclose()


async def test_more_than_the_other_side_takes_waits_for_it() -> None:
    one, other = await a_clogged_pair()
    sent = trio.Event()

    async def send() -> None:
        await one.wait_send_all_might_not_block()
        await one.send_all(b"y" * 1_000_000)
        sent.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert not sent.is_set()
        read = b""
        with trio.fail_after(5):
            while read.count(b"y") < 1_000_000:
                read += await other.receive_some(1_000_000)
            await sent.wait()
    await one.aclose()
    await other.aclose()


async def test_closing_wakes_who_waits() -> None:
    one, other = await a_pair()
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await one.receive_some(1)

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await one.aclose()
    await other.aclose()


async def post(transport: OneConnection, url: str, body: bytes = b"body") -> int:
    class Body(httpx.AsyncByteStream):
        def __init__(self) -> None:
            self.rest = [body]

        def __aiter__(self) -> "Body":
            return self

        async def __anext__(self) -> bytes:
            if not self.rest:
                raise StopAsyncIteration
            return self.rest.pop()

    headers = {"Host": "x", "Content-Length": str(len(body))}
    response = await transport.handle_async_request(
        httpx.Request("POST", url, headers=headers, stream=Body())
    )
    async for _ in response.stream:  # type: ignore[union-attr]  # an async transport's is async
        pass
    await response.aclose()
    return response.status_code


def a_transport(*, keep_alive_seconds: float = 5.0) -> OneConnection:
    return OneConnection(tls_context("http://x/", None), keep_alive_seconds=keep_alive_seconds)


async def test_head_and_body_leave_in_one_piece() -> None:
    pieces: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        pieces.append(await stream.receive_some(65536))
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        transport = a_transport()
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        assert await post(transport, url, b"a body") == 200
        await transport.aclose()
        nursery.cancel_scope.cancel()
    assert pieces[0].startswith(b"POST / HTTP/1.1\r\n")
    assert pieces[0].endswith(b"\r\n\r\na body")


async def test_a_body_larger_than_what_is_held_arrives_whole() -> None:
    async with serving(answer(200)) as target:
        transport = a_transport()
        body = bytes(range(256)) * (HOLD_BYTES // 256 + 7)
        assert await post(transport, target.url, body) == 200
        assert not transport.has_more()
        await transport.aclose()
    assert target.requests[0].body == body


async def test_a_connection_is_used_again_until_it_has_rested_too_long() -> None:
    async with serving(answer(200)) as target:
        transport = a_transport(keep_alive_seconds=0.05)
        opened = []
        for pause_seconds in (0.0, 0.0, 0.1):
            await trio.sleep(pause_seconds)
            assert await post(transport, target.url) == 200
            opened.append(transport.opened_now)
        await transport.aclose()
    assert opened == [True, False, True]


async def test_a_request_that_did_not_go_out_whole_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The target answers early and closes. What it said counts, and the connection is not used again."""
    one, other = trio.socket.socketpair()

    async def connect(*_: object) -> trio.SocketStream:
        return trio.SocketStream(one)

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    await other.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    other.close()
    transport = a_transport()
    assert await post(transport, "http://support.internal/") == 413
    assert transport.has_more()
    await transport.aclose()


async def test_errors_are_those_of_httpx() -> None:
    async with serving(raw(b"garbage\r\n\r\n"), raw(b"")) as target:
        transport = a_transport()
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await post(transport, target.url)
            await transport.aclose()
        with pytest.raises(httpx.UnsupportedProtocol):
            await post(transport, "ftp://support.internal/")
