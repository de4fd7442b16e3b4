"""HTTP/1.1 over real sockets, byte by byte."""

from typing import Any

import pytest
import trio
import trio.testing

from gateway.core.asgi import BODY_IS_HERE
from gateway.web.limits import HttpLimits
from tests.web.rig import (
    ANONYMOUS,
    GET,
    PATIENCE_SECONDS,
    Client,
    answer,
    echo,
    read_all,
    read_body,
    serving,
    too_large,
    upper,
)

MIB = 1024 * 1024


async def _exchange(raw: bytes, *, app: Any = upper, peer: Any = None) -> tuple[bytes, float, float]:
    """Send bytes and half-close; return all that came back, and how many 400 and 431 were counted."""
    async with serving(app, peer=peer) as rig:
        stream = await rig.connect()
        await stream.send_all(raw)
        await stream.send_eof()
        data = await read_all(stream)
        await rig.wait_ended()
        return data, rig.refused(400), rig.refused(431)


async def test_an_app_answers() -> None:
    async with serving(upper) as rig:
        client = Client(await rig.connect())
        got = await client.ask(b"POST /a%20b?q HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert (got.status, got.body) == (200, b"POST /a b abc")
        assert set(got.headers) == {b"date", b"content-length"}


async def test_a_body_in_chunks_arrives_whole() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    async with serving(upper) as rig:
        stream = await rig.connect()
        for byte in raw:
            await stream.send_all(bytes([byte]))
        assert (await Client(stream).read()).body == b"POST / abcde"


async def test_an_app_may_answer_while_it_reads() -> None:
    body = bytes(range(256)) * 4096
    async with serving(echo) as rig:
        stream = await rig.connect()
        client = Client(stream)
        async with trio.open_nursery() as nursery:
            raw = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            nursery.start_soon(stream.send_all, raw)
            assert (await client.read()).body == body


async def test_connections_are_kept_alive() -> None:
    async with serving(upper) as rig:
        client = Client(await rig.connect())
        for _ in range(5):
            got = await client.ask(GET)
            assert got.status == 200
            assert b"connection" not in got.headers


async def test_pipelined_requests_are_answered_in_order() -> None:
    raw = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(20))
    async with serving(upper) as rig:
        client = Client(await rig.connect())
        await client.stream.send_all(raw)
        for n in range(20):
            assert (await client.read()).body == b"GET /%d " % n


async def test_a_client_that_ends_its_side_is_answered() -> None:
    data, *_ = await _exchange(GET + GET)
    assert data.count(b"HTTP/1.1 200") == 2


async def test_a_client_that_asks_to_close_is_answered_and_closed() -> None:
    async with serving(upper) as rig:
        stream = await rig.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = await read_all(stream)
        assert data.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in data.lower()
        await rig.wait_ended()


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving(upper) as rig:
        stream = await rig.connect()
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        data = await read_all(stream)
        assert data.startswith(b"HTTP/1.1 200 ")
        assert b"chunked" not in data


async def test_an_empty_answer_says_so() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await answer(send, 200)

    async with serving(app) as rig:
        got = await Client(await rig.connect()).ask(GET)
        assert got.headers[b"content-length"] == b"0"


