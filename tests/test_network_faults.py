"""One line for whatever the network does, and not a byte of what was sent or received."""

import errno
import socket
import ssl

import httpx
import pytest

from gateway.network_faults import describe


def chained(outer: Exception, inner: BaseException) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (chained(httpx.ConnectError(""), OSError(errno.ECONNREFUSED, "x")), "connection refused"),
        (
            chained(httpx.ConnectError(""), ExceptionGroup("", [OSError(errno.EHOSTUNREACH, "x")])),
            "no route to host",
        ),
        (
            chained(httpx.ConnectError(""), socket.gaierror(socket.EAI_NONAME, "Name unknown")),
            "host name not resolved: name unknown",
        ),
        (chained(httpx.ConnectError(""), ssl.SSLError(1, "x")), "TLS: handshake failed"),
        (httpx.ConnectError("s3cr3t"), "no connection"),
        (httpx.LocalProtocolError("s3cr3t"), "the request cannot be sent: a configured header is malformed"),
        (httpx.RemoteProtocolError("s3cr3t"), "the connection ended, or what came is not HTTP"),
        (httpx.ReadError("s3cr3t"), "the connection broke while the answer was awaited"),
        (httpx.WriteError("s3cr3t"), "the connection broke while the request was sent"),
        (httpx.UnsupportedProtocol("s3cr3t"), "the URL is neither http nor https"),
        (httpx.InvalidURL("s3cr3t"), "the URL is not valid"),
        (UnicodeError("s3cr3t"), "the host name is not valid"),
        (OSError("s3cr3t"), "no answer (OSError)"),
        (httpx.StreamConsumed(), "no answer (StreamConsumed)"),
    ],
)
def test_every_fault_has_its_line(error: Exception, line: str) -> None:
    assert describe(error) == line


def test_a_chain_that_bites_its_tail_ends() -> None:
    one, two = httpx.ReadError("a"), httpx.ReadError("b")
    one.__cause__, two.__cause__ = two, one
    assert describe(one) == "the connection broke while the answer was awaited"
