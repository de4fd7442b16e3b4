"""One attempt against real sockets: what a target may do, and what comes of it."""

import contextlib
import gc
import socket
import ssl
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from gateway.core.outcome import Answer, NoAnswer
from gateway.delivery import transport
from gateway.delivery.message import OutgoingRequest
from gateway.delivery.sender import ANSWER_BYTES, CutShort, Endpoint, Lane, tls_context
from gateway.errors import GatewayError
from gateway.settings.model import TargetTls
from tests.delivery.rig import FakeTarget, Received, Script, answer, hang, raw, serving

REQUEST = OutgoingRequest(
    headers=((b"Content-Type", b"application/json"), (b"X-Secret", b"s3cr3t")), body=b'{"a": 1}'
)


def a_lane(url: str, *, timeout_seconds: float = 5.0, context: ssl.SSLContext | None = None) -> Lane:
    return Lane(Endpoint(url=url, timeout_seconds=timeout_seconds, tls=context or tls_context(url, None)))


local = partial(trio.serve_tcp, port=0, host="127.0.0.1")


async def attempt(target: FakeTarget, *, timeout_seconds: float = 5.0) -> Answer | NoAnswer | CutShort:
    lane = a_lane(target.url, timeout_seconds=timeout_seconds)
    try:
        return await lane.send(REQUEST)
    finally:
        await lane.aclose()


async def test_posts_exactly_what_it_is_given() -> None:
    async with serving(answer(200, b"thanks")) as target:
        assert await attempt(target) == Answer(status=200, retry_after=None, excerpt="thanks")
    (request,) = target.requests
    assert request.line == "POST /hook?x=1 HTTP/1.1"
    assert request.body == REQUEST.body
    assert request.headers == {
        "host": f"127.0.0.1:{target.port}",
        "content-length": "8",
        "content-type": "application/json",
        "x-secret": "s3cr3t",
    }


@pytest.mark.parametrize("status", [200, 204, 301, 307, 400, 401, 429, 500, 503, 599])
async def test_every_status_is_an_answer_and_no_redirect_is_followed(status: int) -> None:
    async with serving(answer(status, headers="Location: http://127.0.0.1:1/elsewhere\r\n")) as target:
        result = await attempt(target)
    assert isinstance(result, Answer)
    assert result.status == status
    assert len(target.requests) == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [("Retry-After: 7\r\n", "7"), ("", None), ("Retry-After: 7\r\nRetry-After: 9\r\n", None)],
)
async def test_retry_after_counts_where_there_is_exactly_one(headers: str, expected: str | None) -> None:
    async with serving(answer(503, headers=headers)) as target:
        result = await attempt(target)
    assert result == Answer(status=503, retry_after=expected, excerpt="")


async def test_a_connection_is_kept_between_attempts() -> None:
    async with serving(answer(200, b"ok")) as target:
        lane = a_lane(target.url)
        for _ in range(3):
            assert isinstance(await lane.send(REQUEST), Answer)
        await lane.aclose()
    assert [request.connection for request in target.requests] == [0, 0, 0]


async def test_cookies_are_not_kept() -> None:
    async with serving(answer(200, headers="Set-Cookie: a=b\r\n")) as target:
        lane = a_lane(target.url)
        await lane.send(REQUEST)
        await lane.send(REQUEST)
        await lane.aclose()
    assert all("cookie" not in request.headers for request in target.requests)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(answer(200)) as target:
        assert isinstance(await attempt(target), Answer)


async def test_a_kept_connection_that_was_closed_meanwhile_costs_no_attempt() -> None:
    """The target closes right after the second request has come in, before any byte of an answer."""
    async with serving(answer(200), raw(b""), answer(200)) as target:
        lane = a_lane(target.url)
        await lane.send(REQUEST)
        assert isinstance(await lane.send(REQUEST), Answer)
        await lane.aclose()
    assert [request.connection for request in target.requests] == [0, 0, 1]


async def test_a_fresh_connection_that_breaks_is_a_failed_attempt() -> None:
    async with serving(raw(b"")) as target:
        result = await attempt(target)
    assert result == NoAnswer(error="the connection ended, or what came is not HTTP")
    assert len(target.requests) == 1


