"""Heads in doubt are refused, whatever follows; heads beyond doubt are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.head import BAD_REQUEST, HEAD_TOO_LARGE, HeadFault, find_fault

LIMIT = 1024
GOOD = b"POST /webhooks/main?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: a\tb \xc3\xa4\r\n\r\n"

_TOKEN = st.text("abcXYZ019-_!#", min_size=1, max_size=10).map(str.encode)
_VALUE = st.binary(max_size=20).map(lambda b: bytes(c for c in b if c >= 0x20 and c != 0x7F))
_FIELDS = st.lists(
    st.tuples(_TOKEN, _VALUE).filter(lambda f: f[0].lower() not in (b"content-length", b"transfer-encoding")),
    max_size=5,
)


def _head(fields: list[tuple[bytes, bytes]], request_line: bytes = b"GET / HTTP/1.1") -> bytes:
    lines = [request_line, *(name + b": " + value for name, value in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@given(fields=_FIELDS, body=st.binary(max_size=50))
def test_a_well_formed_head_passes_whatever_follows_it(
    fields: list[tuple[bytes, bytes]], body: bytes
) -> None:
    assert find_fault(_head(fields) + body, max_head_bytes=LIMIT) is None


@given(
    fields=_FIELDS,
    at=st.integers(min_value=0),
    junk=st.sampled_from([b"\r", b"\n", b"\x00", b"\x7f", b"\x0b", b"\x1f"]),
)
def test_one_stray_control_character_anywhere_is_a_fault(
    fields: list[tuple[bytes, bytes]], at: int, junk: bytes
) -> None:
    head = _head(fields)[:-4]
    at %= len(head)
    if head[at - 1 : at + 1] == b"\r\n" or (junk == b"\r" and head[at : at + 1] == b"\n"):
        return
    broken = head[:at] + junk + head[at:] + b"\r\n\r\n"
    fault = find_fault(broken, max_head_bytes=LIMIT)
    assert fault is not None
    assert fault.status == BAD_REQUEST


@given(cut=st.integers(min_value=0, max_value=len(GOOD) - 1))
def test_a_head_that_is_not_all_here_is_not_judged(cut: int) -> None:
    assert find_fault(GOOD[:cut], max_head_bytes=LIMIT) is None
    assert find_fault(GOOD, max_head_bytes=LIMIT) is None


@given(data=st.binary(max_size=200))
def test_anything_is_judged(data: bytes) -> None:
    fault = find_fault(data, max_head_bytes=100)
    assert fault is None or fault.status in (BAD_REQUEST, HEAD_TOO_LARGE)


@pytest.mark.parametrize(
    ("size", "fault"), [(0, None), (1, HeadFault(HEAD_TOO_LARGE, "head_too_large"))], ids=["at", "above"]
)
@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["whole", "in part"])
def test_the_limit_is_exact(size: int, fault: HeadFault | None, end: bytes) -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    head = start + b"x" * (LIMIT + size - len(start) - len(end)) + end
    assert find_fault(head, max_head_bytes=LIMIT) == fault


def test_a_body_does_not_count_as_head() -> None:
    assert find_fault(GOOD + bytes(100_000), max_head_bytes=LIMIT) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"Content-Length: 5\r\nContent-Length: 5", "content_length"),
        (b"Content-Length: 5, 5", "content_length"),
        (b"Content-Length: -5", "content_length"),
        (b"Content-Length: 5_0", "content_length"),
        (b"Content-Length: ", "content_length"),
        (b"Content-Length: " + b"9" * 20, "content_length"),
        (b"content-LENGTH : 5\r\nContent-Length: 5", "content_length"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", "transfer_encoding"),
        (b"Transfer-Encoding: gzip, chunked", "transfer_encoding"),
        (b"Transfer-Encoding: identity", "transfer_encoding"),
        (b"Transfer-Encoding: xchunked", "transfer_encoding"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "transfer_encoding"),
        (b"X: a\r\n folded", "folded_line"),
        (b"\tfolded at once", "folded_line"),
    ],
)
def test_what_says_twice_where_the_body_ends_is_a_fault(line: bytes, reason: str) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n"
    assert find_fault(head, max_head_bytes=LIMIT) == HeadFault(BAD_REQUEST, reason)


def test_chunks_are_http_1_1() -> None:
    fields = [(b"Host", b"a"), (b"Transfer-Encoding", b"Chunked")]
    assert find_fault(_head(fields), max_head_bytes=LIMIT) is None
    fault = find_fault(_head(fields, b"POST / HTTP/1.0"), max_head_bytes=LIMIT)
    assert fault == HeadFault(BAD_REQUEST, "transfer_encoding")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"GET / HTTP/2.0", "version"),
        (b"GET / HTTP/1.2", "version"),
        (b"GET / HTTP/0.9", "version"),
        (b"PRI * HTTP/2.0", "version"),
        (b"CONNECT a:443 HTTP/1.1", "connect"),
        (b"GET /", "request_line"),
        (b"GET / http/1.1", "request_line"),
        (b"GET  / HTTP/1.1", "request_line"),
        (b"GET / HTTP/1.1 ", "request_line"),
        (b" GET / HTTP/1.1", "request_line"),
        (b"G[T / HTTP/1.1", "request_line"),
        (b"GET /\xc3\xa4 HTTP/1.1", "request_line"),
        (b"", "request_line"),
    ],
)
def test_request_lines_that_are_refused(line: bytes, reason: str) -> None:
    assert find_fault(_head([(b"Host", b"a")], line), max_head_bytes=LIMIT) == HeadFault(BAD_REQUEST, reason)
