"""Serves HTTP on connections that are already there: TLS done, peer known.

`WebServer.serve` is one connection, over any trio stream. It raises nothing but Cancelled: what a peer does
wrong is answered, counted and logged, and a defect of ours ends one connection and no more.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from gateway.core.identity import Peer
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.web.connection import Connection
from gateway.web.exchange import Requests, describe
from gateway.web.http1 import Http1Connection
from gateway.web.http2 import Http2
from gateway.web.limits import HttpLimits
from gateway.web.wire import AsgiApp, HttpProtocol, Surroundings, Terms, hypercorn_config

__all__ = ["AsgiApp", "WebServer"]

log = get_logger("web")

LINES_PER_SECOND = 0.1
"""Of one kind of malformed request, after a burst: what scanners send all day must not fill the disk."""

NO_APP = "none"
"""The label `app` of `requests_total` for what no app has answered (contract, section 6)."""


class _Connection(Protocol):
    """One connection, whatever is spoken on it."""

    async def run(self) -> None: ...

    def drain(self, *, newcomer_seconds: float = 0.0) -> None: ...

    def give_way(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Served:
    """A connection that is being served."""

    stream: trio.abc.Stream
    connection: _Connection
    state: dict[str, Any]
    """Copied for each request as it begins."""
    leaving: trio.Event
    """Every answer from now on is the last."""

    def leave(self, *, newcomer_seconds: float = 0.0) -> None:
        """Take no more requests: an idle connection ends, one in flight ends after its answer; one that has
        made none yet may make one."""
        self.leaving.set()
        self.connection.drain(newcomer_seconds=newcomer_seconds)


class WebServer:
    """An ASGI app, and the connections on which it is served."""

    def __init__(self, app: AsgiApp, *, limits: HttpLimits, metrics: Metrics | None) -> None:
        """`metrics` is None where requests are not counted: `requests_total` is the public port's."""
        self._app = app
        self._wrapped = wrap_app(app, 0, "asgi")
        self._limits = limits
        self._metrics = metrics
        self._config = hypercorn_config(limits)
        self._context = WorkerContext(None)
        self._connections: dict[_Served, None] = {}
        """In the order in which they came."""
        self._budgets: defaultdict[str, LineBudget] = defaultdict(
            lambda: LineBudget(lines_per_second=LINES_PER_SECOND)
        )
        self._shutdown = trio.Event()
        self._nobody = trio.lowlevel.ParkingLot()

    @property
    def open_connections(self) -> int:
        """How many connections are being served."""
        return len(self._connections)

    @property
    def is_shut_down(self) -> bool:
        """Whether `shutdown` was called."""
        return self._shutdown.is_set()

    def shutdown(self) -> None:
        """Let requests in flight finish, each as the last on its connection; end idle connections now.

        A connection that has made no request yet has `newcomer_seconds` for its first and last.
        """
        self._shutdown.set()
        for served in self._connections:
            served.leave(newcomer_seconds=self._limits.newcomer_seconds)

    def adopt(self, limits: HttpLimits) -> None:
        """Serve the next connections within other limits; those that are open keep theirs."""
        self._limits = limits
        self._config = hypercorn_config(limits)

    def reconsider(self, judge: Callable[[trio.abc.Stream, Peer], Peer]) -> int:
        """Ask of every connection who its client is, for the requests that begin from now on.

        A connection whose client has no identity any more is let finish, and then closed; returns how many
        there are.
        """
        lost = 0
        for served in self._connections:
            peer: Peer | None = served.state.get("peer")
            if peer is not None and peer.identity is not None:
                served.state["peer"] = now = judge(served.stream, peer)
                if now.identity is None:
                    lost += 1
                    served.leave()
        return lost

    def make_room(self) -> None:
        """End the oldest connection that waits for a request, or for the rest of its head, if there is one.

        For a listener of few places, whose clients are not told apart: whoever holds them all and asks for
        nothing must not keep out who asks.
        """
        next((served for served in self._connections if served.connection.give_way()), None)

    async def wait_shutdown(self) -> None:
        """Return once `shutdown` was called."""
        await self._shutdown.wait()

    async def wait_idle(self) -> None:
        """Return once no connection is open: after `shutdown`, that is when the last request is answered."""
        while self._connections:
            await self._nobody.park()

    async def serve(
        self,
        stream: trio.abc.Stream,
        *,
        peer: Peer | None,
        alpn: str,
        server: tuple[str, int],
        client: tuple[str, int] | None = None,
        scheme: Literal["https", "http"] = "https",
    ) -> None:
        """Serve one connection from first byte to close, and close the stream.

        `peer` (None: not the public port) arrives in `scope["state"]["peer"]`; without an identity it has one
        request and 5 s. `client` is the address where there is no `peer` to have one.
        """
        is_anonymous = peer is not None and peer.identity is None
        limits, leaving = self._limits, trio.Event()
        terms = Terms(
            limits=limits,
            max_requests=1 if is_anonymous else limits.max_requests,
            idle_seconds=limits.anonymous_idle_seconds if is_anonymous else limits.idle_seconds,
            is_draining=leaving.is_set,
            record_refusal=partial(self._record_refusal, peer),
            record_failure=self._count,
            record_abuse=partial(self._record_abuse, peer),
        )
        state: dict[str, Any] = {} if peer is None else {"peer": peer}
        address = client if peer is None else (peer.address, peer.port)
        connection: _Connection
        if alpn == "h2":
            connection = self._http_2(stream, terms, state, client=address, server=server, scheme=scheme)
        else:
            scope = {"scheme": scheme, "client": address, "server": server}
            connection = Http1Connection(stream, app=self._app, terms=terms, scope=scope, state=state)
        served = _Served(stream=stream, connection=connection, state=state, leaving=leaving)
        self._connections[served] = None
        if self.is_shut_down:
            served.leave(newcomer_seconds=limits.newcomer_seconds)
        try:
            await connection.run()
        except* Exception as errors:  # noqa: BLE001 (the last line of defence)
            # A defect, recorded; the listener's nursery and every other connection go on.
            log.error(  # noqa: TRY400 (the text of an exception may quote a body)
                "connection_failed", errors=describe(errors), **_address(peer)
            )
        finally:
            self._connections.pop(served, None)
            if not self._connections:
                self._nobody.unpark_all()

    def _http_2(
        self,
        stream: trio.abc.Stream,
        terms: Terms,
        state: dict[str, Any],
        *,
        client: tuple[str, int] | None,
        server: tuple[str, int],
        scheme: str,
    ) -> Connection:
        def make_protocol(connection: Connection, nursery: trio.Nursery) -> HttpProtocol:
            around = Surroundings(
                app=self._wrapped,
                config=self._config,
                context=self._context,
                state=ConnectionState(state),
                is_tls=scheme == "https",
                client=client,
                server=server,
                send=connection.protocol_send,
            )
            return Http2(terms, Requests(nursery=nursery, count_answer=self._count), around)

        return Connection(
            stream,
            app=self._wrapped,
            config=self._config,
            context=self._context,
            state=ConnectionState(state),
            terms=terms,
            make_protocol=make_protocol,
        )

    def _record_refusal(self, peer: Peer | None, status: int, reason: str) -> None:
        self._count(status)
        suppressed = self._budgets[reason].take(trio.current_time())
        if suppressed is not None:
            log.info("request_refused", status=status, reason=reason, suppressed=suppressed, **_address(peer))

    def _record_abuse(self, peer: Peer | None, what: str) -> None:
        suppressed = self._budgets[what].take(trio.current_time())
        if suppressed is not None:
            log.warning("connection_refused", reason=what, suppressed=suppressed, **_address(peer))

    def _count(self, status: int) -> None:
        if self._metrics is not None:
            self._metrics.requests_total.labels(app=NO_APP, status=str(status)).inc()


def _address(peer: Peer | None) -> dict[str, str]:
    return {} if peer is None else {"address": peer.address, "connection": peer.connection}
