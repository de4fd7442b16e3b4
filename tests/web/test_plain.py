"""The listener without TLS, on real sockets."""

import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import structlog
import trio

from gateway.telemetry.line_budget import BURST_LINES
from gateway.web import plain
from gateway.web.limits import HttpLimits
from gateway.web.plain import serve_plain
from gateway.web.server import WebServer
from tests.web.rig import GET, PATIENCE_SECONDS, App, Client, answer, read_all, upper


@asynccontextmanager
async def listening(
    app: App, *, max_connections: int = 10, sockets: int = 1
) -> AsyncIterator[tuple[WebServer, list[int], trio.Event]]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(sockets)]
    ports = [sock.getsockname()[1] for sock in opened]
    web = WebServer(app, limits=HttpLimits(), metrics=None)
    ended = trio.Event()

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await serve_plain(opened, web, max_connections=max_connections, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield web, ports, ended
        nursery.cancel_scope.cancel()


async def test_every_socket_is_served() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await upper(scope, receive, send)

    async with listening(app, sockets=2) as (_, ports, _ended):
        for port in ports:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                assert (await Client(stream).ask(GET)).body == b"GET / "
                assert seen[-1]["client"] == stream.socket.getsockname()
                assert seen[-1]["server"] == ("127.0.0.1", port)
                assert seen[-1]["scheme"] == "http"
                assert seen[-1]["state"] == {}


async def test_one_connection_too_many_waits_for_its_turn_while_all_have_asked() -> None:
    answering, asked = trio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await answering.wait()
        await upper(scope, receive, send)

    async with listening(app, max_connections=2) as (web, (port,), _):
        streams = []
        for number in range(3):
            streams.append(await trio.open_tcp_stream("127.0.0.1", port))
            await streams[-1].send_all(GET)
            with trio.fail_after(PATIENCE_SECONDS):
                while asked < min(2, number + 1):  # noqa: ASYNC110 (an app that has begun gives no event)
                    await trio.sleep(0.01)
        with trio.move_on_after(0.1) as scope:
            await streams[2].receive_some()
        assert scope.cancelled_caught
        assert web.open_connections == 2
        answering.set()
        await streams[0].aclose()
        with trio.fail_after(PATIENCE_SECONDS):
            assert bytes(await streams[2].receive_some()).startswith(b"HTTP/1.1 200 ")
        for stream in streams[1:]:
            await stream.aclose()


@pytest.mark.parametrize("said", [b"", GET[:-2], GET], ids=["nothing", "half a head", "and no more"])
async def test_whoever_holds_every_place_and_asks_nothing_keeps_nobody_out(said: bytes) -> None:
    async with listening(upper, max_connections=5) as (web, (port,), _):
        sleepers = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(12)]
        for one in sleepers:
            with suppress(trio.BrokenResourceError):
                await one.send_all(said)
        for _ in range(3):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                with trio.fail_after(PATIENCE_SECONDS):
                    assert (await Client(stream).ask(GET)).status == 200
        assert web.open_connections <= 5
        for one in sleepers:
            await one.aclose()


async def test_a_client_that_resets_at_once_does_no_harm() -> None:
    async with listening(upper, max_connections=2) as (_, (port,), _ended):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            await trio.lowlevel.checkpoint()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert (await Client(stream).ask(GET)).status == 200


async def test_out_of_descriptors_is_survived_and_does_not_fill_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plain, "_PAUSE_SECONDS", 0.001)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 (names are numbers)
    async with listening(upper) as (_, (port,), _ended):
        client = socket.socket()
        client.setblocking(False)
        with structlog.testing.capture_logs() as logs:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, before[1]))
            filling = []
            try:
                with suppress(OSError):
                    while True:
                        filling.append(socket.socket())
                with suppress(BlockingIOError):
                    client.connect(("127.0.0.1", port))
                await trio.sleep(0.2)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
                for sock in filling:
                    sock.close()
        client.close()
        lines = [line for line in logs if line["event"] == "accept_failed"]
        assert {line["error"] for line in lines} == {"EMFILE"}
        assert len(lines) == BURST_LINES
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert (await Client(stream).ask(GET)).status == 200


async def test_it_ends_when_the_server_is_shut_down_and_the_last_answer_is_given() -> None:
    started, release = trio.Event(), trio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        started.set()
        await release.wait()
        await answer(send, 200, b"done")

    async with listening(app) as (web, (port,), ended):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(GET)
            await started.wait()
            web.shutdown()
            await trio.sleep(0.05)
            assert not ended.is_set()
            release.set()
            assert (await read_all(stream)).endswith(b"done")
        with trio.fail_after(PATIENCE_SECONDS):
            await ended.wait()
