"""HTTP/1.1: whatever comes, the connection ends, no defect shows, and cuts between packets change nothing.

The first two bytes say how the rest is cut.
"""

from collections.abc import Iterator

from fuzz.targets.conversation import EARLY, DefectError, converse, cut

_REQUESTS = (
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: v\r\n\r\n",
    b"GET /c?d HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    b"GET http://a/d HTTP/1.0\r\nConnection: close\r\n\r\n",
    b"POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost:a\r\nX-A:  b\t\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
)


def one(data: bytes) -> None:
    """Send it whole and cut, and compare."""
    pattern, stream = int.from_bytes(data[:2], "big"), data[2:]
    whole = converse([stream], alpn="http/1.1")
    pieces = converse(cut(stream, pattern), alpn="http/1.1")
    # What an early answer does to the connection depends on what is here by then.
    if EARLY.encode() not in stream and whole.requests != pieces.requests:
        raise DefectError(f"whole {whole.requests}, in pieces {pieces.requests}")


def seeds() -> Iterator[bytes]:
    """Single requests, and all one after another."""
    for number, request in enumerate(_REQUESTS):
        yield number.to_bytes(2, "big") + request
    yield b"\x12\x34" + b"".join(_REQUESTS)
