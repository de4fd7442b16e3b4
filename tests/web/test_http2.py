"""HTTP/2 over real sockets, with the h2 library as the client."""

from typing import Any

import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from gateway.web.limits import HttpLimits
from tests.web.rig import (
    ANONYMOUS,
    KNOWN,
    PATIENCE_SECONDS,
    H2Client,
    Rig,
    answer,
    echo,
    read_body,
    serving,
    upper,
)

MIB = 1024 * 1024


async def _client(rig: Rig) -> H2Client:
    """Connect, and wait for the settings and the wide window that come with them."""
    client = H2Client(await rig.connect())
    while client.h2.outbound_flow_control_window == 65_535:
        await client.pump()
    return client


async def _ended(rig: Rig, client: H2Client) -> None:
    """Read to the end, close, and wait until the server has closed too."""
    await client.read_to_end()
    await client.stream.aclose()
    await rig.wait_ended()


async def _mixed(scope: Any, receive: Any, send: Any) -> None:
    """413 at once on /large, else the size of the body."""
    if scope["path"] == "/large":
        await answer(send, 413, b"too large")
    else:
        await answer(send, 200, b"%d" % len(await read_body(receive)))


async def test_an_app_answers() -> None:
    async with serving(upper, alpn="h2") as rig:
        client = await _client(rig)
        stream_id = client.request(b"/a%20b?q", method=b"POST", end=False)
        await client.send_body(stream_id, b"abc")
        record = await client.finish(stream_id)
        assert (record.status, record.body) == (200, b"POST /a b abc")
        assert set(record.headers) == {b":status", b"date", b"content-length"}


async def test_streams_are_served_side_by_side() -> None:
    release = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        if scope["path"] == "/slow":
            await release.wait()
        await answer(send, 200, scope["path"].encode())

    async with serving(app, alpn="h2") as rig:
        client = await _client(rig)
        slow, fast = client.request(b"/slow"), client.request(b"/fast")
        assert (await client.finish(fast)).body == b"/fast"
        release.set()
        assert (await client.finish(slow)).body == b"/slow"


async def test_a_body_larger_than_the_window_comes_back_whole() -> None:
    body = bytes(range(256)) * 8192
    async with serving(echo, alpn="h2") as rig:
        client = await _client(rig)
        stream_id = client.request(method=b"POST", end=False)
        await client.send_body(stream_id, body)
        assert (await client.finish(stream_id)).body == body


async def test_an_early_answer_ends_its_stream_and_no_other() -> None:
    # Few streams, so that the connection's window is small enough to miss credit that is not given back.
    async with serving(_mixed, alpn="h2", limits=HttpLimits(max_streams=3)) as rig:
        client = await _client(rig)
        good = client.request(b"/good", method=b"POST", end=False)
        for _ in range(20):
            large = client.request(b"/large", method=b"POST", end=False)
            # In one packet with the head, whatever the server thinks of it by the time it reads it.
            while client.h2.outbound_flow_control_window < 3 * 16_384:
                await client.pump()
            for _ in range(3):
                client.h2.send_data(large, bytes(16_384))
            await client.send_body(good, bytes(100_000), end=False)
            record = await client.finish(large)
            assert (record.status, record.body) == (413, b"too large")
            client.h2.reset_stream(large, ErrorCodes.CANCEL)
        await client.send_body(good, bytes(1000))
        assert (await client.finish(good)).body == b"2001000"
        assert client.goaway is None


async def test_body_that_was_read_before_the_answer_and_handled_after_it_gives_its_credit_back() -> None:
    connect = [(b":method", b"CONNECT"), (b":authority", b"a")]
    async with serving(_mixed, alpn="h2", limits=HttpLimits(max_streams=10)) as rig:
        client = await _client(rig)
        for _ in range(40):
            while client.h2.outbound_flow_control_window < 3 * 16_384:
                await client.pump()
            large = client.request(b"/large", method=b"POST", end=False)
            # Answers of the server's own, so that the app has its turn before the body has.
            for _ in range(4):
                client.request_raw(connect, end=True)
            for _ in range(3):
                client.h2.send_data(large, bytes(16_384))
            assert (await client.finish(large)).status == 413
            client.h2.reset_stream(large, ErrorCodes.CANCEL)
        good = client.request(b"/good", method=b"POST", end=False)
        await client.send_body(good, bytes(100_000))
        assert (await client.finish(good)).body == b"100000"


