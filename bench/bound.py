"""The bound: what Trio, pyOpenSSL and httptools can do in one process, with nothing around them.

One loop a connection: handshake, read, parse, compare the signature, answer. No deadline, no limit, no
verdict, no routing, no disk, no delivery: not a server to run, but what each of these comes on top of.
"""

import argparse
import hashlib
import hmac
import os
import socket
from typing import Final

import httptools
import trio
from OpenSSL import SSL

SECRET: Final = os.environ.get("BENCH_SECRET", "").encode()
READ_BYTES: Final = 16384
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
UNAUTHORIZED: Final = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"


class Request:
    """The request that is being read; its methods are httptools' callbacks."""

    def __init__(self) -> None:
        self._body = b""
        self._signature = b""
        self.answer = b""
        self.parser = httptools.HttpRequestParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the signature."""
        if name.lower() == b"x-hub-signature-256":
            self._signature = value

    def on_body(self, body: bytes) -> None:
        """Keep the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Compare the signature, and begin anew."""
        expected = b"sha256=" + hmac.digest(SECRET, self._body, hashlib.sha256).hex().encode()
        self.answer = OK if hmac.compare_digest(self._signature, expected) else UNAUTHORIZED
        self._body = self._signature = b""


def make_context(certificate: str, private_key: str, anchor: str) -> SSL.Context:
    """Require a client certificate of the anchor's; no session is resumed."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(private_key)
    context.load_verify_locations(anchor)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"bound")
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


async def serve_connection(context: SSL.Context, sock: socket.socket) -> None:
    """Answer until the other side goes."""
    with sock:
        connection = SSL.Connection(context, sock)
        connection.set_accept_state()
        request = Request()
        try:
            while not request.answer:
                try:
                    connection.do_handshake()
                    break
                except SSL.WantReadError:
                    await trio.lowlevel.wait_readable(sock)
            while True:
                try:
                    request.parser.feed_data(connection.recv(READ_BYTES))
                except SSL.WantReadError:
                    await trio.lowlevel.wait_readable(sock)
                    continue
                if request.answer:
                    connection.send(request.answer)
                    request.answer = b""
                    # Or one connection would keep the others from their turn.
                    await trio.lowlevel.wait_readable(sock)
        except (SSL.Error, OSError):
            return


async def serve(context: SSL.Context, port: int) -> None:
    """Accept for ever."""
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    listening.setblocking(False)
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listening)
            sock, _ = listening.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            nursery.start_soon(serve_connection, context, sock)


def main() -> None:
    """Serve on one port of loopback."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("certificate", "private-key", "anchor"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    trio.run(serve, make_context(given.certificate, given.private_key, given.anchor), given.port)


if __name__ == "__main__":
    main()