async def test_a_head_request_has_no_body() -> None:
    data, *_ = await _exchange(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"ontent-" in head
    assert b"ength: 7" in head
    assert body == b""


async def test_methods_are_taken_as_written() -> None:
    data, *_ = await _exchange(b"get / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert data.endswith(b"get / ")


async def test_a_target_in_absolute_form_is_accepted() -> None:
    data, *_ = await _exchange(b"GET http://a.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n")
    assert data.endswith(b"GET /x ")


MALFORMED = {
    "no request line": b"\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 3.7": b"GET / HTTP/3.7\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF in one header": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\nC: d\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n",
    "folded line": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\r\nA: b\x00c\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "length and encoding": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "two lengths in one": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
    "signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    "hexadecimal length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx",
    "empty length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nx",
    "unknown encoding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two encodings": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "encoding in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    "bad chunk size": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
    "bad chunk end": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_request_is_answered_400_and_closed(raw: bytes) -> None:
    async with serving(upper) as rig:
        stream = await rig.connect()
        await stream.send_all(raw)
        data = await read_all(stream)
        assert data.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in data.lower()
        assert b"\r\nserver:" not in data.lower()
        assert data.endswith(b"\r\n\r\n")
        assert rig.refused(400) == 1
        await stream.aclose()
        await rig.wait_ended()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 17_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 17_000,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 20_000,
    ],
    ids=["whole", "line without end", "lines without end"],
)
async def test_a_head_too_large_is_answered_431(raw: bytes) -> None:
    async with serving(upper) as rig:
        stream = await rig.connect()
        await stream.send_all(raw)
        data = await read_all(stream)
        assert data.startswith(b"HTTP/1.1 431 ")
        assert rig.refused(431) == 1


async def test_nothing_behind_a_malformed_head_is_served() -> None:
    data, *_ = await _exchange(b"GET / HTTP/1.1\r\nHost: a\r\nA: b\nC: d\r\n\r\n" + GET)
    assert data.count(b"HTTP/1.1 ") == 1


async def test_a_connection_without_a_request_is_not_counted() -> None:
    assert await _exchange(b"") == (b"", 0, 0)
    assert await _exchange(b"GET / HT") == (b"", 0, 0)


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ],
    ids=["h2c", "websocket"],
)
async def test_an_upgrade_is_not_taken_up(upgrade: bytes) -> None:
    async with serving(upper) as rig:
        client = Client(await rig.connect())
        got = await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + upgrade + b"\r\n")
        assert (got.status, got.body) == (200, b"GET / ")
        assert b"upgrade" not in got.headers
        # The connection goes on in HTTP/1.1.
        assert (await client.ask(GET)).status == 200


async def test_an_upgrade_with_a_body_is_refused_and_its_body_is_no_request() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: %d\r\n\r\n"
    data, refused, _ = await _exchange(head % len(GET) + GET)
    assert data.startswith(b"HTTP/1.1 400 ")
    assert data.count(b"HTTP/1.1") == 1
    assert refused == 1


async def test_a_client_that_expects_100_continue_gets_it() -> None:
    async with serving(upper) as rig:
        stream = await rig.connect()
        await stream.send_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        with trio.fail_after(PATIENCE_SECONDS):
            first = await stream.receive_some()
        assert bytes(first).startswith(b"HTTP/1.1 100 ")
        assert b"server" not in bytes(first).lower()
        assert (await Client(stream).ask(b"abc")).body == b"POST / abc"


async def test_100_continue_is_not_said_before_an_early_answer() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    data, *_ = await _exchange(head, app=too_large)
    assert data.startswith(b"HTTP/1.1 413 ")
    assert b" 100 " not in data


async def test_100_continue_is_not_said_until_the_app_wants_the_body() -> None:
    wants = trio.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await wants.wait()
        await answer(send, 200, await read_body(receive))

    async with serving(app) as rig:
        stream = await rig.connect()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        await stream.send_all(head)
        with trio.move_on_after(0.1) as early:
            await stream.receive_some()
        assert early.cancelled_caught
        wants.set()
        with trio.fail_after(PATIENCE_SECONDS):
            assert bytes(await stream.receive_some()) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await Client(stream).ask(b"abc")).body == b"abc"


async def test_100_continue_is_not_said_when_the_body_is_here() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    data, *_ = await _exchange(head + b"abc")
    assert data.startswith(b"HTTP/1.1 200 ")


async def test_an_early_answer_to_a_body_that_is_here_keeps_the_connection() -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    data, *_ = await _exchange(raw + raw, app=too_large)
    assert data.count(b"HTTP/1.1 413 ") == 2
    assert b"connection: close" not in data


async def test_an_app_that_waits_for_the_end_of_the_connection_hears_of_it() -> None:
    heard: list[str] = []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while not heard or heard[-1] != "http.disconnect":
            heard.append((await receive())["type"])

    async with serving(app) as rig:
        stream = await rig.connect()
        await stream.send_all(GET)
        await trio.sleep(0.05)
        await stream.aclose()
        await rig.wait_ended()
    assert heard == ["http.request", "http.disconnect"]