async def test_a_reset_is_a_failed_attempt() -> None:
    async def reset(_: Received, stream: trio.abc.Stream) -> bool:
        assert isinstance(stream, trio.SocketStream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        return False

    async with serving(reset) as target:
        assert await attempt(target) == NoAnswer(error="connection reset by peer")


async def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        lane = a_lane(f"http://127.0.0.1:{port}/")
        assert await lane.send(REQUEST) == NoAnswer(error="connection refused")


async def test_a_name_that_does_not_resolve() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: Any) -> Any:
            raise NotImplementedError

    former = trio.socket.set_custom_hostname_resolver(Resolver())
    try:
        result = await a_lane("http://support.internal/").send(REQUEST)
    finally:
        trio.socket.set_custom_hostname_resolver(former)
    assert result == NoAnswer(error="host name not resolved: name or service not known")


@pytest.mark.parametrize("host", ["a" * 300, ".", "x..y"])
async def test_a_name_that_cannot_be_one_is_a_failed_attempt(host: str) -> None:
    assert isinstance(await a_lane(f"http://{host}/").send(REQUEST), NoAnswer)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x00\x02",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000,
        b"HTTP/1.1 200 OK\r\nContent-L",
        b"HTTP/1.1 099 Early\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"\x00" * 100,
    ],
)
async def test_what_is_not_http_is_a_failed_attempt(garbage: bytes) -> None:
    async with serving(raw(garbage)) as target:
        result = await attempt(target)
    assert isinstance(result, NoAnswer)
    assert "the connection ended, or what came is not HTTP" in result.error or "reset" in result.error


async def test_the_deadline_covers_the_whole_attempt() -> None:
    async with serving(hang) as target:
        started = trio.current_time()
        result = await attempt(target, timeout_seconds=0.2)
        assert trio.current_time() - started < 1.0
    assert result == NoAnswer(error="no answer within 0.2 s")


async def test_a_head_that_drips_is_bounded_by_the_deadline() -> None:
    async def drip(_: Received, stream: trio.abc.Stream) -> bool:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 1000:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.02)
        return False

    async with serving(drip) as target:
        assert await attempt(target, timeout_seconds=0.2) == NoAnswer(error="no answer within 0.2 s")


