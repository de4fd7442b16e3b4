"""What reaches the app, and what never leaves a connection."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing
import trustme

from gateway.core.identity import Peer
from gateway.web.limits import HttpLimits
from gateway.web.server import WebServer
from tests.web.rig import (
    ANONYMOUS,
    GET,
    KNOWN,
    Client,
    H2Client,
    answer,
    read_all,
    serving,
    too_large,
    upper,
)

SERVER = ("127.0.0.1", 8443)


class PoisonedStream(trio.abc.Stream):
    """A stream with a bug in everything that is not trio's interface of a stream."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self._stream = stream
        self.touched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.touched.append(name)
        raise AttributeError(name)

    async def send_all(self, data: Any) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> Any:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_nothing_but_a_stream_is_asked_of_a_stream(alpn: str) -> None:
    """Hypercorn takes an AttributeError in the handshake for "not TLS"; here nothing can raise one."""
    ours, theirs = trio.testing.memory_stream_pair()
    poisoned = PoisonedStream(theirs)
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await upper(scope, receive, send)

    web = WebServer(app, limits=HttpLimits(), metrics=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: web.serve(poisoned, peer=KNOWN, alpn=alpn, server=SERVER))
        if alpn == "h2":
            client = H2Client(ours)
            assert (await client.finish(client.request())).status == 200
        else:
            assert (await Client(ours).ask(GET)).status == 200
        nursery.cancel_scope.cancel()
    assert set(poisoned.touched) <= {"send_eagerly"}, "this one is asked for, and done without"
    assert seen[0]["scheme"] == "https"


async def test_the_peer_reaches_the_app_and_no_request_changes_it_for_the_next() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope, state=dict(scope["state"])))
        scope["state"]["peer"] = "changed"
        await upper(scope, receive, send)

    async with serving(app, peer=KNOWN) as rig:
        client = Client(await rig.connect())
        for _ in range(2):
            await client.ask(b"GET /a%2Fb?c=%20d HTTP/1.1\r\nHost: a\r\nX-Y: Z\r\n\r\n")
    for scope in seen:
        assert scope["type"] == "http"
        assert scope["state"] == {"peer": KNOWN}
        assert scope["client"] == (KNOWN.address, KNOWN.port)
        assert scope["server"] == ("127.0.0.1", rig.port)
        assert scope["scheme"] == "https"
        assert (scope["method"], scope["http_version"]) == ("GET", "1.1")
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a/b", b"/a%2Fb", b"c=%20d")
        assert (b"x-y", b"Z") in scope["headers"]


async def test_without_a_peer_there_is_none() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await upper(scope, receive, send)

    ours, theirs = trio.testing.memory_stream_pair()
    web = WebServer(app, limits=HttpLimits(), metrics=None)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await web.serve(
                theirs, peer=None, alpn="http/1.1", server=SERVER, client=("127.0.0.1", 1), scheme="http"
            )

        nursery.start_soon(serve)
        await Client(ours).ask(GET)
        nursery.cancel_scope.cancel()
    assert seen[0]["state"] == {}
    assert (seen[0]["client"], seen[0]["scheme"]) == (("127.0.0.1", 1), "http")


async def test_a_failing_app_is_logged_without_what_it_says() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ValueError("the text of a message")

    with structlog.testing.capture_logs() as logs:
        async with serving(app) as rig:
            assert (await Client(await rig.connect()).ask(GET)).status == 500
    (event,) = [entry for entry in logs if entry["event"] == "app_failed"]
    assert event["errors"][0].startswith("builtins.ValueError at ")
    assert "the text" not in str(logs)


async def test_a_refused_request_is_logged_with_its_reason() -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(upper, peer=ANONYMOUS) as rig:
            stream = await rig.connect()
            await stream.send_all(b"GET / HTTP/1.1\r\nSecret: a\nB: c\r\n\r\n")
            await read_all(stream)
    (event,) = logs
    assert event["event"] == "request_refused"
    assert (event["status"], event["reason"]) == (400, "malformed")
    assert event["address"] == ANONYMOUS.address
    assert "Secret" not in str(logs)


class BrokenStream(PoisonedStream):
    """A stream that fails in a way no stream should."""

    async def receive_some(self, max_bytes: int | None = None) -> Any:
        raise RuntimeError("a defect")