async def test_an_app_that_waits_in_another_task_hears_of_the_end_of_its_answer() -> None:
    heard: list[str] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        async def listen() -> None:
            await read_body(receive)
            heard.append((await receive())["type"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            await answer(send, 200)

    async with serving(app) as rig:
        client = Client(await rig.connect())
        for _ in range(2):
            assert (await client.ask(GET)).status == 200
        # A request that came while the first was being answered is not lost.
        await client.stream.send_all(GET + GET)
        assert [(await client.read()).status for _ in range(2)] == [200, 200]
        await trio.testing.wait_all_tasks_blocked()
    assert heard == ["http.disconnect"] * 4


@pytest.mark.parametrize(
    ("pieces", "is_here"),
    [
        ([GET], True),
        ([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"], True),
        ([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET"], True),
        ([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", b"c"], False),
        ([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", b"ab", b"c"], False),
    ],
)
async def test_an_app_is_told_that_it_need_not_wait_for_the_body(pieces: list[bytes], is_here: bool) -> None:
    told: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append(BODY_IS_HERE in scope["extensions"])
        message = await receive()
        assert message["more_body"] is not is_here
        await answer(send, 200)

    async with serving(app) as rig:
        stream = await rig.connect()
        for piece in pieces:
            await stream.send_all(piece)
            await trio.sleep(0.02)
        assert (await Client(stream).read()).status == 200
    assert told == [is_here]


async def test_a_malformed_chunk_is_answered_for_the_app() -> None:
    heard: list[Any] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while not heard or heard[-1]["type"] != "http.disconnect":
            heard.append(await receive())
        await answer(send, 200)

    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    data, refused, _ = await _exchange(head + b"1\r\nab\r\n0\r\n\r\n", app=app)
    assert data.startswith(b"HTTP/1.1 400 ")
    assert data.count(b"HTTP/1.1") == 1
    assert refused == 1


@pytest.mark.parametrize("size", [200_000, 3 * MIB, 7 * MIB])
@pytest.mark.parametrize("peer", [None, ANONYMOUS], ids=["known", "anonymous"])
async def test_an_early_answer_is_read_by_a_client_that_is_still_sending(size: int, peer: Any) -> None:
    async with serving(too_large, peer=peer) as rig:
        for _ in range(5):
            stream = await rig.connect()
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            # A reset hits who sends all before reading; the last piece comes after the answer.
            await stream.send_all(bytes(size - 1))
            await trio.sleep(0.01)
            await stream.send_all(b"x")
            data = await read_all(stream)
            assert data.startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in data.lower()
            await stream.aclose()


async def test_a_lingering_connection_ends_at_its_size() -> None:
    async with serving(too_large, limits=HttpLimits(linger_bytes=MIB)) as rig:
        stream = await rig.connect()
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        sent = 0
        is_open = True
        while is_open:
            try:
                with trio.fail_after(PATIENCE_SECONDS):
                    await stream.send_all(bytes(65536))
                sent += 65536
            except trio.BrokenResourceError:
                is_open = False
        await rig.wait_ended()
        assert sent < 20 * MIB


async def test_an_anonymous_peer_has_one_request() -> None:
    async with serving(upper, peer=ANONYMOUS) as rig:
        stream = await rig.connect()
        await stream.send_all(GET + GET + GET)
        data = await read_all(stream)
        assert data.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in data.lower()


async def test_requests_on_one_connection_are_bounded() -> None:
    async with serving(upper, limits=HttpLimits(max_requests=3)) as rig:
        client = Client(await rig.connect())
        answers = [await client.ask(GET) for _ in range(3)]
        assert [a.headers.get(b"connection") for a in answers] == [None, None, b"close"]
        await rig.wait_ended()


async def test_a_failing_app_is_answered_500() -> None:
    async def app(scope: Any, receive: Any, _send: Any) -> None:
        await read_body(receive)
        if scope["path"] == "/group":
            raise ExceptionGroup("two", [ValueError("secret"), KeyError("secret")])
        if scope["path"] == "/raise":
            raise ValueError("secret")

    async with serving(app) as rig:
        client = Client(await rig.connect())
        for path in (b"/raise", b"/group", b"/silent"):
            got = await client.ask(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            assert (got.status, got.body) == (500, b"")
        assert rig.refused(500) == 3


async def test_an_answer_that_breaks_off_is_not_mistaken_for_whole() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError

    data, *_ = await _exchange(GET, app=app)
    assert b"half" in data
    assert not data.endswith(b"0\r\n\r\n")


async def test_an_app_hears_of_a_client_that_leaves_in_mid_body() -> None:
    heard: list[Any] = []
    done = trio.Event()

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while True:
            message = await receive()
            heard.append(message["type"])
            if message["type"] == "http.disconnect":
                done.set()
                return

    async with serving(app) as rig:
        stream = await rig.connect()
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        await stream.aclose()
        with trio.fail_after(PATIENCE_SECONDS):
            await done.wait()
        await rig.wait_ended()
        assert heard == ["http.request", "http.disconnect"]
        assert rig.refused(500) == 0


async def test_body_that_no_app_reads_waits_in_the_socket() -> None:
    release = trio.Event()
    limits = HttpLimits(linger_seconds=0.1)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await release.wait()
        await answer(send, 413)

    async with serving(app, limits=limits) as rig:
        stream = await rig.connect()
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        sent = 0
        while True:
            with trio.move_on_after(0.3) as scope:
                await stream.send_all(bytes(65536))
                sent += 65536
            if scope.cancelled_caught:
                break
            # The kernel's buffers hold a few MiB; what is beyond would be the server's memory.
            assert sent < 64 * MIB
        release.set()
        await rig.wait_ended()


async def test_after_shutdown_the_request_in_flight_is_the_last() -> None:
    started, release = trio.Event(), trio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        started.set()
        await release.wait()
        await answer(send, 200, b"done")

    async with serving(app) as rig:
        idle = await rig.connect()
        busy = Client(await rig.connect())
        await busy.stream.send_all(GET)
        await started.wait()
        rig.web.shutdown()
        assert await read_all(idle) == b""
        await rig.wait_ended(1)
        assert rig.web.open_connections == 1
        release.set()
        got = await busy.read()
        assert (got.body, got.headers[b"connection"]) == (b"done", b"close")
        with trio.fail_after(PATIENCE_SECONDS):
            await rig.web.wait_idle()


async def test_a_request_that_is_here_when_the_answer_before_it_goes_out_is_answered_as_the_last() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, scope["path"].encode())
        rig.web.shutdown()  # too late to tell the client that this answer was the last

    async with serving(app) as rig:
        stream = await rig.connect()
        await stream.send_all(GET.replace(b"/ ", b"/first ") + GET.replace(b"/ ", b"/second "))
        received = b""
        while piece := await stream.receive_some():
            received += piece
        first, _, second = received.partition(b"/first")
        assert b"connection: close" not in first.lower()
        assert b"connection: close" in second.lower()
        assert second.endswith(b"/second")


async def test_after_shutdown_who_has_made_no_request_yet_may_make_one() -> None:
    """It was let in, so its client believes that it is served, and does not look for another gateway."""
    async with serving(upper) as rig:
        client = Client(await rig.connect())
        await trio.testing.wait_all_tasks_blocked(0.01)
        rig.web.shutdown()
        late = Client(await rig.connect())
        for newcomer in (client, late):
            got = await newcomer.ask(GET)
            assert (got.status, got.headers[b"connection"]) == (200, b"close")
        with trio.fail_after(PATIENCE_SECONDS):
            await rig.web.wait_idle()


async def test_after_shutdown_a_head_that_has_begun_is_still_served() -> None:
    async with serving(upper) as rig:
        client = Client(await rig.connect())
        assert (await client.ask(GET)).status == 200
        await client.stream.send_all(GET[:10])
        await trio.sleep(0.05)
        rig.web.shutdown()
        got = await client.ask(GET[10:])
        assert (got.status, got.headers[b"connection"]) == (200, b"close")
        with trio.fail_after(PATIENCE_SECONDS):
            await rig.web.wait_idle()
