"""TLS before a server, ended as poolers and managed databases end it: for libpq it is the server's own.

The server of the tests is built without TLS. One that has it is tried by `make postgresql`.
"""

import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trio

from gateway.simulator.pki import SERVER_AUTH, Issued, authority, client_leaf, common_name, issue

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
"""PostgreSQL, "Message Formats": in the place of a version."""


@dataclass(frozen=True)
class Papers:
    """A CA, what it has issued, and the files of it."""

    directory: Path
    root: Issued = field(default_factory=lambda: authority("Database CA"))

    @property
    def ca(self) -> Path:
        """The file of the CA."""
        return self._written("ca.pem", self.root.pem)

    def context(
        self, *names: str, demands: "Papers | None" = None, until: datetime | None = None
    ) -> ssl.SSLContext:
        """Return what a server for these names is; `demands`: whose certificates clients must have."""
        leaf = issue(
            common_name(names[0]),
            issuer=self.root,
            names=names,
            extended_key_usage=(SERVER_AUTH,),
            not_after=until,
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(
            self._written("server.pem", leaf.pem), self._written("server.key", leaf.key_pem)
        )
        if demands is not None:
            context.load_verify_locations(demands.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, user: str) -> tuple[Path, Path]:
        """Return the files of a certificate for a user and of its key."""
        leaf = client_leaf(self.root, subject=common_name(user))
        return self._written("client.pem", leaf.pem), self._written("client.key", leaf.key_pem)

    def _written(self, name: str, content: bytes) -> Path:
        self.directory.mkdir(exist_ok=True)
        path = self.directory / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path


@dataclass
class Terminator:
    """Where it listens, and how it is."""

    port: int
    context: ssl.SSLContext | None
    """None: it has no TLS. May be exchanged."""
    connections: set[trio.CancelScope] = field(default_factory=set)

    def cut(self) -> None:
        """End every connection."""
        for one in self.connections:
            one.cancel()


@asynccontextmanager
async def terminator(port: int, context: ssl.SSLContext | None) -> AsyncIterator[Terminator]:
    """Give TLS before the server at a port of loopback."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made = Terminator(port=listener.socket.getsockname()[1], context=context)

    async def pump(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while piece := await source.receive_some(65536):
                await sink.send_all(piece)
        both.cancel()

    async def serve(client: trio.SocketStream) -> None:
        with trio.CancelScope() as both, suppress(trio.BrokenResourceError):
            made.connections.add(both)
            first, stream = await _greet(client, made.context)
            async with stream, await trio.open_tcp_stream("127.0.0.1", port) as server:
                await server.send_all(first)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pump, stream, server, both)
                    nursery.start_soon(pump, server, stream, both)
        made.connections.discard(both)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield made
        nursery.cancel_scope.cancel()


async def _greet(
    client: trio.SocketStream, context: ssl.SSLContext | None
) -> tuple[bytes, trio.SocketStream | trio.SSLStream[trio.SocketStream]]:
    """Answer what a client asks for before anything else; the first bytes for the server, and the stream."""
    while True:
        asked = b""
        while len(asked) < 8 and (piece := await client.receive_some(8 - len(asked))):
            asked += piece
        code = struct.unpack("!ii", asked)[1] if len(asked) == 8 else 0
        if code == SSL_REQUEST and context is not None:
            await client.send_all(b"S")
            stream = trio.SSLStream(client, context, server_side=True, https_compatible=True)
            await stream.do_handshake()
            return b"", stream
        if code not in (SSL_REQUEST, GSS_REQUEST):
            return asked, client
        await client.send_all(b"N")
