"""Small internal HTTP targets: what stands behind the gateway in the demo and in tests.

A target answers by its `Behaviour` and keeps a record of every POST that it got: headers, body, and whether
the signature fits, which it checks the way a consumer of Meta's webhooks does.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from gateway.core.signature import VerifiedBody, verify_signature
from gateway.telemetry.metrics import Metrics
from gateway.web.limits import HttpLimits
from gateway.web.server import WebServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a target answers."""

    status: int = 200
    """The answer, once the failures are over."""
    failures: int = 0
    """How many attempts of each delivery (told apart by `Idempotency-Key`) fail first."""
    failure_status: int = 503
    delay_seconds: float = 0.0
    """Passes before each answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to each answer, `Retry-After` for one."""

    def answer(self, attempt: int) -> int:
        """Return the status for the attempt (1...) that now comes in."""
        return self.failure_status if attempt <= self.failures else self.status


ACCEPT: Final = Behaviour()
FAIL_TWICE: Final = Behaviour(failures=2)
FAIL_FOR_EVER: Final = Behaviour(status=500)
REFUSE: Final = Behaviour(status=422)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One POST that a target got."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    signature_fits: bool
    """Whether `X-Hub-Signature-256` was made with the app's secret over this body."""
    status: int
    """What the target answered."""

    @property
    def notification_id(self) -> str:
        return self.headers.get("gateway-notification", "")

    @property
    def attempt(self) -> int:
        """What the gateway says; 0 where it says nothing."""
        return int(self.headers.get("gateway-attempt", "0"))

    @property
    def key(self) -> str:
        """The same over all attempts of one delivery."""
        return self.headers.get("idempotency-key", "")


class Target:
    """One HTTP target on a free port of the loopback."""

    def __init__(
        self,
        name: str,
        *,
        secret: bytes,
        behaviour: Behaviour = ACCEPT,
        on_received: Callable[[str, Received], None] | None = None,
        port: int = 0,
    ) -> None:
        """`secret`: the app's, as a consumer of Meta's webhooks knows it. `port` 0: a free one.

        `on_received(name, received)` is called after the record is made and before the answer is sent.
        """
        self.name = name
        self.behaviour = behaviour
        self.received: list[Received] = []
        self._secret = secret
        self._on_received = on_received
        self._attempts: Counter[str] = Counter()
        self._port = port
        self._news = trio.Event()

    @property
    def url(self) -> str:
        """Where the gateway is to deliver; known once `serve` has started."""
        return f"http://127.0.0.1:{self._port}/{self.name}"

    async def serve(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; reports the URL when it is reachable."""
        listeners = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        self._port = listeners[0].socket.getsockname()[1]
        server = WebServer(self._app, limits=HttpLimits(), metrics=Metrics())

        async def handle(stream: trio.SocketStream) -> None:
            await server.serve(stream, peer=None, alpn="http/1.1", server=("127.0.0.1", self._port))

        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, handle, listeners)
            task_status.started(self.url)

    async def wait_received(self, count: int) -> None:
        """Return when at least this many POSTs have come in. The caller sets the deadline."""
        while len(self.received) < count:
            await self._news.wait()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            event = await receive()
            if event["type"] != "http.request":
                return  # gone before the body was here: nothing received, nobody to answer
            body += event.get("body", b"")
            if not event.get("more_body", False):
                break
        if self.behaviour.delay_seconds:
            await trio.sleep(self.behaviour.delay_seconds)
        received = self._record(scope, bytes(body))
        headers = [(name.encode(), value.encode()) for name, value in self.behaviour.headers.items()]
        await send({"type": "http.response.start", "status": received.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _record(self, scope: Any, body: bytes) -> Received:
        pairs = [(name.lower(), value) for name, value in scope["headers"]]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        signatures = [value for name, value in pairs if name == b"x-hub-signature-256"]
        key = headers.get("idempotency-key", "")
        self._attempts[key] += 1
        verdict = verify_signature(
            app=headers.get("gateway-app", ""), raw=body, header_values=signatures, secrets=[self._secret]
        )
        received = Received(
            path=scope["path"],
            headers=headers,
            body=body,
            signature_fits=isinstance(verdict, VerifiedBody),
            status=self.behaviour.answer(self._attempts[key]),
        )
        self.received.append(received)
        if self._on_received is not None:
            self._on_received(self.name, received)
        news, self._news = self._news, trio.Event()
        news.set()
        return received
