"""Heads in doubt are refused, whatever follows and however they are cut; heads beyond doubt are not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.body import SizedBody
from gateway.web.head import BAD_REQUEST, HEAD_TOO_LARGE, Head, HeadFault, HeadReader
from gateway.web.limits import HttpLimits

LIMIT = 1024
_NO_BODY = SizedBody(0)
LIMITS = HttpLimits(max_head_bytes=LIMIT, max_line_bytes=512)
GOOD = b"POST /webhooks/main?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: a\tb \xc3\xa4\r\n\r\n"

_TOKEN = st.text("abcXYZ019-_!#", min_size=1, max_size=10).map(str.encode)
_VALUE = st.binary(max_size=20).map(lambda b: bytes(c for c in b if c >= 0x20 and c != 0x7F))
_FIELDS = st.lists(st.tuples(_TOKEN, _VALUE), max_size=5)


def _head(fields: list[tuple[bytes, bytes]], request_line: bytes = b"GET / HTTP/1.1") -> bytes:
    lines = [request_line, b"Host: a", *(name + b": " + value for name, value in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _read(data: bytes, *, limits: HttpLimits = LIMITS) -> Head | HeadFault | None:
    return HeadReader(limits).read(data)


def _read_cut(data: bytes, cuts: list[int], *, limits: HttpLimits = LIMITS) -> Head | HeadFault | None:
    reader = HeadReader(limits)
    for cut in sorted(cut % (len(data) + 1) for cut in cuts):
        found = reader.read(data[:cut])
        if found is not None:
            return found
    return reader.read(data)


def _told(found: Head | HeadFault | None) -> object:
    """What is said of a head; bodies are the reader's own objects."""
    if not isinstance(found, Head):
        return found
    return replace(found, body=_NO_BODY), type(found.body)


@given(fields=_FIELDS, body=st.binary(max_size=50), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_a_well_formed_head_is_read_whatever_follows_it_and_however_it_is_cut(
    fields: list[tuple[bytes, bytes]], body: bytes, cuts: list[int]
) -> None:
    raw = _head(fields)
    head = _read_cut(raw + body, cuts)
    assert isinstance(head, Head)
    assert head.size_bytes == len(raw)
    assert (head.method, head.target, head.version) == ("GET", b"/", "1.1")
    assert head.headers == [(b"host", b"a"), *((name.lower(), value.strip(b" ")) for name, value in fields)]
    assert head.body.is_read


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_anything_is_judged(data: bytes, cuts: list[int]) -> None:
    fault = _read_cut(data, cuts)
    assert fault is None or (isinstance(fault, HeadFault) and fault.status in (BAD_REQUEST, HEAD_TOO_LARGE))


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
    fault = _read(head[:at] + junk + head[at:] + b"\r\n\r\n")
    assert isinstance(fault, HeadFault)
    assert fault.status == BAD_REQUEST


def test_a_head_is_the_same_at_every_cut() -> None:
    whole = _told(_read(GOOD))
    for cut in range(len(GOOD)):
        assert _read(GOOD[:cut]) is None
        assert _told(_read_cut(GOOD, [cut])) == whole
    assert _told(_read_cut(GOOD, list(range(len(GOOD))))) == whole


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["whole", "in part"])
def test_the_limit_is_exact(end: bytes) -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    head = start + b"x" * (LIMIT - len(start) - len(end)) + end
    assert not isinstance(_read(head), HeadFault)
    too_large = HeadFault(HEAD_TOO_LARGE, "head_too_large")
    assert _read(head[:-4] + b"x" + head[-4:]) == too_large


@pytest.mark.parametrize("end", [b" HTTP/1.1\r\n", b""], ids=["whole", "in part"])
def test_the_limit_of_the_request_line_is_exact(end: bytes) -> None:
    line = b"GET /" + b"x" * (512 - 5 - len(end.rstrip()))
    assert _read(line + end) is None
    assert _read(line + b"x" + end) == HeadFault(HEAD_TOO_LARGE, "request_line_too_long")


def test_the_number_of_headers_is_limited() -> None:
    limits = replace(LIMITS, max_headers=10)
    assert isinstance(_read(_head([(b"A", b"")] * 9), limits=limits), Head)
    assert _read(_head([(b"A", b"")] * 10), limits=limits) == HeadFault(HEAD_TOO_LARGE, "too_many_headers")


def test_a_body_does_not_count_as_head() -> None:
    assert isinstance(_read(GOOD + bytes(100_000)), Head)