async def test_a_target_that_does_not_read_is_bounded_by_the_deadline() -> None:
    async def never_read(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(local, never_read)
        lane = a_lane(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/", timeout_seconds=0.3)
        request = OutgoingRequest(headers=(), body=b"x" * 16 * 1024**2)
        assert await lane.send(request) == NoAnswer(error="no answer within 0.3 s")
        nursery.cancel_scope.cancel()


async def test_an_endless_answer_is_read_for_4_kib_and_closed() -> None:
    sent = 0
    closed = trio.Event()

    async def endless(_: Received, stream: trio.abc.Stream) -> bool:
        nonlocal sent
        try:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                await stream.send_all(b"1000\r\n" + b"z" * 4096 + b"\r\n")
                sent += 4096
                await trio.lowlevel.checkpoint()
        except trio.BrokenResourceError:
            closed.set()
        return False

    async with serving(endless, answer(200, b"again")) as target:
        lane = a_lane(target.url)
        result = await lane.send(REQUEST)
        with trio.fail_after(5):
            await closed.wait()
        assert result == Answer(status=200, retry_after=None, excerpt="z" * ANSWER_BYTES)
        # the lane is as good as new
        assert await lane.send(REQUEST) == Answer(status=200, retry_after=None, excerpt="again")
        await lane.aclose()
    gc.collect()  # a generator left half-read would warn, and warnings are errors


async def test_an_answer_of_just_4_kib_keeps_nothing_from_the_next() -> None:
    async with serving(answer(200, b"z" * ANSWER_BYTES), answer(200, b"next")) as target:
        lane = a_lane(target.url)
        assert await lane.send(REQUEST) == Answer(status=200, retry_after=None, excerpt="z" * ANSWER_BYTES)
        assert await lane.send(REQUEST) == Answer(status=200, retry_after=None, excerpt="next")
        await lane.aclose()


@pytest.mark.parametrize("ending", ["break", "drip"])
async def test_once_the_head_is_there_its_status_counts(ending: str) -> None:
    async def script(_: Received, stream: trio.abc.Stream) -> bool:
        await stream.send_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nhalf")
        if ending == "drip":
            await trio.sleep_forever()
        return False

    async with serving(script, answer(200)) as target:
        lane = a_lane(target.url, timeout_seconds=0.3)
        assert await lane.send(REQUEST) == Answer(status=202, retry_after=None, excerpt="half")
        assert isinstance(await lane.send(REQUEST), Answer)
        await lane.aclose()


async def test_compressed_answers_are_not_unfolded() -> None:
    async with serving(
        answer(200, b"\x1f\x8b\x08 not really", headers="Content-Encoding: gzip\r\n")
    ) as target:
        result = await attempt(target)
    assert isinstance(result, Answer)
    assert result.excerpt.startswith("\x1f")


async def test_an_answer_before_the_body_was_read_is_heard() -> None:
    async def early(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await stream.send_eof()
        await trio.sleep(0.2)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(local, early)
        lane = a_lane(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/")
        result = await lane.send(OutgoingRequest(headers=(), body=b"x" * 3 * 1024**2))
        nursery.cancel_scope.cancel()
    assert isinstance(result, Answer)
    assert result.status == 413


async def test_a_malformed_header_is_not_quoted() -> None:
    async with serving(answer(200)) as target:
        lane = a_lane(target.url)
        result = await lane.send(OutgoingRequest(headers=((b"Authorization", b"s3cr3t\r\nX: y"),), body=b""))
        await lane.aclose()
    assert result == NoAnswer(error="the request cannot be sent: a configured header is malformed")


async def test_cut_short_says_that_nothing_is_known() -> None:
    async with serving(hang) as target:
        lane = a_lane(target.url)
        results: list[object] = []

        async def send() -> None:
            results.append(await lane.send(REQUEST))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with trio.fail_after(5):
                await target.asked.wait()
            lane.cut_short()
        assert results == [CutShort()]


async def test_cancelling_closes_the_connection() -> None:
    async with serving(hang, answer(200)) as target:
        lane = a_lane(target.url)
        with trio.move_on_after(0.2) as scope:
            await lane.send(REQUEST)
        assert scope.cancelled_caught
        assert isinstance(await lane.send(REQUEST), Answer)
        await lane.aclose()
    assert [request.connection for request in target.requests] == [0, 1]


class Tls:
    """A target behind TLS, with a CA that nobody else knows."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert("localhost").configure_cert(self.context)
        client = self.ca.issue_cert("gateway")
        self.client_file = directory / "client.pem"
        client.private_key_and_cert_chain_pem.write_to_path(str(self.client_file))

    async def attempt(
        self, settings: TargetTls | None, *, host: str = "localhost"
    ) -> Answer | NoAnswer | CutShort:
        target = FakeTarget(scripts=[answer(200)])
        serve = partial(trio.serve_ssl_over_tcp, self._serve(target), 0, self.context, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(serve)
            port = listeners[0].transport_listener.socket.getsockname()[1]
            url = f"https://{host}:{port}/"
            lane = a_lane(url, context=tls_context(url, settings))
            result = await lane.send(REQUEST)
            await lane.aclose()
            nursery.cancel_scope.cancel()
        return result

    @staticmethod
    def _serve(target: FakeTarget) -> Any:
        async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await target.serve(stream)

        return serve


async def test_tls_with_a_ca_of_its_own(tmp_path: Path) -> None:
    tls = Tls(tmp_path)
    assert isinstance(await tls.attempt(TargetTls(ca=tls.ca_file)), Answer)


async def test_tls_without_the_ca_is_refused(tmp_path: Path) -> None:
    result = await Tls(tmp_path).attempt(None)
    assert isinstance(result, NoAnswer)
    assert result.error.startswith("TLS: certificate not accepted: unable to get local issuer")


async def test_tls_with_a_wrong_name_is_refused(tmp_path: Path) -> None:
    tls = Tls(tmp_path)
    result = await tls.attempt(TargetTls(ca=tls.ca_file), host="127.0.0.1")
    assert isinstance(result, NoAnswer)
    assert result.error.startswith("TLS: certificate not accepted: IP address mismatch")


async def test_tls_shows_the_client_certificate(tmp_path: Path) -> None:
    tls = Tls(tmp_path)
    tls.context.verify_mode = ssl.CERT_REQUIRED
    tls.ca.configure_trust(tls.context)
    settings = TargetTls(ca=tls.ca_file, certificate=tls.client_file, private_key=tls.client_file)
    assert isinstance(await tls.attempt(settings), Answer)
    refused = await tls.attempt(TargetTls(ca=tls.ca_file))
    assert isinstance(refused, NoAnswer)


async def test_plain_http_on_a_tls_url_is_told(tmp_path: Path) -> None:
    async with serving(answer(200)) as target:
        lane = a_lane(f"https://127.0.0.1:{target.port}/", timeout_seconds=1)
        result = await lane.send(REQUEST)
    assert isinstance(result, NoAnswer)


@pytest.mark.parametrize("which", ["missing", "no certificate", "encrypted key"])
def test_tls_files_that_do_not_fit_are_told_without_asking(tmp_path: Path, which: str) -> None:
    file = tmp_path / "file.pem"
    if which == "no certificate":
        file.write_text("hello")
    elif which == "encrypted key":
        file.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    with pytest.raises(GatewayError, match="TLS files of a target cannot be used"):
        tls_context("https://x/", TargetTls(certificate=file, private_key=file))


async def test_garbage_on_a_kept_connection_is_a_failed_attempt() -> None:
    """Bytes came, so the target had the request: it is not asked again before the schedule says so."""
    async with serving(answer(200), raw(b"garbage\r\n\r\n")) as target:
        lane = a_lane(target.url)
        await lane.send(REQUEST)
        assert isinstance(await lane.send(REQUEST), NoAnswer)
    assert len(target.requests) == 2


TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def surplus(extra: bytes) -> Script:
    """Answer, with more behind the answer in the same segment than was asked for."""

    async def script(_: Received, stream: trio.abc.Stream) -> bool:
        await stream.send_all(TAKEN + extra)
        return True

    return script


@pytest.mark.parametrize(
    "extra",
    [TAKEN, TAKEN[:7], b"HTTP/1.1 400 Bad\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"garbage", b"\r\n"],
)
async def test_what_stands_behind_an_answer_is_no_answer_to_the_next(extra: bytes) -> None:
    """Else a delivery that was refused would count as delivered, and be lost without a trace."""
    async with serving(surplus(extra), answer(503), answer(200)) as target:
        lane = a_lane(target.url)
        results = [await lane.send(REQUEST) for _ in range(3)]
        await lane.aclose()
    assert [isinstance(result, Answer) and result.status for result in results] == [200, 503, 200]
    assert [request.connection for request in target.requests] == [0, 1, 1]


async def test_what_comes_after_an_answer_while_the_lane_rests_is_no_answer_to_the_next() -> None:
    late = trio.Event()

    async def afterthought(_: Received, stream: trio.abc.Stream) -> bool:
        await stream.send_all(TAKEN)
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(TAKEN)
        late.set()
        return True

    async with serving(afterthought, answer(503)) as target:
        lane = a_lane(target.url)
        assert await lane.send(REQUEST) == Answer(status=200, retry_after=None, excerpt="")
        with trio.fail_after(5):
            await late.wait()
        result = await lane.send(REQUEST)
        await lane.aclose()
    assert result == Answer(status=503, retry_after=None, excerpt="")


class Corked(trio.abc.Stream):
    """Keeps what is sent until it is uncorked: two TLS records then arrive in one piece."""

    def __init__(self, beneath: trio.SocketStream) -> None:
        self._beneath = beneath
        self._kept: bytearray | None = None

    def cork(self) -> None:
        self._kept = bytearray()

    async def uncork(self) -> None:
        kept, self._kept = self._kept or b"", None
        await self._beneath.send_all(bytes(kept))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._kept is None:
            await self._beneath.send_all(data)
        else:
            self._kept += data

    async def wait_send_all_might_not_block(self) -> None:
        await self._beneath.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._beneath.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._beneath.aclose()


async def test_a_record_behind_the_one_of_the_answer_is_no_answer_to_the_next(tmp_path: Path) -> None:
    """It is neither in the parser nor in the socket, but between the two."""
    tls = Tls(tmp_path)

    async def twice(_: Received, stream: trio.abc.Stream) -> bool:
        assert isinstance(stream, trio.SSLStream)
        stream.transport_stream.cork()
        await stream.send_all(TAKEN)
        await stream.send_all(TAKEN)
        await stream.transport_stream.uncork()
        return True

    target = FakeTarget(scripts=[twice, answer(503)])

    async def serve(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(Corked(stream), tls.context, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError):
            await target.serve(secured)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(local, serve)
        url = f"https://localhost:{listener.socket.getsockname()[1]}/"
        lane = a_lane(url, context=tls_context(url, TargetTls(ca=tls.ca_file)))
        results = [await lane.send(REQUEST) for _ in range(3)]
        await lane.aclose()
        nursery.cancel_scope.cancel()
    assert [isinstance(result, Answer) and result.status for result in results] == [200, 503, 503]
    assert [request.connection for request in target.requests] == [0, 1, 1]


async def test_where_it_cannot_be_seen_what_is_left_no_connection_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "_UNREAD", attrgetter("_gone"))
    async with serving(answer(200)) as target:
        lane = a_lane(target.url)
        for _ in range(3):
            assert isinstance(await lane.send(REQUEST), Answer)
        await lane.aclose()
    assert [request.connection for request in target.requests] == [0, 1, 2]
