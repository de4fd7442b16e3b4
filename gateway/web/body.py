"""The body of one HTTP/1.1 request: where it ends. Pure: bytes in, body and what is behind it out."""

from typing import Final, Protocol

import httptools

from gateway.errors import PeerError

_END: Final = b"\r\n\r\n"
_CHUNK_FRAME_BYTES: Final = 16
"""Granted to each chunk for its size and line ends: 12 are needed for chunks up to 4 GiB."""


class MalformedBodyError(PeerError):
    """Nobody can say where this body ends."""


class RequestBody(Protocol):
    """A body that is being read."""

    is_read: bool
    """Whether its end was there, so that what follows is another request."""

    def fits(self, data: bytes) -> bool:
        """Whether all of it is surely in what has arrived."""

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Part what has arrived, of this body and behind it: (body, the rest).

        Raises:
            MalformedBodyError: it is not framed as RFC 9112 section 7.1 says.
        """


class SizedBody:
    """A body of which Content-Length has told the size; a request without a body is one of size 0."""

    __slots__ = ("_left_bytes", "is_read")

    def __init__(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes
        self.is_read = size_bytes == 0

    def fits(self, data: bytes) -> bool:
        """See RequestBody."""
        return self._left_bytes <= len(data)

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """See RequestBody."""
        left_bytes = self._left_bytes
        if len(data) < left_bytes:
            self._left_bytes -= len(data)
            return data, b""
        self._left_bytes = 0
        self.is_read = True
        return data[:left_bytes], data[left_bytes:]


class Fields:
    """What llhttp calls: header lines and trailers, and the body where it is in chunks."""

    __slots__ = ("chunks", "headers", "is_complete", "pieces")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.chunks = 0
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line; llhttp leaves white space behind a value where it is."""
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self.chunks += 1

    def on_body(self, data: bytes) -> None:
        """A piece of a chunk."""
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        """The last chunk and the trailers are through."""
        self.is_complete = True


class ChunkedBody:
    """A body in chunks, read by the llhttp parser that has read its head.

    llhttp does not tell where a body has ended, and would go on with what is behind it. But a body in chunks
    ends with an empty line, whatever it holds; so it is fed up to each empty line and asked.

    Trailers are read and dropped. They, chunk extensions and the frames of chunks together are bounded: a
    body of nothing but frame would cost without counting as body (CVE-2023-39326 in another server).
    """

    __slots__ = ("_fed_bytes", "_fields", "_max_frame_bytes", "_parser", "_read_bytes", "_tail", "is_read")

    def __init__(self, parser: httptools.HttpRequestParser, fields: Fields, *, max_frame_bytes: int) -> None:
        self._parser = parser
        self._fields = fields
        self._max_frame_bytes = max_frame_bytes
        self._fed_bytes = 0
        self._read_bytes = 0
        self._tail = b""
        self.is_read = False

    def fits(self, _: bytes) -> bool:
        """See RequestBody; it is not looked into before the app wants it."""
        return False

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """See RequestBody."""
        start = 0
        while start < len(data) and not self._fields.is_complete:
            end = self._cut(data, start)
            try:
                self._parser.feed_data(data[start:end])
            except httptools.HttpParserError as error:
                raise MalformedBodyError("a malformed chunk") from error
            self._tail = (self._tail + data[max(start, end - 3) : end])[-3:]
            start = end
        piece = b"".join(self._fields.pieces)
        self._fields.pieces.clear()
        self._fields.headers.clear()
        self._fed_bytes += start
        self._read_bytes += len(piece)
        frame_bytes = self._fed_bytes - self._read_bytes
        if frame_bytes > self._fields.chunks * _CHUNK_FRAME_BYTES + self._max_frame_bytes:
            raise MalformedBodyError("more frame than body")
        self.is_read = self._fields.is_complete
        return piece, data[start:]

    def _cut(self, data: bytes, start: int) -> int:
        """Where the first empty line ends; it may have begun in what was fed before."""
        straddling = (self._tail + data[start : start + 3]).find(_END)
        if straddling >= 0:
            return start + straddling + len(_END) - len(self._tail)
        end = data.find(_END, start)
        return len(data) if end < 0 else end + len(_END)
