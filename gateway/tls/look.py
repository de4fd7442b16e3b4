"""A look at a TLS port from outside, as a client without certificate: what it shows, and what it answers.

Nothing is trusted and nothing is refused: what OpenSSL says of the chain is recorded, for somebody to judge.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from gateway.errors import PeerError
from gateway.tls.certificate import CertificateFileError, Description, describe
from gateway.tls.verdict import ChainRecord, record_validation

ANSWER_BYTES: Final = 4096
"""The status line stands in the first of them."""
RECORD_BYTES: Final = 65536
"""Read from the socket at a time: four TLS records of the greatest size."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a client sees."""

    protocol: str
    """`TLSv1.3`."""
    chain: tuple[Description, ...]
    """As it was sent: the leaf first."""
    chain_faults: tuple[str, ...]
    """What OpenSSL has against the chain, with this machine's trust store; empty: it leads there."""
    asks_for: tuple[str, ...]
    """Subjects of the CAs whose client certificates are asked for; empty: none is asked for."""
    status: int | None
    """Of the answer to the request, made without client certificate; None: there was none."""
    ending: str = ""
    """How the connection ended where there was no answer."""


def look_at(peer: socket.socket, *, server_name: str, request: bytes, seconds: float) -> Look:
    """Shake hands over a connected socket, send one request, and read the status of the answer.

    Blocks the thread for up to `seconds`; closes nothing.

    Raises:
        PeerError: the handshake fails; the text says how.
    """
    deadline = time.monotonic() + seconds
    connection = SSL.Connection(_context())
    record = ChainRecord()
    connection.set_app_data(record)
    connection.set_tlsext_host_name(server_name.encode("ascii", "ignore"))
    connection.set_connect_state()
    wire = _Wire(connection, peer, deadline)
    try:
        wire.drive(connection.do_handshake)
    except (SSL.Error, OSError) as error:
        raise PeerError(f"the TLS handshake failed: {_reason(error)}") from error
    chain = _described(connection.get_peer_cert_chain(as_cryptography=True) or [])
    status, ending = None, ""
    try:
        wire.drive(lambda: connection.send(request))
        status = _status(wire.drive(lambda: connection.recv(ANSWER_BYTES)))
        ending = "" if status is not None else "what was answered is not HTTP"
    except (SSL.Error, OSError) as error:
        ending = _reason(error)
    return Look(
        protocol=connection.get_protocol_version_name(),
        chain=chain,
        chain_faults=tuple(dict.fromkeys(_explain(code) for code, _ in record.errors)),
        # TLS 1.3 tells of them in the handshake too; OpenSSL keeps them for a client as for a server.
        asks_for=tuple(one.rfc4514_string() for one in connection.get_client_ca_list(as_cryptography=True)),
        status=status,
        ending=ending,
    )


def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_default_verify_paths()
    context.set_verify(SSL.VERIFY_PEER, record_validation)
    context.set_alpn_protos([b"http/1.1"])
    return context


class _Wire:
    """Carries bytes between OpenSSL's memory and a blocking socket, under one deadline."""

    def __init__(self, connection: SSL.Connection, peer: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._peer = peer
        self._deadline = deadline

    def drive(self, step: Callable[[], _Result]) -> _Result:
        """Take one step of OpenSSL's, with all the reading and writing that it wants.

        Raises:
            OSError: the connection broke or ended, or the deadline has passed (`TimeoutError`).
            SSL.Error: TLS failed.
        """
        while True:
            try:
                result = step()
            except SSL.WantReadError:
                self._flush()
                self._fill()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        while True:
            try:
                pending = self._connection.bio_read(RECORD_BYTES)
            except SSL.WantReadError:
                return
            self._limit()
            self._peer.sendall(pending)

    def _fill(self) -> None:
        self._limit()
        received = self._peer.recv(RECORD_BYTES)
        if not received:
            raise ConnectionAbortedError("the connection was closed")
        self._connection.bio_write(received)

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._peer.settimeout(left)


def _described(chain: list[x509.Certificate]) -> tuple[Description, ...]:
    try:
        return tuple(describe(one) for one in chain)
    except (CertificateFileError, ValueError) as error:
        raise PeerError(f"the certificate that was sent cannot be read: {error}") from error


def _status(answer: bytes) -> int | None:
    parts = answer.partition(b"\r\n")[0].split(b" ")
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        return None
    return int(parts[1][:3])


def _explain(code: int) -> str:
    text: bytes = Binding.ffi.string(Binding.lib.X509_verify_cert_error_string(code))
    return text.decode("ascii", "replace")


def _reason(error: Exception) -> str:
    match error:
        case SSL.ZeroReturnError():
            return "the connection was closed"
        case SSL.Error() if error.args and isinstance(error.args[0], list) and error.args[0]:
            return str(error.args[0][0][-1])
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return str(error) or type(error).__name__