async def test_a_client_that_reads_the_answer_only_behind_its_body_gets_it() -> None:
    async with serving(_mixed, alpn="h2") as rig:
        client = await _client(rig)
        large = client.request(b"/large", method=b"POST", end=False)
        await client.send_body(large, bytes(3 * 1024**2))
        record = await client.finish(large)
        assert (record.status, record.body, record.reset_code) == (413, b"too large", None)
        good = client.request(b"/good", method=b"POST", end=False)
        await client.send_body(good, b"12345")
        assert (await client.finish(good)).body == b"5"


async def test_a_body_that_never_ends_is_dropped_up_to_its_limit() -> None:
    async with serving(_mixed, alpn="h2", limits=HttpLimits(linger_bytes=100_000, linger_seconds=60)) as rig:
        client = await _client(rig)
        large = client.request(b"/large", method=b"POST", end=False)
        while client.streams[large].reset_code is None:
            if (window := client.h2.local_flow_control_window(large)) > 0:
                client.h2.send_data(large, bytes(min(window, 16_384)))
                await client.flush()
            else:
                await client.pump()
        assert client.streams[large].reset_code == ErrorCodes.NO_ERROR


async def test_an_early_answer_asks_the_client_to_stop_after_a_while() -> None:
    async with serving(_mixed, alpn="h2", limits=HttpLimits(linger_seconds=0.05)) as rig:
        client = await _client(rig)
        large = client.request(b"/large", method=b"POST", end=False)
        await client.flush()
        while client.streams[large].reset_code is None:
            await client.pump()
        assert client.streams[large].is_ended
        assert client.streams[large].reset_code == ErrorCodes.NO_ERROR


async def test_a_stream_that_no_app_reads_holds_up_no_other() -> None:
    release = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stuck":
            await release.wait()
        await answer(send, 200, b"%d" % len(await read_body(receive)))

    async with serving(app, alpn="h2") as rig:
        client = await _client(rig)
        stuck = [client.request(b"/stuck", method=b"POST", end=False) for _ in range(50)]
        for stream_id in stuck:
            while (window := client.h2.local_flow_control_window(stream_id)) > 0:
                client.h2.send_data(stream_id, bytes(min(window, 16_384)))
            await client.flush()
        # Their windows stay shut: what the server holds is bounded.
        fast = client.request(b"/fast", method=b"POST", end=False)
        await client.send_body(fast, bytes(500_000))
        assert (await client.finish(fast)).body == b"500000"
        assert all(client.h2.local_flow_control_window(stream_id) == 0 for stream_id in stuck)
        release.set()
        for stream_id in stuck:
            await client.send_body(stream_id, bytes(65_536))
            assert (await client.finish(stream_id)).body == b"131071"


async def test_many_requests_on_one_connection() -> None:
    async with serving(upper, alpn="h2") as rig:
        client = await _client(rig)
        for _ in range(30):
            batch = [client.request(method=b"POST", end=False) for _ in range(50)]
            for stream_id in batch:
                client.h2.send_data(stream_id, bytes(2000), end_stream=True)
            for stream_id in batch:
                assert len((await client.finish(stream_id)).body) == 2007
        assert client.goaway is None


async def test_settings_promise_what_is_kept() -> None:
    async with serving(upper, alpn="h2") as rig:
        client = await _client(rig)
        await client.finish(client.request())
        settings = client.h2.remote_settings
        assert settings.max_concurrent_streams == 100
        assert settings.max_header_list_size == 16 * 1024
        assert settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL, 0) == 0


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ([(b":method", b"CONNECT"), (b":authority", b"a")], 400),
        (
            [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/\xc3\xa4")],
            400,
        ),
        (
            [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", b"a"),
                (b":path", b"/"),
                (b"x", b"y" * 17_000),
            ],
            431,
        ),
    ],
    ids=["connect", "path", "too large"],
)
@pytest.mark.parametrize("end", [True, False])
async def test_a_refused_request_leaves_the_connection_alone(head: Any, status: int, end: bool) -> None:
    async with serving(upper, alpn="h2") as rig:
        client = await _client(rig)
        stream_id = client.request_raw(head, end=end)
        record = await client.finish(stream_id)
        assert record.status == status
        assert rig.refused(status) == 1
        assert (await client.finish(client.request())).status == 200


async def test_a_websocket_over_http_2_is_refused() -> None:
    async with serving(upper, alpn="h2") as rig:
        client = await _client(rig)
        stream_id = client.request_raw(
            [
                (b":method", b"CONNECT"),
                (b":protocol", b"websocket"),
                (b":scheme", b"https"),
                (b":authority", b"a"),
                (b":path", b"/"),
            ],
            end=False,
        )
        assert (await client.finish(stream_id)).status == 400