async def test_a_defect_ends_one_connection_and_is_logged() -> None:
    _, theirs = trio.testing.memory_stream_pair()
    web = WebServer(upper, limits=HttpLimits(), metrics=None)
    with structlog.testing.capture_logs() as logs:
        await web.serve(BrokenStream(theirs), peer=KNOWN, alpn="http/1.1", server=SERVER)
    (event,) = logs
    assert event["event"] == "connection_failed"
    assert event["errors"][0].startswith("builtins.RuntimeError")
    assert web.open_connections == 0


async def test_wait_idle_waits_for_every_connection() -> None:
    async with serving(upper) as rig:
        streams = [await rig.connect() for _ in range(3)]
        for stream in streams:
            await Client(stream).ask(GET)
        assert rig.web.open_connections == 3
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.web.wait_idle)
            for stream in streams:
                assert len(nursery.child_tasks) == 1
                await stream.aclose()
        assert rig.web.open_connections == 0


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_over_tls_an_answer_is_read_and_an_early_one_too(alpn: str) -> None:
    ca = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(server_context)
    server_context.set_alpn_protocols([alpn])
    client_context = ssl.create_default_context()
    ca.configure_trust(client_context)
    client_context.set_alpn_protocols([alpn])

    async def wrap(stream: trio.SocketStream) -> trio.abc.Stream:
        wrapped = trio.SSLStream(stream, server_context, server_side=True, https_compatible=True)
        await wrapped.do_handshake()
        return wrapped

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (too_large if scope["path"] == "/large" else upper)(scope, receive, send)

    async with serving(app, alpn=alpn, wrap=wrap) as rig:
        tls = trio.SSLStream(
            await rig.connect(), client_context, server_hostname="localhost", https_compatible=True
        )
        if alpn == "h2":
            client = H2Client(tls)
            assert (await client.finish(client.request())).body == b"GET / "
            large = client.request(b"/large", method=b"POST", end=False)
            await client.send_body(large, bytes(3_000_000))
            assert (await client.finish(large)).status == 413
            assert (await client.finish(client.request())).body == b"GET / "
            return
        assert (await Client(tls).ask(GET)).body == b"GET / "
        await tls.send_all(b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
        await tls.send_all(bytes(3_000_000))
        got = await Client(tls).read()
        assert (got.status, got.headers[b"connection"]) == (413, b"close")


async def test_answer_helper_is_what_apps_do() -> None:
    """A status that has no body gets no length."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await answer(send, 204)

    async with serving(app) as rig:
        got = await Client(await rig.connect()).ask(GET)
        assert (got.status, got.headers.get(b"content-length")) == (204, None)


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_a_client_judged_anew_is_another_one_from_its_next_request_on(alpn: str) -> None:
    """The request under way goes on as it began; a connection that is not asked about is left alone."""
    seen: list[Peer | None] = []
    begun, go_on = trio.Event(), trio.Event()
    other = replace(KNOWN, port=1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        seen.append(scope["state"]["peer"])
        await upper(scope, receive, send)

    async with serving(app, peer=KNOWN, alpn=alpn) as rig, trio.open_nursery() as nursery:
        ask = _asker(await rig.connect(), alpn)
        nursery.start_soon(ask)
        await begun.wait()
        assert rig.web.reconsider(lambda _, peer: replace(peer, port=1)) == 0
        go_on.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        await ask()
    assert seen == [KNOWN, other]


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
async def test_a_client_without_identity_finishes_its_request_and_is_closed(alpn: str) -> None:
    begun, go_on = trio.Event(), trio.Event()
    withdrawn = replace(KNOWN, identity=None, refusal=ANONYMOUS.refusal)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await upper(scope, receive, send)

    async with serving(app, peer=KNOWN, alpn=alpn) as rig, trio.open_nursery() as nursery:
        ask = _asker(await rig.connect(), alpn)
        nursery.start_soon(ask)
        idle = await rig.connect()
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert rig.web.reconsider(lambda _, __: withdrawn) == 2
        await read_all(idle)
        await rig.wait_ended(1)
        assert rig.web.open_connections == 1
        go_on.set()
        await rig.wait_ended(2)


async def test_whoever_has_no_identity_is_not_asked_about() -> None:
    async with serving(upper, peer=ANONYMOUS) as rig:
        await rig.connect()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert rig.web.reconsider(lambda _, __: KNOWN) == 0


def _asker(stream: trio.SocketStream, alpn: str) -> Callable[[], Awaitable[None]]:
    if alpn == "h2":
        h2 = H2Client(stream)

        async def ask() -> None:
            assert (await h2.finish(h2.request())).status == 200

    else:
        h1 = Client(stream)

        async def ask() -> None:
            assert (await h1.ask(GET)).status == 200

    return ask
