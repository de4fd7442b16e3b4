"""Attacks on the limits of HTTP, and that a well-behaved client beside them is served all the while.

Where each limit of `listen.limits` is attacked:

    max_connections, without_certificate,
    handshakes, per_address    tests/tls/test_listener.py      sleepers, strangers, crowds
                               tests/stories/test_the_door.py  silent strangers by the hundred
                               tests/stories/test_the_limits.py crowds, silent or without end
    handshake                  tests/tls/test_listener.py      who dawdles
                               tests/tls/test_proxy_header.py  who dawdles behind a balancer
    head                       here                            a head that drips in
    head_size, headers         here                            a head too large, too many headers
    body, body_rate            tests/ingress/test_body.py      who drips, who stops after a good start
                               tests/stories/test_the_limits.py
    idle                       here                            silence, silence behind an answer
    idle_without_certificate   tests/web/test_connection.py    a silent connection
    requests                   here                            more than one connection has
    streams                    here                            more than were promised, a flood
    resets                     here                            rapid reset, resets that we are made to send
    control_frames             here                            PING, SETTINGS, PRIORITY, WINDOW_UPDATE
    (h2's own bounds)          here                            CONTINUATION, a header bomb
    (answers, lingering)       tests/web/test_connection.py    who does not read, who never ends
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame

from gateway.web.limits import HttpLimits
from tests.web.rig import GET, PATIENCE_SECONDS, Client, H2Client, Rig, answer, read_all, read_body, serving

LIMITS = HttpLimits(
    head_seconds=0.3,
    max_streams=10,
    max_resets=20,
    max_control_frames=200,
    max_head_bytes=4096,
    max_headers=32,
    linger_seconds=0.2,
)
BESIDE_SECONDS = 2.0
"""How long the client beside waits for an answer at most: a small part of what an attack would cost."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer what is small, and hang on /stuck."""
    await read_body(receive)
    if scope["path"] == "/stuck":
        await trio.sleep_forever()
    await answer(send, 200, b"served")


async def ask_http_1(stream: trio.abc.Stream) -> bytes:
    return (await Client(stream).ask(GET)).body


async def ask_http_2(stream: trio.abc.Stream) -> bytes:
    client = H2Client(stream)
    return (await client.finish(client.request())).body


async def served_meanwhile(
    rig: Rig,
    attack: Callable[[Rig], Awaitable[None]],
    ask_once: Callable[[trio.abc.Stream], Awaitable[bytes]],
) -> None:
    """Attack, while somebody else asks again and again; and once more when it is over."""
    answered = 0

    async def ask() -> None:
        nonlocal answered
        stream = await rig.connect()
        with trio.fail_after(BESIDE_SECONDS):
            assert await ask_once(stream) == b"served"
        await stream.aclose()
        answered += 1

    async def keep_asking() -> None:
        while True:
            await ask()
            await trio.sleep(0.01)

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_asking)
            await attack(rig)
            nursery.cancel_scope.cancel()
    await ask()
    assert answered >= 1


# --- HTTP/1.1


async def a_head_that_drips_in(rig: Rig) -> None:
    stream = await rig.connect()
    try:
        for byte in GET[:-1] * 10:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.03)
    except trio.BrokenResourceError:
        return
    raise AssertionError("it was never closed")


async def a_head_too_large(rig: Rig) -> None:
    stream = await rig.connect()
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000)
    assert (await read_all(stream)).startswith(b"HTTP/1.1 431 ")


async def too_many_headers(rig: Rig) -> None:
    stream = await rig.connect()
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:b\r\n" * 32 + b"\r\n")
    assert (await read_all(stream)).startswith(b"HTTP/1.1 431 ")


async def silence(rig: Rig) -> None:
    assert await read_all(await rig.connect()) == b""


async def silence_behind_an_answer(rig: Rig) -> None:
    stream = await rig.connect()
    assert (await Client(stream).ask(GET)).status == 200
    assert await read_all(stream) == b""


async def more_requests_than_one_connection_has(rig: Rig) -> None:
    stream = await rig.connect()
    await stream.send_all(GET * 6)
    assert (await read_all(stream)).count(b"HTTP/1.1 200 ") == 5


@pytest.mark.parametrize(
    "attack",
    [
        a_head_that_drips_in,
        a_head_too_large,
        too_many_headers,
        silence,
        silence_behind_an_answer,
        more_requests_than_one_connection_has,
    ],
)
async def test_http_1(attack: Callable[[Rig], Awaitable[None]]) -> None:
    async with serving(app, limits=replace(LIMITS, max_requests=5, idle_seconds=0.3)) as rig:
        await served_meanwhile(rig, attack, ask_http_1)


# --- HTTP/2; the client beside speaks it too


