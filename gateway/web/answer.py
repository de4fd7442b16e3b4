"""The answer to one HTTP/1.x request: an app's ASGI messages in, bytes out. Pure but for the date.

The head is held back until the first piece of the body, as ASGI wants it; head and a body in one piece then
leave in one write, and so in one TLS record. An app frames nothing itself: without a Content-Length of its
own it gets one where the body comes in one piece, else chunks; its Transfer-Encoding is dropped (ASGI). What
it says about the length it must keep: an answer of another length would be read as the next one.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from gateway.errors import GatewayError

_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_WITHOUT_BODY: Final = frozenset({204, 304})
"""RFC 9110 section 8.6: no Content-Length on 204, and 304 has no body to measure."""
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
"""RFC 9110 section 5.5: above all no CR or LF, with which an answer could be split."""
_DIGITS = re.compile(rb"[0-9]{1,18}")
_HEADS_KEPT: Final = 256
"""Answers differ in little: what was rendered once is kept. Each is some hundred bytes."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_Headers = tuple[tuple[bytes, bytes], ...]


class AnswerError(GatewayError):
    """An app has answered in a way that cannot be sent: a defect of the app."""


@dataclass(frozen=True, slots=True)
class _Lines:
    """An app's part of the head, rendered."""

    lines: bytes
    length: int | None
    is_last: bool
    is_bodiless: bool


class AnswerWriter:
    """Writes one answer."""

    __slots__ = (
        "_head",
        "_is_chunked",
        "_is_head",
        "_is_http_1_1",
        "_left_bytes",
        "has_begun",
        "is_last",
        "is_whole",
    )

    def __init__(self, *, is_head: bool, is_http_1_1: bool) -> None:
        """`is_head`: the method was HEAD, so the answer says how long its body would be, and has none."""
        self._is_head = is_head
        self._is_http_1_1 = is_http_1_1
        self._head: _Lines | None = None
        self._is_chunked = False
        self._left_bytes: int | None = None
        self.has_begun = False
        """Whether some of it was written: then nothing else can be said instead."""
        self.is_whole = False
        """Whether its end was written."""
        self.is_last = False
        """Whether it has said, or will say by its end, that the connection closes behind it."""

    def write(self, message: Mapping[str, Any], *, is_last: bool) -> bytes:
        """Take a message of the app, and say what is to be sent. `is_last` counts until the head is written.

        Raises:
            AnswerError: the message is out of place, or says what cannot be sent.
        """
        match message["type"]:
            case "http.response.start" if self._head is None and not self.has_begun:
                self._head = _render(
                    message["status"], tuple([(name, value) for name, value in message.get("headers", ())])
                )
                return b""
            case "http.response.body" if self._head is not None and not self.is_whole:
                body: bytes = message.get("body", b"")
                is_end = not message.get("more_body", False)
                if self.has_begun:
                    return self._body(body, is_end=is_end)
                return self._begin(self._head, body, is_end=is_end, is_last=is_last)
            case other:
                raise AnswerError(f"an app has sent {other!r} out of turn")

    def _begin(self, head: _Lines, body: bytes, *, is_end: bool, is_last: bool) -> bytes:
        self.is_last = is_last or head.is_last
        length, framing = head.length, b""
        if length is None and not head.is_bodiless:
            if is_end:
                length = len(body)
                framing = b"content-length: %d\r\n" % length
            elif self._is_http_1_1:
                self._is_chunked = not self._is_head
                framing = b"transfer-encoding: chunked\r\n"
            else:
                self.is_last = True  # HTTP/1.0: the body ends with the connection
        if head.is_bodiless or self._is_head:
            length, body = None, b""
        self._left_bytes = length
        rest = self._body(body, is_end=is_end)
        self.has_begun = True
        close = b"connection: close\r\n" if self.is_last else b""
        return b"".join((head.lines, _date_line(int(time.time())), framing, close, b"\r\n", rest))

    def _body(self, body: bytes, *, is_end: bool) -> bytes:
        if self._is_head or (self._head is not None and self._head.is_bodiless):
            body = b""
        if self._left_bytes is not None:
            self._left_bytes -= len(body)
            if self._left_bytes < 0 or (is_end and self._left_bytes):
                raise AnswerError("an app has not kept to its Content-Length")
        self.is_whole = is_end
        if not self._is_chunked:
            return bytes(body)
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return chunk + b"0\r\n\r\n" if is_end else chunk


def refusal(status: int) -> bytes:
    """Write the whole answer to a request that no app will see."""
    writer = AnswerWriter(is_head=False, is_http_1_1=True)
    writer.write({"type": "http.response.start", "status": status}, is_last=True)
    return writer.write({"type": "http.response.body"}, is_last=True)


@lru_cache(maxsize=_HEADS_KEPT)
def _render(status: int, headers: _Headers) -> _Lines:
    if not 200 <= status <= 999:
        raise AnswerError(f"no final status: {status}")
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b""))]
    length: int | None = None
    is_last = False
    for name, value in headers:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise AnswerError(f"header {name[:40]!r} of an app cannot be sent")
        match name.lower():
            case b"transfer-encoding" | b"date":
                continue
            case b"content-length":
                if length is not None or not _DIGITS.fullmatch(value):
                    raise AnswerError("an app has said no length, or two")
                length = int(value)
                if status == HTTPStatus.NO_CONTENT:
                    continue
            case b"connection":
                is_last = is_last or b"close" in value.lower()
                continue
        lines.append(b"%b: %b\r\n" % (name, value))
    return _Lines(b"".join(lines), length, is_last, status in _WITHOUT_BODY)


@lru_cache(maxsize=1)
def _date_line(unix_seconds: int) -> bytes:
    return b"date: " + formatdate(unix_seconds, usegmt=True).encode("ascii") + b"\r\n"
