"""A real door on a real socket, and clients of two TLS implementations to knock at it."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import trio
from cryptography.hazmat.primitives import hashes

from gateway.core.identity import Identity, Peer, Refusal
from gateway.settings.model import Client, Tls
from gateway.settings.values import Address
from gateway.simulator.pki import (
    META_CLIENT_NAME,
    DevelopmentPki,
    Issued,
    chain_pem,
)
from gateway.telemetry.journal import Journal
from gateway.telemetry.metrics import Metrics
from gateway.tls.binding import bind
from gateway.tls.context import ServerContext, make_context
from gateway.tls.listener import Handler, TlsListener
from gateway.tls.policy import DoorPolicy, Proxies
from gateway.tls.stream import TlsStream

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
LOOPBACK = Address(host="127.0.0.1", port=0)
PATIENCE_SECONDS = 10
"""No test waits longer for the other side."""


@dataclass(kw_only=True)
class Door:
    """A listener that serves, and what became of those who knocked."""

    port: int
    listener: TlsListener
    metrics: Metrics
    journal: Journal
    peers: list[tuple[Peer, str]] = field(default_factory=list)
    """Everybody who was handed over, with the protocol agreed upon."""

    def count(self, result: str, reason: str) -> float:
        name = "meta_gateway_handshakes_total"
        return self.metrics.registry.get_sample_value(name, {"result": result, "reason": reason}) or 0.0

    def verdict(self) -> Identity | Refusal:
        """Return the verdict on the one connection that was handed over."""
        ((peer, _),) = self.peers
        verdict = peer.identity or peer.refusal
        assert verdict is not None
        return verdict


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes contexts and doors of a PKI."""

    directory: Path
    pki: DevelopmentPki

    def tls(
        self,
        *anchors: Issued,
        entries: dict[str, tuple[tuple[Issued, ...], tuple[str, ...]]] | None = None,
        minimum_version: Literal["1.2", "1.3"] = "1.2",
    ) -> Tls:
        """Make settings; without anything said, Meta's root under Meta's name."""
        certificate, key = self.directory / "server.pem", self.directory / "server.key"
        certificate.write_bytes(self.pki.server_chain_pem)
        key.write_bytes(self.pki.server.key_pem)
        chosen = entries or {"meta": (anchors or (self.pki.meta_root,), (META_CLIENT_NAME,))}
        clients = {}
        for name, (issued, names) in chosen.items():
            path = self.directory / f"{name}.pem"
            path.write_bytes(chain_pem(*issued))
            clients[name] = Client(trust_anchors=(path,), names=names)
        return Tls(certificate=certificate, private_key=key, clients=clients, minimum_version=minimum_version)

    def context(self, *anchors: Issued, **settings: object) -> ServerContext:
        return make_context(self.tls(*anchors, **settings))  # type: ignore[arg-type] # passed on as they are

    @asynccontextmanager
    async def door(
        self,
        context: ServerContext | Callable[[], ServerContext] | None = None,
        *,
        handshake: Literal["ask", "demand"] = "ask",
        report: bool = False,
        max_connections: int = 4096,
        handshake_seconds: float = PATIENCE_SECONDS,
        address: Address = LOOPBACK,
        handler: Handler | None = None,
        proxies: Proxies | None = None,
        without_identity: int | None = None,
        per_address: int | None = None,
    ) -> AsyncIterator[Door]:
        """Serve `ANSWER` to whoever is handed over and asks."""
        bound = bind(address)
        made = context or self.context()
        metrics, journal = Metrics(), Journal()
        policy = DoorPolicy(
            handshake=handshake,
            report=report,
            max_connections=max_connections,
            handshake_seconds=handshake_seconds,
            proxies=proxies,
            without_identity=without_identity,
            per_address=per_address,
        )
        listener = TlsListener(
            sockets=bound.sockets,
            context=made if callable(made) else lambda: made,
            policy=lambda: policy,
            metrics=metrics,
            journal=journal,
        )
        door = Door(port=bound.addresses[0][1], listener=listener, metrics=metrics, journal=journal)

        async def handle(stream: TlsStream, peer: Peer, alpn: str) -> None:
            door.peers.append((peer, alpn))
            if await stream.receive_some():
                await stream.send_all(ANSWER)
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, handler or handle)
            try:
                with trio.fail_after(PATIENCE_SECONDS * 2):
                    yield door
            finally:
                nursery.cancel_scope.cancel()

    def client_context(
        self, chain: tuple[Issued, ...] = (), *, alpn: tuple[str, ...] = (), key_pem: bytes | None = None
    ) -> ssl.SSLContext:
        """Make a client of the standard library, which presents `chain` (leaf first)."""
        context = ssl.create_default_context(cadata=self.pki.server_root.pem.decode())
        if alpn:
            context.set_alpn_protocols(list(alpn))
        # The client may hold what it likes; refusing it is the door's part.
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        if chain:
            path = self.directory / "presented.pem"
            path.write_bytes((key_pem or chain[0].key_pem) + chain_pem(*chain))
            context.load_cert_chain(path)
        return context

    @staticmethod
    def sha256(issued: Issued) -> str:
        return issued.certificate.fingerprint(hashes.SHA256()).hex()

    async def knock(
        self,
        door: Door,
        chain: tuple[Issued, ...] = (),
        *,
        alpn: tuple[str, ...] = (),
        key_pem: bytes | None = None,
        before: bytes = b"",
    ) -> bytes:
        """Shake hands, ask, and return everything that comes back: nothing, where the door stays shut.

        `before` goes out in front of TLS, as a load balancer's header does.
        """
        context = self.client_context(chain, alpn=alpn, key_pem=key_pem)
        return await trio.to_thread.run_sync(_knock, door.port, context, before)


def _knock(port: int, context: ssl.SSLContext, before: bytes) -> bytes:
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as sock:
        try:
            sock.sendall(before)
            with context.wrap_socket(sock, server_hostname="localhost") as tls:
                tls.sendall(REQUEST)
                while data := tls.recv(65536):
                    received += data
        except (ssl.SSLError, ConnectionError):
            # Closed in our face: with a reset where the request was still unread.
            pass
    return received


async def send_raw(door: Door, data: bytes) -> bytes:
    """Send bytes over TCP; return what comes back until the door closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", door.port)
    received = b""
    async with stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            async for piece in stream:
                received += piece
    return received


def hello_of(version: ssl.TLSVersion) -> bytes:
    """Record what a client of one version of TLS says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
