"""The head of one HTTP/1.x request: what it says, or why it is refused. Pure: bytes in, values out.

Two readers that disagree about where a request ends are a hole (request smuggling, RFC 9112 section 11.2), so
whatever can be read in two ways is refused. llhttp (httptools) reads the header lines, and is strict: line
ends other than CRLF, folded lines, control characters, a space before the colon are errors to it. Three
things it leaves open, and they are closed here:

- The request line. llhttp knows a list of methods and does things of its own for some. It never sees ours: a
  pattern reads it, and llhttp gets a constant one in its place.
- What the header lines say together: Host, Content-Length, Transfer-Encoding, Upgrade.
- Where the head ends: llhttp would run on into what follows. It is fed up to the empty line and no further.
"""

import re
from dataclasses import dataclass, field
from typing import Final

import httptools

from gateway.web.body import ChunkedBody, Fields, RequestBody, SizedBody
from gateway.web.limits import HttpLimits

BAD_REQUEST: Final = 400
HEAD_TOO_LARGE: Final = 431

_END: Final = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_LINE_SO_FAR = re.compile(rb"[\x20-\x7e]*\r?")
"""An empty line before the request line is not skipped, as RFC 9112 section 2.2 would have it for the sake of
old clients: behind a body it is a sign that two readers disagree."""
_STAND_IN: Final = b"POST / HTTP/1.1"
"""The request line that llhttp sees. POST: nothing special about it, and it may have a body."""
_ABSOLUTE_FORM = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
"""RFC 9112 section 3.2.2: a server must accept it; what remains is the path."""
_DIGITS = re.compile(rb"[0-9]{1,19}")
_VERSIONS: Final = {b"1.1": "1.1", b"1.0": "1.0"}
_ONCE: Final = {
    b"host": "host",
    b"content-length": "content_length",
    b"transfer-encoding": "transfer_encoding",
}
"""What must not be said twice, not even alike (RFC 9112 sections 3.2, 6.1 and 6.3), and the word for it."""
_TELLING: Final = frozenset({*_ONCE, b"connection", b"expect", b"upgrade"})
_CLOSE = re.compile(rb"(?:^|,)[ \t]*close[ \t]*(?:,|$)", re.IGNORECASE)
"""RFC 9112 section 9.6: among the words of Connection."""


@dataclass(frozen=True, slots=True)
class HeadFault:
    """Why a head is refused."""

    status: int
    reason: str
    """One word, for the log."""


@dataclass(slots=True)
class Head:
    """A request head beyond doubt."""

    method: str
    """As written: methods are case-sensitive (RFC 9110 section 9.1)."""
    target: bytes = field(repr=False)
    """Path and query, as written."""
    version: str
    """1.0 or 1.1."""
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    """Names in lower case, values without white space around them."""
    body: RequestBody
    is_last: bool
    """Whether the client sends no other request after this one (RFC 9112 section 9.3); in HTTP/1.0 never."""
    expects_continue: bool
    """Whether the client waits for a word before it sends the body (RFC 9110 section 10.1.1)."""
    size_bytes: int
    """Up to the empty line and with it: what follows is body."""


class HeadReader:
    """Reads one head, in as many pieces as it comes in."""

    __slots__ = ("_fed", "_fields", "_is_fed", "_limits", "_line", "_parser")

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._fields = Fields()
        self._parser = httptools.HttpRequestParser(self._fields)
        self._line: re.Match[bytes] | None = None
        self._fed = 0
        self._is_fed = False
        """Whether llhttp has got the stand-in."""

    def read(self, data: bytes) -> Head | HeadFault | None:
        """Judge what is here of a head, with or without what follows it. None: it is not all here.

        `data` begins with the request line, and grows from call to call.
        """
        end = data.find(_END, max(0, self._fed - 3))
        is_whole = end >= 0
        end = end + len(_END) if is_whole else len(data)
        if end > self._limits.max_head_bytes:
            return HeadFault(HEAD_TOO_LARGE, "head_too_large")
        if self._line is None:
            fault = self._read_line(data)
            if fault is not None:
                return fault
            if self._line is None:
                return None
        lines = data[self._fed : end]
        try:
            self._parser.feed_data(lines if self._is_fed else _STAND_IN + lines)
        except httptools.HttpParserUpgrade:
            pass  # not taken up; with a body it is refused
        except httptools.HttpParserError:
            return HeadFault(BAD_REQUEST, "malformed")
        self._fed = end
        self._is_fed = True
        return self._judge(self._line) if is_whole else None

    def _read_line(self, data: bytes) -> HeadFault | None:
        end = data.find(b"\r\n")
        if (len(data) if end < 0 else end) > self._limits.max_line_bytes:
            return HeadFault(HEAD_TOO_LARGE, "request_line_too_long")
        if end < 0:
            return None if _LINE_SO_FAR.fullmatch(data) else HeadFault(BAD_REQUEST, "request_line")
        line = _REQUEST_LINE.fullmatch(data, 0, end)
        if line is None:
            return HeadFault(BAD_REQUEST, "request_line")
        if line[3] not in _VERSIONS:
            return HeadFault(BAD_REQUEST, "version")
        if line[1] == b"CONNECT":
            return HeadFault(BAD_REQUEST, "connect")
        self._line = line
        self._fed = end
        return None

    def _judge(self, line: re.Match[bytes]) -> Head | HeadFault:
        """What the lines say together, above all about where the body ends (RFC 9112 section 6.3)."""
        headers, self._fields.headers = self._fields.headers, []  # the next to come are trailers
        if len(headers) > self._limits.max_headers:
            return HeadFault(HEAD_TOO_LARGE, "too_many_headers")
        told: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _TELLING:
                if name in _ONCE and name in told:
                    return HeadFault(BAD_REQUEST, _ONCE[name])
                told[name] = told[name] + b"," + value if name in told else value
        version = _VERSIONS[line[3]]
        length, coding = told.get(b"content-length"), told.get(b"transfer-encoding")
        if b"host" not in told and version == "1.1":
            return HeadFault(BAD_REQUEST, "host")
        if length is not None and not _DIGITS.fullmatch(length):
            return HeadFault(BAD_REQUEST, "content_length")
        if coding is not None and (coding.lower() != b"chunked" or length is not None or version == "1.0"):
            return HeadFault(BAD_REQUEST, "transfer_encoding")
        if b"upgrade" in told and (coding is not None or (length is not None and int(length) > 0)):
            return HeadFault(BAD_REQUEST, "upgrade_with_body")
        target = line[2]
        return Head(
            method=line[1].decode("ascii"),
            target=target if target.startswith(b"/") else _origin_form(target),
            version=version,
            headers=headers,
            body=SizedBody(int(length or 0)) if coding is None else self._chunks(),
            is_last=version == "1.0" or bool(_CLOSE.search(told.get(b"connection", b""))),
            expects_continue=version == "1.1" and told.get(b"expect", b"").lower() == b"100-continue",
            size_bytes=self._fed,
        )

    def _chunks(self) -> ChunkedBody:
        return ChunkedBody(self._parser, self._fields, max_frame_bytes=self._limits.max_head_bytes)


def _origin_form(target: bytes) -> bytes:
    match = _ABSOLUTE_FORM.match(target)
    if match is None:
        return target
    path = target[match.end() :]
    return path if path.startswith(b"/") else b"/" + path