async def test_a_header_bomb_ends_the_connection() -> None:
    async with serving(upper, alpn="h2") as rig:
        client = await _client(rig)
        # One long field in the table, then one byte for each time it is meant again.
        client.request(headers=[(b"x", b"y" * 3000)] * 100)
        await _ended(rig, client)
        assert client.goaway == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("body", [b"", b"abc"])
async def test_an_anonymous_peer_has_one_request(body: bytes) -> None:
    async with serving(upper, alpn="h2", peer=ANONYMOUS) as rig:
        client = await _client(rig)
        first = client.request(method=b"POST", end=False)
        second = client.request()
        await client.send_body(first, body)
        await _ended(rig, client)
        assert client.streams[first].status == 200
        assert client.streams[second].reset_code == ErrorCodes.REFUSED_STREAM
        assert client.goaway == ErrorCodes.NO_ERROR


async def test_an_anonymous_peer_reads_its_early_answer() -> None:
    async with serving(_mixed, alpn="h2", peer=ANONYMOUS, limits=HttpLimits(linger_seconds=0.05)) as rig:
        for _ in range(20):
            client = await _client(rig)
            large = client.request(b"/large", method=b"POST", end=False)
            for _ in range(3):
                # Once the server has closed, the first of these would bring a reset, and the next would fail.
                client.h2.send_data(large, bytes(16_384))
                await client.flush()
                await trio.sleep(0.005)
            await client.read_to_end()
            assert client.streams[large].status == 413
            assert client.goaway == ErrorCodes.NO_ERROR
            await client.stream.aclose()


async def test_requests_on_one_connection_are_bounded() -> None:
    async with serving(upper, alpn="h2", limits=HttpLimits(max_requests=3)) as rig:
        client = await _client(rig)
        streams = [client.request() for _ in range(3)]
        await client.read_to_end()
        assert [client.streams[stream_id].status for stream_id in streams] == [200, 200, 200]
        assert client.goaway == ErrorCodes.NO_ERROR