async def _client(rig: Rig) -> H2Client:
    client = H2Client(await rig.connect())
    while client.h2.outbound_flow_control_window == 65_535:
        await client.pump()
    return client


async def _ended_for(client: H2Client, *codes: ErrorCodes) -> None:
    await client.read_to_end()
    assert client.goaway in codes


async def http_2_headers_too_large(rig: Rig) -> None:
    client = await _client(rig)
    stream_id = client.request(headers=[(b"x", b"a" * 5000)])
    assert (await client.finish(stream_id)).status == 431


async def http_2_too_many_headers(rig: Rig) -> None:
    client = await _client(rig)
    at_most = client.request(headers=[(b"x", b"y")] * 32)
    too_many = client.request(headers=[(b"x", b"y")] * 33)
    assert (await client.finish(at_most)).status == 200
    assert (await client.finish(too_many)).status == 431


async def a_header_bomb(rig: Rig) -> None:
    """One entry of the table, named again and again: few bytes, many when decoded."""
    client = await _client(rig)
    client.request(headers=[(b"x", b"a" * 3000)] + [(b"x", b"a" * 3000)] * 100)
    await _ended_for(
        client, ErrorCodes.ENHANCE_YOUR_CALM, ErrorCodes.PROTOCOL_ERROR, ErrorCodes.COMPRESSION_ERROR
    )


async def more_streams_than_were_promised(rig: Rig) -> None:
    client = await _client(rig)
    client.h2.remote_settings = type(client.h2.remote_settings)(client=False)
    streams = [client.request(b"/stuck") for _ in range(150)]
    for refused in streams[10:]:
        assert (await client.finish(refused)).reset_code == ErrorCodes.REFUSED_STREAM
    assert client.goaway is None


async def a_flood_of_streams(rig: Rig) -> None:
    client = await _client(rig)
    client.h2.remote_settings = type(client.h2.remote_settings)(client=False)
    for _ in range(1500):
        client.request(b"/stuck")
    await _ended_for(client, ErrorCodes.ENHANCE_YOUR_CALM)


async def rapid_reset(rig: Rig) -> None:
    client = await _client(rig)
    for _ in range(1000):
        client.h2.reset_stream(client.request(b"/stuck"), ErrorCodes.CANCEL)
    await _ended_for(client, ErrorCodes.ENHANCE_YOUR_CALM)


async def resets_that_we_are_made_to_send(rig: Rig) -> None:
    """CVE-2025-8671: every stream is given a reason to be reset by the server, behind a whole request."""
    client, data = await _client(rig), b""
    client.h2.remote_settings = type(client.h2.remote_settings)(client=False)
    for _ in range(1000):
        stream_id = client.request(b"/stuck", end=True)
        data += client.h2.data_to_send() + DataFrame(stream_id, data=b"x" * 300).serialize()
    await client.stream.send_all(data)
    await _ended_for(client, ErrorCodes.ENHANCE_YOUR_CALM)


def _flood(kind: str) -> Callable[[Rig], Awaitable[None]]:
    async def flood(rig: Rig) -> None:
        client = await _client(rig)
        stream_id = client.request(b"/stuck", method=b"POST", end=False)
        for number in range(1000):
            match kind:
                case "PING":
                    client.h2.ping(b"12345678")
                case "SETTINGS":
                    client.h2.update_settings({SettingCodes.ENABLE_PUSH: number % 2})
                case "PRIORITY":
                    client.h2.prioritize(stream_id, weight=1 + number % 256)
                case "WINDOW_UPDATE":
                    client.h2.increment_flow_control_window(1)
        await _ended_for(client, ErrorCodes.ENHANCE_YOUR_CALM)

    flood.__name__ = f"flood_of_{kind}"
    return flood


async def a_flood_of_continuations(rig: Rig) -> None:
    """CVE-2024-27316 and its like: a header block that never ends."""
    client = await _client(rig)
    data = client.h2.data_to_send() + HeadersFrame(1, data=b"\x82").serialize()
    await client.stream.send_all(data + ContinuationFrame(1, data=b"").serialize() * 1000)
    await _ended_for(client, ErrorCodes.PROTOCOL_ERROR, ErrorCodes.ENHANCE_YOUR_CALM)


@pytest.mark.parametrize(
    "attack",
    [
        http_2_headers_too_large,
        http_2_too_many_headers,
        a_header_bomb,
        more_streams_than_were_promised,
        a_flood_of_streams,
        rapid_reset,
        resets_that_we_are_made_to_send,
        *map(_flood, ("PING", "SETTINGS", "PRIORITY", "WINDOW_UPDATE")),
        a_flood_of_continuations,
    ],
)
async def test_http_2(attack: Callable[[Rig], Awaitable[None]]) -> None:
    async with serving(app, limits=LIMITS, alpn="h2") as rig:
        await served_meanwhile(rig, attack, ask_http_2)
