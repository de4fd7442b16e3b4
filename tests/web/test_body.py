"""Bodies end where they say, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.body import MalformedBodyError, RequestBody
from gateway.web.head import Head, HeadReader
from gateway.web.limits import HttpLimits

LIMITS = HttpLimits(max_head_bytes=1024)


def _body(framing: bytes) -> RequestBody:
    head = HeadReader(LIMITS).read(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
    assert isinstance(head, Head)
    return head.body


def _take_all(body: RequestBody, raw: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """Feed it in pieces; return the body, and what is behind it."""
    whole, rest, start = b"", b"", 0
    for cut in [*sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]:
        if body.is_read:
            rest += raw[start:cut]
        else:
            piece, behind = body.take(raw[start:cut])
            whole, rest = whole + piece, rest + behind
        start = cut
    return whole, rest


_CUTS = st.lists(st.integers(0, 2000), max_size=8)


@given(content=st.binary(max_size=500), behind=st.binary(max_size=20), cuts=_CUTS)
def test_a_body_of_known_size(content: bytes, behind: bytes, cuts: list[int]) -> None:
    body = _body(b"Content-Length: %d" % len(content))
    assert _take_all(body, content + behind, cuts) == (content, behind)
    assert body.is_read


@given(
    parts=st.lists(
        st.binary(min_size=1, max_size=40) | st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n"]), max_size=8
    ),
    trailers=st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC:\r\n"]),
    behind=st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n"]),
    cuts=_CUTS,
)
def test_a_body_in_chunks(parts: list[bytes], trailers: bytes, behind: bytes, cuts: list[int]) -> None:
    chunks = b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts)
    body = _body(b"Transfer-Encoding: chunked")
    raw = chunks + b"0\r\n" + trailers + b"\r\n"
    assert _take_all(body, raw + behind, cuts) == (b"".join(parts), behind)
    assert body.is_read
    # Not a byte before its end.
    short = _body(b"Transfer-Encoding: chunked")
    _take_all(short, raw[:-1], cuts)
    assert not short.is_read


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"\r\n",
        b"-1\r\n",
        b"+1\r\na",
        b"0x1\r\na",
        b"1_0\r\n",
        b" 1\r\na",
        b"1 \r\na",
        b"1\na\r\n",
        b"1\r\na\n",
        b"1\r\nab",
        b"1\r\r\na",
        b"10000000000000000\r\n",
        b"1;\x00\r\na",
        b"1;a\nb\r\na",
        b'1;a="\r\n"\r\na',
        b"0\r\n folded\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"0\r\nContent-Length: 1\r\n\r\n",
        b"0\n\n",
    ],
)
@pytest.mark.parametrize("cuts", [[], list(range(60))], ids=["whole", "dripped"])
def test_chunks_in_doubt(raw: bytes, cuts: list[int]) -> None:
    body = _body(b"Transfer-Encoding: chunked")
    with pytest.raises(MalformedBodyError):
        _take_all(body, raw, cuts)
    assert not body.is_read


@pytest.mark.parametrize(
    "frame",
    [b"1;" + b"a" * 20 + b"\r\nx\r\n", b"1;a=" + b"b" * 2000 + b"\r\nx\r\n", b"0\r\n" + b"A: b\r\n" * 300],
    ids=["extensions", "one extension", "trailers"],
)
def test_what_frames_a_body_is_bounded(frame: bytes) -> None:
    body = _body(b"Transfer-Encoding: chunked")
    with pytest.raises(MalformedBodyError, match="more frame than body"):
        _take_all(body, frame * 1000, list(range(0, 100_000, 50)))


def test_the_smallest_chunks_are_within_bounds() -> None:
    body = _body(b"Transfer-Encoding: chunked")
    for _ in range(1000):
        assert body.take(b"00000001\r\nx\r\n") == (b"x", b"")
