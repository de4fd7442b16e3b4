"""The same bytes, however cut, to our HTTP/1.1 and to Hypercorn's own on h11.

What the app sees and what is answered are alike, or ours is stricter: it refuses where h11 goes on, and says
why. `STRICTER` is the table of the words that it says then, with the reason for each; a difference that is
not in it fails. There is one more: what is sent behind a last request (HTTP/1.0, Connection: close) in the
same read makes Hypercorn answer 400 to that request; here it is answered, and what is behind it is dropped
(RFC 9112 section 9.6). CONNECT is not compared: Hypercorn takes it, and waits for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.web.http1 import Http1Connection
from gateway.web.limits import HttpLimits
from gateway.web.wire import Terms

STRICTER = {
    "malformed": (
        "llhttp. LF without CR ends no line: RFC 9112 section 2.2 lets a recipient take it, and two that "
        "differ in it see two requests. A folded line must be refused (section 5.2). Control characters are "
        "invalid (RFC 9110 section 5.5). Only a lone Content-Length is beyond doubt (RFC 9112 section 6.3)."
    ),
    "malformed_body": (
        "llhttp. As above; extensions of chunks must be well-formed (RFC 9112 section 7.1.1), trailers too, "
        "and have no say about framing (RFC 9110 section 6.5.1); all of them together are bounded."
    ),
    "request_line": (
        "Nothing stands before it, not even an empty line (RFC 9112 section 2.2 says should); LF without CR "
        "does not end it; and what cannot become one is not waited for."
    ),
    "version": "HTTP/1.2 and 3.7 are not spoken here; the preface of HTTP/2 belongs to ALPN's h2.",
    "content_length": "A list may be refused even if all are alike (RFC 9112 section 6.3).",
    "transfer_encoding": (
        "In HTTP/1.0 the framing is faulty (RFC 9112 section 6.1). Other codings than a lone chunked: 501 "
        "there, 400 here, where all doubt about framing is answered alike."
    ),
    "upgrade_with_body": "Two readers may differ in whether the body is of the old or of the new protocol.",
    "too_many_headers": "A number that no client of ours comes near.",
    "request_line_too_long": "As above.",
    "head_too_large": "To the byte; h11 looks at an incomplete head only.",
}

LIMITS = HttpLimits(linger_seconds=0, close_seconds=0, max_head_bytes=4096)


@dataclass
class Outcome:
    """What came of some bytes."""

    requests: list[Any] = field(default_factory=list)
    """What the app saw of each: head, body, and whether the end of the body came."""
    answers: list[Any] = field(default_factory=list)
    """Status and body of each."""
    reasons: list[str] = field(default_factory=list)
    """The words for what ours has refused."""


class _App:
    """Reads each request to its end, and answers with what it was."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        names = ("http_version", "scheme", "path", "raw_path", "query_string", "client", "server", "state")
        head = [scope["method"].upper(), *(scope[name] for name in names), list(scope["headers"])]
        body, is_whole = b"", False
        self._outcome.requests.append(None)
        place = len(self._outcome.requests) - 1
        while not is_whole:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message["body"]
            is_whole = not message["more_body"]
        # How much of a body came before a fault in it depends on the cut.
        self._outcome.requests[place] = (head, body if is_whole else b"", is_whole)
        if is_whole:
            status = 404 if scope["raw_path"] == b"/none" else 200
            await send({"type": "http.response.start", "status": status, "headers": [(b"x-a", b"b")]})
            await send({"type": "http.response.body", "body": b"%d" % len(body)})


async def _ours(pieces: Iterable[bytes]) -> Outcome:
    outcome = Outcome()
    ours, theirs = trio.testing.memory_stream_pair()
    terms = Terms(
        limits=LIMITS,
        max_requests=1000,
        idle_seconds=75,
        is_draining=lambda: False,
        record_refusal=lambda _status, reason: outcome.reasons.append(reason),
        record_failure=lambda _status: None,
        record_abuse=lambda _what: None,
    )
    scope = {"scheme": "https", "client": ("192.0.2.1", 1), "server": ("192.0.2.2", 2)}
    connection = Http1Connection(theirs, app=_App(outcome), terms=terms, scope=scope, state={"a": 1})
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            try:
                for piece in pieces:
                    await ours.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
                await ours.send_eof()
            except trio.BrokenResourceError:
                pass
    data = b""
    async for chunk in ours:
        data += chunk
    outcome.answers = _read_answers(data, outcome)
    return outcome


