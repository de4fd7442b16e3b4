"""Byte streams cut and broken at every point: a connection always ends, and no defect shows."""

from collections.abc import Iterable
from typing import Any

import structlog.testing
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.web.limits import HttpLimits
from gateway.web.server import WebServer
from tests.web.rig import KNOWN, H2Client, answer, read_body

SERVER = ("127.0.0.1", 8443)
REQUESTS = (
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    b"GET /c HTTP/1.1\r\nHost: a\r\n\r\n"
    b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"GET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)
DEFECTS = {"app_failed", "connection_failed"}

CUTS = st.lists(st.integers(1, 400), max_size=12)
EDITS = st.lists(
    st.tuples(st.integers(0, 1000), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4
)


async def _app(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/early":
        await answer(send, 413)
        return
    await answer(send, 200, scope["path"].encode() + b" " + await read_body(receive))


async def _converse(pieces: Iterable[bytes], *, alpn: str) -> bytes:
    """Send the pieces, end, and return what came back; any defect fails."""
    ours, theirs = trio.testing.memory_stream_pair()
    web = WebServer(_app, limits=HttpLimits(linger_seconds=0, close_seconds=0), metrics=None)
    with structlog.testing.capture_logs() as logs, trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await web.serve(theirs, peer=KNOWN, alpn=alpn, server=SERVER)

            nursery.start_soon(serve)
            try:
                for piece in pieces:
                    await ours.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
                await ours.send_eof()
            except trio.BrokenResourceError:
                pass
    assert not [entry for entry in logs if entry["event"] in DEFECTS]
    data = b""
    async for chunk in ours:
        data += chunk
    return data


def _cut(raw: bytes, cuts: list[int]) -> list[bytes]:
    pieces = []
    for cut in cuts:
        pieces.append(raw[:cut])
        raw = raw[cut:]
    return [piece for piece in [*pieces, raw] if piece]


def _edit(raw: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    for at, put, drop in edits:
        at %= len(raw) + 1
        raw = raw[:at] + put + raw[at + drop :]
    return raw


def _h2_bytes() -> bytes:
    client = H2Client(trio.testing.memory_stream_pair()[0])
    for path in (b"/a", b"/early", b"/b"):
        stream_id = client.request(path, method=b"POST", end=False)
        client.h2.send_data(stream_id, b"hello", end_stream=True)
    client.h2.ping(b"12345678")
    client.request(b"/c")
    return client.h2.data_to_send()


@given(cuts=CUTS)
@settings(max_examples=60, deadline=None)
async def test_http_1_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    # Without the early answer, whose Connection: close depends on what is here by then.
    start = REQUESTS.index(b"POST /early")
    raw = REQUESTS[:start] + REQUESTS[REQUESTS.index(b"GET /d") :]
    data = await _converse(_cut(raw, cuts), alpn="http/1.1")
    assert data.count(b"HTTP/1.1 200 ") == 4
    assert [data.count(body) for body in (b"/a hello", b"/b abcde", b"/c ", b"/d ")] == [1, 1, 1, 1]


@given(edits=EDITS, cuts=CUTS)
@settings(max_examples=200, deadline=None)
async def test_broken_http_1_is_survived(edits: list[tuple[int, bytes, int]], cuts: list[int]) -> None:
    await _converse(_cut(_edit(REQUESTS, edits), cuts), alpn="http/1.1")


@given(cuts=CUTS)
@settings(max_examples=60, deadline=None)
async def test_http_2_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    reader = H2Client(trio.testing.memory_stream_pair()[0])
    for _ in range(4):
        reader.request()
    reader.h2.data_to_send()
    reader.note_data(await _converse(_cut(_h2_bytes(), cuts), alpn="h2"))
    assert {number: (s.status, s.body) for number, s in reader.streams.items()} == {
        1: (200, b"/a hello"),
        3: (413, b""),
        5: (200, b"/b hello"),
        7: (200, b"/c "),
    }


@given(edits=EDITS, cuts=CUTS)
@settings(max_examples=200, deadline=None)
async def test_broken_http_2_is_survived(edits: list[tuple[int, bytes, int]], cuts: list[int]) -> None:
    await _converse(_cut(_edit(_h2_bytes(), edits), cuts), alpn="h2")