async def _stuck(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    await answer(send, 200)


async def test_rapid_resets_end_the_connection() -> None:
    async with serving(_stuck, alpn="h2") as rig:
        client = await _client(rig)
        for _ in range(150):
            client.h2.reset_stream(client.request(), ErrorCodes.CANCEL)
        await _ended(rig, client)
        assert client.goaway == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_few_resets_do_not() -> None:
    async with serving(_stuck, alpn="h2") as rig:
        client = await _client(rig)
        for _ in range(100):
            client.h2.reset_stream(client.request(), ErrorCodes.CANCEL)
        await client.flush()
        client.h2.ping(b"12345678")
        await client.pump()
        assert client.goaway is None


@pytest.mark.parametrize("flood", ["ping", "settings", "empty data", "crumbs", "priority", "window"])
async def test_floods_of_control_frames_end_the_connection(flood: str) -> None:
    async with serving(upper, alpn="h2") as rig:
        client = await _client(rig)
        stream_id = client.request(method=b"POST", end=False)
        for n in range(2000):
            match flood:
                case "ping":
                    client.h2.ping(b"12345678")
                case "settings":
                    client.h2.update_settings({SettingCodes.ENABLE_PUSH: n % 2})
                case "empty data":
                    client.h2.send_data(stream_id, b"")
                case "crumbs":
                    client.h2.send_data(stream_id, b"x")
                case "priority":
                    client.h2.prioritize(stream_id, weight=1 + n % 256)
                case "window":
                    client.h2.increment_flow_control_window(1)
        await _ended(rig, client)
        assert client.goaway == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("path", [b"/good", b"/large"])
async def test_a_body_in_small_frames_is_no_flood(path: bytes) -> None:
    async with serving(_mixed, alpn="h2") as rig:
        client = await _client(rig)
        for size, frames in ((1024, 3 * 1024), (100, 950)):
            stream_id = client.request(path, method=b"POST", end=False)
            for _ in range(frames):
                await client.send_body(stream_id, bytes(size), end=False)
            await client.send_body(stream_id, b"")
            record = await client.finish(stream_id)
            if path == b"/good":
                assert record.body == b"%d" % (size * frames)
            assert record.reset_code is None
            assert client.goaway is None


async def test_crumbs_for_a_stream_that_is_over_end_the_connection() -> None:
    async with serving(_mixed, alpn="h2") as rig:
        client = await _client(rig)
        large = client.request(b"/large", method=b"POST", end=False)
        await client.flush()
        while not client.streams[large].is_ended:
            await client.pump()
        for _ in range(2000):
            client.h2.send_data(large, b"x")
        await _ended(rig, client)
        assert client.goaway == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_body_that_nobody_reads_is_charged_for_its_frames() -> None:
    async with serving(_mixed, alpn="h2", limits=HttpLimits(linger_bytes=100_000, linger_seconds=60)) as rig:
        client = await _client(rig)
        large = client.request(b"/large", method=b"POST", end=False)
        await client.flush()
        while not client.streams[large].is_ended:
            await client.pump()
        for _ in range(100):
            client.h2.send_data(large, bytes(300))
        while client.streams[large].reset_code is None:
            await client.pump()
        assert client.streams[large].reset_code == ErrorCodes.NO_ERROR


async def test_a_client_that_takes_its_leave_still_gets_its_answers() -> None:
    """RFC 9113 section 6.8: what was begun before a GOAWAY is brought to its end."""
    async with serving(_mixed, alpn="h2") as rig:
        client = await _client(rig)
        first, second = (client.request(b"/good", method=b"POST", end=False) for _ in range(2))
        client.h2.send_data(first, b"abc", end_stream=True)
        leave = client.h2.data_to_send() + GoAwayFrame(0).serialize()
        client.h2.send_data(second, b"12345", end_stream=True)
        # In one packet, so that the server reads the good-bye before it has answered.
        await client.stream.send_all(leave + client.h2.data_to_send())
        await _ended(rig, client)
        assert [client.streams[one].body for one in (first, second)] == [b"3", b"5"]
        assert client.goaway == ErrorCodes.NO_ERROR


async def test_nothing_new_is_begun_for_a_client_that_takes_its_leave() -> None:
    async with serving(_mixed, alpn="h2") as rig:
        client = await _client(rig)
        first = client.request(b"/good", method=b"POST", end=False)
        leave = client.h2.data_to_send() + GoAwayFrame(0).serialize()
        late = client.request(b"/good")
        await client.stream.send_all(leave + client.h2.data_to_send())
        assert (await client.finish(late)).reset_code == ErrorCodes.REFUSED_STREAM
        await client.send_body(first, b"abc")
        await _ended(rig, client)
        assert client.streams[first].body == b"3"


async def test_a_client_that_takes_its_leave_idle_is_let_go() -> None:
    async with serving(_mixed, alpn="h2") as rig:
        client = await _client(rig)
        await client.finish(client.request())
        await client.stream.send_all(GoAwayFrame(0).serialize())
        await _ended(rig, client)
        assert client.goaway == ErrorCodes.NO_ERROR


async def test_a_client_that_leaves_in_anger_gets_nothing_more() -> None:
    async with serving(_stuck, alpn="h2") as rig:
        client = await _client(rig)
        stream_id = client.request()
        goaway = GoAwayFrame(0, error_code=ErrorCodes.PROTOCOL_ERROR).serialize()
        await client.stream.send_all(client.h2.data_to_send() + goaway)
        await _ended(rig, client)
        assert client.streams[stream_id].status == 0


async def test_streams_beyond_the_promised_number_are_refused_one_by_one() -> None:
    """A client that has not read SETTINGS yet does not know the number (RFC 9113 section 5.1.2)."""
    release = trio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await release.wait()
        await answer(send, 200)

    async with serving(app, alpn="h2", limits=HttpLimits(max_streams=10)) as rig:
        client = H2Client(await rig.connect())
        streams = [client.request() for _ in range(15)]
        for refused in streams[10:]:
            assert (await client.finish(refused)).reset_code == ErrorCodes.REFUSED_STREAM
        release.set()
        for served in streams[:10]:
            assert (await client.finish(served)).status == 200
        again = client.request()
        assert (await client.finish(again)).status == 200
        assert client.goaway is None


async def test_streams_far_beyond_the_promised_number_are_refused_one_by_one_too() -> None:
    async with serving(_stuck, alpn="h2", limits=HttpLimits(max_streams=10)) as rig:
        client = await _client(rig)
        client.h2.remote_settings = type(client.h2.remote_settings)(client=False)
        streams = [client.request() for _ in range(900)]
        for refused in streams[10:]:
            assert (await client.finish(refused)).reset_code == ErrorCodes.REFUSED_STREAM
        assert client.goaway is None


async def test_a_flood_of_streams_ends_the_connection() -> None:
    async with serving(_stuck, alpn="h2", limits=HttpLimits(max_streams=10)) as rig:
        client = await _client(rig)
        client.h2.remote_settings = type(client.h2.remote_settings)(client=False)
        for _ in range(1100):
            client.request()
        await _ended(rig, client)
        assert client.goaway == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_failing_app_is_answered_500_and_hurts_no_other_stream() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        if scope["path"] == "/raise":
            raise ValueError("secret")
        if scope["path"] == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("secret")
        if scope["path"] == "/header":
            await answer(send, 200, b"x", [(b":bad", b"x")])
        await answer(send, 200, b"good", [(b"connection", b"close"), (b"Content-Type", b"text/plain")])

    async with serving(app, alpn="h2") as rig:
        client = await _client(rig)
        assert (await client.finish(client.request(b"/raise"))).status == 500
        half = await client.finish(client.request(b"/half"))
        assert half.reset_code == ErrorCodes.INTERNAL_ERROR
        assert (await client.finish(client.request(b"/header"))).status == 500
        good = await client.finish(client.request(b"/good"))
        assert (good.status, good.body) == (200, b"good")
        assert rig.refused(500) == 2


async def test_an_app_hears_of_a_stream_that_is_reset() -> None:
    done = trio.Event()

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        done.set()

    async with serving(app, alpn="h2") as rig:
        client = await _client(rig)
        stream_id = client.request(method=b"POST", end=False)
        await client.flush()
        client.h2.reset_stream(stream_id)
        await client.flush()
        with trio.fail_after(PATIENCE_SECONDS):
            await done.wait()


async def test_an_app_hears_of_a_client_that_leaves() -> None:
    started, done = trio.Event(), trio.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await answer(send, 200, bytes(1_000_000))
        while (await receive())["type"] != "http.disconnect":
            pass
        done.set()

    async with serving(app, alpn="h2") as rig:
        client = await _client(rig)
        client.request(method=b"POST", end=False)
        await client.flush()
        with trio.fail_after(PATIENCE_SECONDS):
            await started.wait()
            await client.stream.aclose()
            await done.wait()
        await rig.wait_ended()


async def test_after_shutdown_the_requests_in_flight_are_the_last() -> None:
    started, release = trio.Event(), trio.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await release.wait()
        await answer(send, 200, b"%d" % len(await read_body(receive)))

    async with serving(app, alpn="h2") as rig:
        client, idle = await _client(rig), await _client(rig)
        first = client.request(method=b"POST", end=False)
        await client.flush()
        await started.wait()
        rig.web.shutdown()
        await idle.read_to_end()
        assert idle.goaway == ErrorCodes.NO_ERROR
        late = client.request()
        assert (await client.finish(late)).reset_code == ErrorCodes.REFUSED_STREAM
        release.set()
        await client.send_body(first, b"abc")
        await client.read_to_end()
        assert client.streams[first].body == b"3"
        assert client.goaway == ErrorCodes.NO_ERROR
        with trio.fail_after(PATIENCE_SECONDS):
            await rig.web.wait_idle()


async def test_after_shutdown_who_has_made_no_request_yet_may_make_one() -> None:
    async with serving(upper, alpn="h2") as rig:
        client = await _client(rig)
        rig.web.shutdown()
        assert (await client.finish(client.request())).status == 200
        await client.read_to_end()
        assert client.goaway == ErrorCodes.NO_ERROR
        with trio.fail_after(PATIENCE_SECONDS):
            await rig.web.wait_idle()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        # RFC 9113 section 3.4: no GOAWAY for who does not speak HTTP/2.
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (PREFACE + b"\xff" * 100, ErrorCodes.FRAME_SIZE_ERROR),
        (PREFACE + b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff", ErrorCodes.PROTOCOL_ERROR),
        (PREFACE + b"\x00\x00\x00\x09\x04\x00\x00\x00\x01", ErrorCodes.PROTOCOL_ERROR),
    ],
    ids=["HTTP/1.1", "a frame of 16 MiB", "bad header block", "stray continuation"],
)
async def test_what_is_not_http_2_is_told_so_and_closed(raw: bytes, code: ErrorCodes | None) -> None:
    async with serving(upper, alpn="h2", peer=KNOWN) as rig:
        stream = await rig.connect()
        await stream.send_all(raw)
        client = H2Client(stream)
        client.h2.data_to_send()
        await _ended(rig, client)
        assert client.goaway == code