async def _hypercorns(pieces: Iterable[bytes]) -> Outcome:
    outcome = Outcome()
    sent = bytearray()
    is_closed = False

    async def send(event: Any) -> None:
        nonlocal is_closed
        if isinstance(event, RawData) and not is_closed:
            sent.extend(event.data)
        is_closed = is_closed or isinstance(event, Closed)

    config = Config()
    config.accesslog = config.errorlog = None
    config.h11_max_incomplete_size = LIMITS.max_head_bytes
    with trio.fail_after(5):
        async with TaskGroup() as group:
            protocol = H11Protocol(
                wrap_app(_App(outcome), 0, "asgi"),
                config,
                WorkerContext(None),
                group,
                ConnectionState({"a": 1}),
                True,
                ("192.0.2.1", 1),
                ("192.0.2.2", 2),
                send,
            )
            try:
                for piece in pieces:
                    if is_closed:
                        break
                    await protocol.handle(RawData(piece))
                    await trio.testing.wait_all_tasks_blocked()
            except (H2CProtocolRequiredError, H2ProtocolAssumedError):
                outcome.reasons.append("gone over to another protocol")
            await trio.testing.wait_all_tasks_blocked()
            await protocol.handle(Closed())
    outcome.answers = _read_answers(bytes(sent), outcome)
    return outcome


def _read_answers(data: bytes, outcome: Outcome) -> list[Any]:
    """Read what came back as a client does; it must be answers to the last byte."""
    answers: list[Any] = []
    methods = [request[0][0] for request in outcome.requests if request is not None]
    while data:
        client = h11.Connection(h11.CLIENT)
        method = methods[len(answers)] if len(answers) < len(methods) else "GET"
        client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        client.receive_data(b"")
        status, body = 0, b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.InformationalResponse | h11.Response | h11.Data)
            if isinstance(event, h11.Data):
                body += event.data
            else:
                status = event.status_code
        answers.append((status, body))
        data = client.trailing_data[0]
    return answers


def _is_last(head: list[Any]) -> bool:
    is_close = any(name == b"connection" and b"close" in value.lower() for name, value in head[-1])
    return is_close or head[1] == "1.0"


async def _compare(pieces: list[bytes]) -> Outcome:
    """Run both; fail where they differ otherwise than the table says."""
    ours, theirs = await _ours(pieces), await _hypercorns(pieces)
    if (ours.requests, ours.answers) == (theirs.requests, theirs.answers):
        return ours
    if not ours.reasons:
        assert _is_last(ours.requests[-1][0])
        assert theirs.answers == [*ours.answers[:-1], (400, b"")]
        return ours
    (reason,) = ours.reasons
    assert reason in STRICTER
    # Alike up to the refusal, with which ours ends; h11 has gone on, or has refused in other words.
    assert ours.answers[-1] in [(400, b""), (431, b"")]
    whole = [request for request in ours.requests if request is not None and request[2]]
    assert len(ours.answers) == len(whole) + 1
    assert whole == theirs.requests[: len(whole)]
    assert ours.answers[:-1] == theirs.answers[: len(whole)]
    return ours


_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