FRAMED_IN_DOUBT = [
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5, 5",
    b"Content-Length: -5",
    b"Content-Length: +5",
    b"Content-Length: 5_0",
    b"Content-Length: 0x5",
    b"Content-Length: ",
    b"Content-Length: 5 5",
    b"Content-Length: " + b"9" * 20,
    b"content-LENGTH : 5\r\nContent-Length: 5",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: chunked;q=1",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: ",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"X: a\r\n folded",
    b"\tfolded at once",
    b"Host: a",
    b"Upgrade: x\r\nContent-Length: 5",
    b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5",
    b"Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked",
    b": nameless",
    b"no colon",
]


@pytest.mark.parametrize("line", FRAMED_IN_DOUBT)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_what_leaves_in_doubt_where_the_body_ends_is_a_fault(line: bytes, method: bytes) -> None:
    raw = method + b" / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n"
    for cuts in ([], list(range(len(raw)))):
        fault = _read_cut(raw, cuts)
        assert isinstance(fault, HeadFault)
        assert fault.status == BAD_REQUEST


def test_a_host_is_named_once() -> None:
    assert _read(b"GET / HTTP/1.1\r\n\r\n") == HeadFault(BAD_REQUEST, "host")
    assert _read(_head([(b"Host", b"a")])) == HeadFault(BAD_REQUEST, "host")
    assert isinstance(_read(b"GET / HTTP/1.0\r\n\r\n"), Head)
    assert _read(_head([(b"Host", b"a")], b"GET / HTTP/1.0")) == HeadFault(BAD_REQUEST, "host")


def test_chunks_are_http_1_1() -> None:
    fields = [(b"Transfer-Encoding", b"Chunked")]
    head = _read(_head(fields))
    assert isinstance(head, Head)
    assert not head.body.is_read
    fault = _read(_head(fields, b"POST / HTTP/1.0"))
    assert fault == HeadFault(BAD_REQUEST, "transfer_encoding")


@pytest.mark.parametrize(
    ("fields", "is_last"),
    [
        ([], False),
        ([(b"Connection", b"keep-alive")], False),
        ([(b"Connection", b"close")], True),
        ([(b"Connection", b"TE, Close")], True),
        ([(b"Connection", b"TE"), (b"Connection", b"close")], True),
        ([(b"Connection", b"closed")], False),
        ([(b"Connection", b"not-close")], False),
    ],
)
def test_who_wants_to_close_says_so(fields: list[tuple[bytes, bytes]], is_last: bool) -> None:
    head = _read(_head(fields))
    assert isinstance(head, Head)
    assert head.is_last is is_last


@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n"])
def test_an_upgrade_without_a_body_is_not_looked_at(length: bytes) -> None:
    head = _read(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n" + length + b"\r\nGET")
    assert isinstance(head, Head)
    assert head.body.is_read


@pytest.mark.parametrize(
    "method", [b"get", b"PURGE", b"DESCRIBE", b"SOURCE", b"PRI", b"M-SEARCH", b"A!#$%&'*"]
)
def test_methods_are_not_a_parsers_business(method: bytes) -> None:
    head = _read(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert isinstance(head, Head)
    assert head.method == method.decode()


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
        (b"GET / HTTP/1.10", "request_line"),
        (b"GET  / HTTP/1.1", "request_line"),
        (b"GET\t/ HTTP/1.1", "request_line"),
        (b"GET / HTTP/1.1 ", "request_line"),
        (b" GET / HTTP/1.1", "request_line"),
        (b"G[T / HTTP/1.1", "request_line"),
        (b"GET /\xc3\xa4 HTTP/1.1", "request_line"),
        (b"", "request_line"),
    ],
)
def test_request_lines_that_are_refused(line: bytes, reason: str) -> None:
    assert _read(_head([], line)) == HeadFault(BAD_REQUEST, reason)
    assert _read_cut(_head([], line), list(range(100))) == HeadFault(BAD_REQUEST, reason)


@pytest.mark.parametrize("start", [b"\x16\x03\x01\x02\x00\x01", b"\n", b"GET / HTTP/1.1\n", b"GET /\xff"])
def test_what_cannot_become_a_request_line_is_not_waited_for(start: bytes) -> None:
    assert _read(start) == HeadFault(BAD_REQUEST, "request_line")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://a.example/x?y", b"/x?y"),
        (b"HTTPS://a.example", b"/"),
        (b"http://a.example?y", b"/?y"),
        (b"*", b"*"),
        (b"/http://a/", b"/http://a/"),
    ],
)
def test_a_target_in_absolute_form_is_its_path(target: bytes, path: bytes) -> None:
    head = _read(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert isinstance(head, Head)
    assert head.target == path
