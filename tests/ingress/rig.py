"""A rig for the public port: the app with a spool in memory, spoken to as a server would speak to it."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import trio

from gateway.core.identity import Identity, LeafSummary, Peer, Reason, Refusal
from gateway.core.ids import new_notification_id
from gateway.core.routing import Route, RoutingTable
from gateway.core.signature import sign
from gateway.ingress.app import IngressApp, IngressLimits, build_ingress_app
from gateway.ingress.asgi import Message
from gateway.spool.contract import Appended, Notification, Room
from gateway.spool.duplicates import Limits
from gateway.spool.memory import MemorySpool
from gateway.spool.memory_state import MemoryState
from gateway.telemetry.journal import Journal
from gateway.telemetry.metrics import Metrics

SECRET, OLD_SECRET = b"the-app-secret", b"the-secret-before"
VERIFY_TOKEN = b"the-verify-token"
NOW_MS = 1_795_000_000_000
MAX_BODY_BYTES = 3 * 1024**2
PLENTY = Room(free_bytes=10**10, total_bytes=10**11, enough=True, writable=True, detail="")

MESSAGE = (
    b'{"object":"whatsapp_business_account","entry":[{"id":"1029","changes":[{"field":"messages","value":'
    b'{"messaging_product":"whatsapp","metadata":{"phone_number_id":"1065"},"messages":[{"id":"wamid.x"}]}}]}]}'
)

LEAF = LeafSummary(subject="CN=x", issuer="CN=y", serial="01", sha256="ab")


def meta_peer(*clients: str) -> Peer:
    """Return a peer that proved to be one of these clients."""
    identity = Identity(clients=frozenset(clients), name="x", leaf=LEAF, anchor_sha256="cd")
    return Peer(address="192.0.2.7", port=4711, identity=identity, refusal=None, connection="c-7")


def unproved_peer(reason: Reason = Reason.NO_CERTIFICATE) -> Peer:
    """Return a peer without identity."""
    return Peer(address="192.0.2.8", port=4712, identity=None, refusal=Refusal(reason=reason, detail=""))


META = meta_peer("meta")


class WatchedSpool(MemorySpool):
    """The spool in memory, with troubles to order."""

    def __init__(self) -> None:
        super().__init__(MemoryState(), Limits(window_ms=7 * 86_400_000, max_keys=1000))
        self.stored: list[Notification] = []
        self.room_now = PLENTY
        self.fault: Exception | None = None
        self.gate: trio.Event | None = None
        """While set and not yet open, `append` waits: the disk is slow."""

    def room(self) -> Room:
        return self.room_now

    async def append(self, notification: Notification) -> Appended:
        with trio.CancelScope(shield=True):  # promise 18: whoever waits gets an answer
            if self.gate is not None:
                await self.gate.wait()
            if self.fault is not None:
                raise self.fault
            appended = await super().append(notification)
        if appended is Appended.STORED:
            self.stored.append(notification)
        return appended


@dataclass(frozen=True)
class Answer:
    """What a server would have been told to send."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


Chunk = bytes | Callable[[], Awaitable[None]] | None
"""A part of a body; a pause before the next; None: the client leaves."""


@dataclass
class Edge:
    """The app under test, and everything around it."""

    spool: WatchedSpool = field(default_factory=WatchedSpool)
    metrics: Metrics = field(default_factory=Metrics)
    journal: Journal = field(default_factory=Journal)
    routes: Sequence[Route] = (
        Route(to=("support",), field=("messages",)),
        Route(to=("audit",), field=("*",)),
    )
    max_held_bytes: int = 64 * 1024**2
    log_notifications: Any = "problems"
    received: int = 0
    """Body messages that the app has asked for."""

    def __post_init__(self) -> None:
        table = RoutingTable(self.routes, payload_original=frozenset(), drop_unrouted=False)
        numbers = count(1)
        self.app = build_ingress_app(
            apps={
                "main": _app("main", b"/webhooks/main", required=True),
                "lax": _app("lax", b"/webhooks/lax", required=False),
            },
            routing=lambda: table,
            spool=self.spool,
            metrics=self.metrics,
            now_ms=lambda: NOW_MS,
            new_id=lambda: new_notification_id(NOW_MS, next(numbers).to_bytes(10, "big")),
            limits=IngressLimits(max_body_bytes=MAX_BODY_BYTES, max_held_bytes=self.max_held_bytes),
            log_notifications=self.log_notifications,
            journal=self.journal,
        )

    async def post(
        self,
        body: bytes = MESSAGE,
        *,
        path: bytes = b"/webhooks/main",
        peer: Peer | None = META,
        secret: bytes = SECRET,
        chunks: Sequence[Chunk] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        signature: Sequence[bytes] | None = None,
    ) -> Answer:
        """Post a notification; signed, unless `signature` says otherwise."""
        values = [sign(secret, body).encode()] if signature is None else signature
        signed = [(b"x-hub-signature-256", value) for value in values]
        length = [(b"content-length", str(len(body)).encode())] if chunks is None else []
        sent = [body] if chunks is None else chunks
        return await self.call("POST", path, headers=[*length, *signed, *headers], peer=peer, chunks=sent)

    async def call(
        self,
        method: str,
        path: bytes,
        *,
        query: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        peer: Peer | None = None,
        chunks: Sequence[Chunk] = (b"",),
    ) -> Answer:
        """Speak to the app as a server does; status 0: it answered nothing."""
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": method,
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "headers": list(headers),
            "client": ("192.0.2.9", 4713),
            "state": {} if peer is None else {"peer": peer},
        }
        sent: list[Message] = []
        waiting = list(chunks)

        async def receive() -> Message:
            self.received += 1
            while waiting:
                chunk = waiting.pop(0)
                if chunk is None:
                    return {"type": "http.disconnect"}
                if isinstance(chunk, bytes):
                    return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}
                await chunk()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        if not sent:
            return Answer(status=0, headers={}, body=b"")
        start, *bodies = sent
        assert start["type"] == "http.response.start"
        assert [message["type"] for message in bodies] == ["http.response.body"]
        assert not bodies[0]["more_body"]
        return Answer(start["status"], dict(start["headers"]), bodies[0]["body"])

    def sample(self, name: str, **labels: str) -> float:
        """Read one series; 0 where it does not exist."""
        return self.metrics.registry.get_sample_value("meta_gateway_" + name, labels) or 0.0


def _app(name: str, path: bytes, *, required: bool) -> IngressApp:
    return IngressApp(
        name=name,
        path=path,
        secrets=(SECRET, OLD_SECRET),
        verify_token=VERIFY_TOKEN,
        clients=frozenset({"meta"}),
        certificate_required=required,
    )