ALIKE = {
    "nothing": b"",
    "get": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "query": b"GET /a%20b/c%2Fd?e=f%20g&h HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "any method": b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    "head": b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n",
    "white space": b"GET / HTTP/1.1\r\nHost:a\r\nX:  b \t \r\nY:\r\nZ: \xe4\t1\r\n\r\n",
    "1.0": b"GET / HTTP/1.0\r\n\r\n",
    "1.0 keep-alive": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "1.0 body": b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
    "close": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n",
    "body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\nHost: a\r\n"
    b"content-length: 003\r\n\r\n\r\n\r",
    "body that breaks off": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc",
    "empty body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "expect": b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc",
    "chunks": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A;b=c\r\n"
    b"\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n",
    "trailers": b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\na\r\n0\r\nX: y\r\nZ: \r\n"
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunks that break off": _CHUNKED + b"3\r\nab",
    "no size": _CHUNKED + b"\r\nabc",
    "signed size": _CHUNKED + b"+1\r\na\r\n0\r\n\r\n",
    "hexadecimal mark": _CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "huge size": _CHUNKED + b"1%b\r\na\r\n" % (b"0" * 20),
    "chunk too long": _CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "two hosts in 1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "LF behind a size": _CHUNKED + b"1\na\r\n0\r\n\r\n",
    "no length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

DIFFERENT = {
    "length with encoding": (
        "malformed",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
    ),
    "encoding with length": (
        "malformed",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET",
    ),
    "two equal lengths": (
        "malformed",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    ),
    "a list of lengths": (
        "malformed",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
    ),
    "another coding": (
        "transfer_encoding",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    "encoding in 1.0": (
        "transfer_encoding",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "LF": ("request_line", b"GET / HTTP/1.1\nHost: a\n\n"),
    "LF in a header": ("malformed", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    "folded line": ("malformed", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
    "space behind a size": (
        "malformed_body",
        _CHUNKED + b"1 \r\na\r\n0\r\n\r\n",
    ),
    "empty extension": (
        "malformed_body",
        _CHUNKED + b"1;\r\na\r\n0\r\n\r\n",
    ),
    "framing in trailers": (
        "malformed_body",
        _CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n",
    ),
    "version": ("version", b"GET / HTTP/3.7\r\nHost: a\r\n\r\n"),
    "preface": ("version", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "h2c with body": (
        "upgrade_with_body",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na",
    ),
    "many headers": ("too_many_headers", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A:\r\n" * 100 + b"\r\n"),
    "large head": ("head_too_large", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 4096 + b"\r\n\r\n"),
}
"""What h11 takes, or refuses in other words, and the word with which ours refuses it."""


def _cuts(raw: bytes) -> list[list[bytes]]:
    """In two, at every point (at some, where there are many), and byte by byte."""
    step = 1 + len(raw) // 300
    halves = [[raw[:cut], raw[cut:]] for cut in range(1, len(raw), step)]
    return [*halves, [raw[at : at + 1] for at in range(len(raw))]] if step == 1 else halves


@pytest.mark.parametrize("raw", ALIKE.values(), ids=ALIKE.keys())
async def test_they_are_alike_however_it_is_cut(raw: bytes) -> None:
    whole = await _ours([raw] if raw else [])
    for pieces in _cuts(raw):
        ours, theirs = await _ours(pieces), await _hypercorns(pieces)
        assert (ours.requests, ours.answers) == (theirs.requests, theirs.answers)
        assert ours == whole


@pytest.mark.parametrize("last", ["HTTP/1.0\r\n\r\n", "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"])
async def test_what_is_behind_a_last_request_is_dropped(last: str) -> None:
    raw = b"GET / " + last.encode() + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert (await _hypercorns([raw])).answers == [(400, b"")]
    for pieces in ([raw], *_cuts(raw)):
        outcome = await _ours(pieces)
        assert (len(outcome.requests), outcome.answers, outcome.reasons) == (1, [(200, b"0")], [])


@pytest.mark.parametrize(("reason", "raw"), DIFFERENT.values(), ids=DIFFERENT.keys())
async def test_where_they_differ_ours_is_the_stricter(reason: str, raw: bytes) -> None:
    theirs = await _hypercorns([raw])
    for pieces in ([raw], *_cuts(raw)):
        ours = await _compare(pieces)
        assert ours.reasons == [reason]
        assert (ours.requests, ours.answers) != (theirs.requests, theirs.answers)


_REQUESTS = (
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    b"GET /none?c HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    b"POST /d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: t\r\n\r\n"
    b"GET /e HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)
_WORDS = st.sampled_from(
    [
        *(bytes([byte]) for byte in b'\r\n\t \x00\x0b;:,"0159afxA/*-_+\x7f\xff'),
        *(b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b"0\r\n\r\n", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0"),
        *(b"Host: b\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"content-length:5\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Expect: 100-continue\r\n"),
        *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Upgrade: x\r\nConnection: upgrade\r\n"),
    ]
)
_EDITS = st.lists(
    st.tuples(st.integers(0, 1000), _WORDS | st.binary(max_size=3), st.integers(0, 3)), max_size=4
)
_LINE_STARTS = [at + 2 for at in range(len(_REQUESTS)) if _REQUESTS.startswith(b"\r\n", at)]


@given(edits=_EDITS, cuts=st.lists(st.integers(1, 200), max_size=6), at_lines=st.booleans())
@settings(max_examples=600, deadline=None)
async def test_broken_bytes_are_alike_or_refused_for_a_reason(
    edits: list[tuple[int, bytes, int]], cuts: list[int], at_lines: bool
) -> None:
    raw = _REQUESTS
    for at, put, drop in edits:
        place = _LINE_STARTS[at % len(_LINE_STARTS)] if at_lines else at % (len(raw) + 1)
        raw = raw[:place] + put + raw[place + drop :]
    pieces = []
    rest = raw
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    ours = await _compare([piece for piece in [*pieces, rest] if piece])
    assert await _ours([raw]) == ours


_NATURALLY = st.tuples(
    st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"]),
    st.lists(st.binary(max_size=300), max_size=4),
    st.sampled_from(["length", "chunks", "none"]),
)


@given(messages=st.lists(_NATURALLY, min_size=1, max_size=4), cuts=st.lists(st.integers(1, 400), max_size=8))
@settings(max_examples=200, deadline=None)
async def test_whatever_a_body_holds_it_arrives(messages: list[Any], cuts: list[int]) -> None:
    raw, bodies = b"", []
    for method, parts, framing in messages:
        body = b"".join(parts) if framing != "none" else b""
        bodies.append(body)
        raw += method + b" / HTTP/1.1\r\nHost: a\r\n"
        if framing == "length":
            raw += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        elif framing == "chunks":
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
            raw += b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        else:
            raw += b"\r\n"
    pieces = []
    for cut in cuts:
        pieces.append(raw[:cut])
        raw = raw[cut:]
    outcome = await _compare([piece for piece in [*pieces, raw] if piece])
    assert [(body, is_whole) for _, body, is_whole in outcome.requests] == [(body, True) for body in bodies]
    assert outcome.reasons == []
