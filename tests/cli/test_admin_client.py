"""Asking the admin port of this machine: a real socket, and what may answer there."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.cli.admin_client import get_json, get_view, is_listening
from gateway.errors import PeerError, UsageError
from gateway.settings.values import Address


@contextmanager
def answering(content: bytes) -> Iterator[tuple[Address, list[bytes]]]:
    """Answer one request with these bytes; yields where, and what was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                asked.append(peer.recv(65536))
                peer.sendall(content)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Address(host="127.0.0.1", port=listener.getsockname()[1]), asked
        thread.join(10)


def http(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def test_an_object_is_read_with_its_status_and_no_token_is_shown() -> None:
    with answering(http(b"503 Service Unavailable", b'{"spool": {"ok": false}}')) as (address, asked):
        assert get_json(address, "/readyz") == (503, {"spool": {"ok": False}})
    assert asked[0].startswith(b"GET /readyz HTTP/1.1\r\n")
    assert b"Authorization" not in asked[0]
    assert b"Host: localhost\r\n" in asked[0]


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b"\xff"])
def test_what_is_no_object_reads_as_an_empty_one(body: bytes) -> None:
    with answering(http(b"200 OK", body)) as (address, _):
        assert get_json(address, "/readyz") == (200, {})


@pytest.mark.parametrize("content", [b"", b"220 mail.example.com ESMTP\r\n"])
def test_what_is_no_http_is_a_peers_fault(content: bytes) -> None:
    with answering(content) as (address, _), pytest.raises(PeerError, match="did not answer"):
        get_json(address, "/readyz")


def test_a_gateway_that_cannot_tell_says_why() -> None:
    refusal = b'{"error": "unavailable", "detail": "the database: connection refused; start it"}'
    with (
        answering(http(b"503 Service Unavailable", refusal)) as (address, _),
        pytest.raises(
            PeerError, match="cannot tell how things are: the database: connection refused; start it"
        ),
    ):
        get_view(address, "/api/status", key="targets")


@pytest.mark.parametrize(
    "answer", [http(b"200 OK", b'{"name": "another program"}'), http(b"404 Not Found", b"<html>")]
)
def test_what_is_no_gateway_is_told_apart(answer: bytes) -> None:
    with answering(answer) as (address, _), pytest.raises(PeerError, match="it is no gateway"):
        get_view(address, "/api/status", key="targets")


def test_whether_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(host="127.0.0.1", port=listener.getsockname()[1])
        assert is_listening(address)
    assert not is_listening(address)
    with pytest.raises(UsageError, match="port 0"):
        is_listening(Address(host="127.0.0.1", port=0))
