"""The door: accepts connections, shakes hands under a deadline, judges, and hands over or closes.

Laws:
- No byte of HTTP is read before the verdict (law 1 of the architecture); no verdict, no connection.
- What goes wrong with one connection ends in its own task. Nothing of it reaches the nursery.
- Every refusal is counted and logged. A connection that closes without having sent a byte is none: load
  balancers and monitors look in that way.
"""

import errno
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import trio

from gateway.clock import unix_ms
from gateway.core.identity import Identity, Peer, Reason, Refusal
from gateway.core.proxy_header import (
    NOT_EXPECTED,
    NOT_FROM_BALANCER,
    SIGN_BYTES,
    ProxyHeaderFault,
    begins_as_proxy_header,
)
from gateway.errors import PeerError
from gateway.telemetry.journal import Journal
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.tls.context import ServerContext
from gateway.tls.per_address import PerAddress
from gateway.tls.policy import DoorPolicy, Proxies, goes_on
from gateway.tls.proxy_header import take_proxy_header
from gateway.tls.refusals import LINES_PER_SECOND, RefusalLedger
from gateway.tls.stream import TlsStream, endpoint
from gateway.tls.turns import COURTESY_SECONDS, Turns
from gateway.tls.verdict import ChainRecord, judge

PAUSE_OUT_OF_RESOURCES_SECONDS: Final = 0.1
"""accept() fails at once while descriptors are out: try again when other connections had time to end."""

DEFAULT_PROTOCOL: Final = "http/1.1"
"""What a client speaks that does not ask by ALPN."""

_LIFE_BYTES: Final = 4
"""Drawn by each process: the numbers of its connections begin at 1, as those of others do."""

_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

_PASSING: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)
"""accept(2): errors of the connection that was to be accepted, not of the listening socket."""

Handler = Callable[[TlsStream, Peer, str], Awaitable[None]]
"""Serves one connection from its first byte to its end; the third argument is `h2` or `http/1.1`."""


@dataclass(slots=True)
class _Caller:
    """Who is at the door, as logs shall name it: a load balancer, until it has said for whom it comes."""

    address: str
    port: int
    connection: str
    """What the connection is called."""
    counted: str | None = None
    """By `per_address`, under this key."""

    def peer(self, verdict: Identity | Refusal) -> Peer:
        """Say who it is, for those who serve it."""
        identity, refusal = (verdict, None) if isinstance(verdict, Identity) else (None, verdict)
        return Peer(
            address=self.address,
            port=self.port,
            identity=identity,
            refusal=refusal,
            connection=self.connection,
        )


@dataclass(slots=True)
class _Place:
    """A handshake under way."""

    scope: trio.CancelScope
    crowded_out: bool = False


class TlsListener:
    """Accepts TLS connections on sockets that listen already."""

    def __init__(
        self,
        *,
        sockets: Sequence[socket.socket],
        context: Callable[[], ServerContext],
        policy: Callable[[], DoorPolicy],
        metrics: Metrics,
        now_ms: Callable[[], int] = unix_ms,
        journal: Journal | None = None,
        turns: Turns | None = None,
    ) -> None:
        """`context` and `policy` are asked anew for every connection: a reload changes what they return.
        `journal` keeps the last refusals and who was seen when. `turns`: other processes accept there."""
        self._sockets = tuple(sockets)
        self._turns = turns
        self._context = context
        self._policy = policy
        journal = journal or Journal()
        self._last_seen = journal.last_seen
        self._now_ms = now_ms
        self._log = get_logger("tls")
        self._ledger = RefusalLedger(
            metrics=metrics,
            log=self._log,
            clock=time.monotonic,
            ledger=journal.ledger,
            turned_away=journal.turned_away,
            now_ms=now_ms,
        )
        # Strangers can bring about both as often as they like.
        self._failures = LineBudget(lines_per_second=LINES_PER_SECOND)
        self._accept_failures = LineBudget(lines_per_second=LINES_PER_SECOND)
        self._accepting = trio.CancelScope()
        self._life = os.urandom(_LIFE_BYTES).hex()
        self._numbers = count(1)
        self._open = 0
        self._without_identity = 0
        self._per_address = PerAddress()
        self._handshakes: dict[int, _Place] = {}
        """In order of their beginning."""
        self._is_accepting = False
        self._quiet = trio.lowlevel.ParkingLot()
        """Who waits for the end of accepting, or of the handshakes."""

    @property
    def open_connections(self) -> int:
        """Connections now, handshakes included."""
        return self._open

    def stop_accepting(self) -> None:
        """Close the listening sockets. `serve` returns when the last connection has ended."""
        self._accepting.cancel()

    async def wait_handshakes(self) -> None:
        """Return once no handshake is under way, after `stop_accepting`."""
        while self._is_accepting:
            await self._quiet.park()
        # What was accepted last has begun its handshake after one turn.
        await trio.lowlevel.checkpoint()
        while self._handshakes:
            await self._quiet.park()

    def _judge(self, stream: TlsStream, context: ServerContext) -> Identity | Refusal:
        verdict = judge(stream.connection, context.entries, context.ask_staged)
        current = self._context()
        if current is context or isinstance(verdict, Refusal):
            return verdict
        # A reload fell into the handshake: what was accepted must be so by what holds now.
        return judge(stream.connection, current.entries, current.ask_staged)

    def reconsider(self, stream: TlsStream, peer: Peer) -> Peer:
        """Say who a client is now that anchors, names or lists are others; the same object: as before.

        What was accepted under an anchor that is no longer there must not count for an entry that has lost
        it. It fails closed.
        """
        if peer.identity is None:
            return peer
        try:
            verdict = judge(stream.connection, self._context().entries)
        except Exception as fault:  # noqa: BLE001 # whatever it is: no verdict, no identity
            verdict = Refusal(reason=Reason.PROTOCOL, detail=f"no verdict ({type(fault).__name__})")
        if isinstance(verdict, Identity):
            return peer if verdict == peer.identity else replace(peer, identity=verdict)
        return replace(peer, identity=None, refusal=verdict)

    async def serve(
        self, handle: Handler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until `stop_accepting`, then wait for the connections that are open."""
        async with trio.open_nursery() as connections:
            self._is_accepting = True
            try:
                with self._accepting:
                    async with trio.open_nursery() as loops:
                        for sock in self._sockets:
                            loops.start_soon(self._accept, sock, connections, handle)
                        task_status.started()
            finally:
                for sock in self._sockets:
                    trio.lowlevel.notify_closing(sock)
                    sock.close()
                self._is_accepting = False
                self._quiet.unpark_all()

    async def _accept(self, listening: socket.socket, connections: trio.Nursery, handle: Handler) -> None:
        while True:
            await trio.lowlevel.wait_readable(listening)
            if self._turns is not None and self._turns.is_anothers:
                await trio.sleep(COURTESY_SECONDS)
            try:
                sock, _ = listening.accept()
            except BlockingIOError:
                continue
            except OSError as fault:
                if fault.errno in _PASSING:
                    continue
                if fault.errno not in _OUT_OF_RESOURCES:
                    raise
                suppressed = self._accept_failures.take(time.monotonic())
                if suppressed is not None:
                    error = errno.errorcode.get(fault.errno or 0)
                    self._log.error("accept_failed", error=error, suppressed=suppressed)
                await trio.sleep(PAUSE_OUT_OF_RESOURCES_SECONDS)
                continue
            connections.start_soon(self._contain, sock, handle)

    async def _contain(self, sock: socket.socket, handle: Handler) -> None:
        """Serve one connection; whatever it raises ends here, except cancellation."""
        self._count_open(+1)
        try:
            await self._connection(sock, handle)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self._log.debug("connection_broken")
        except* Exception as group:  # noqa: BLE001 # a bug in serving one connection must not close the door
            suppressed = self._failures.take(time.monotonic())
            if suppressed is not None:
                self._log.error("connection_failed", error=_innermost(group), suppressed=suppressed)
        finally:
            self._count_open(-1)
            sock.close()

    def _count_open(self, change: int) -> None:
        self._open += change
        if self._turns is not None:
            self._turns.show(self._open)

    async def _connection(self, sock: socket.socket, handle: Handler) -> None:
        try:
            sock.setblocking(False)
            # Answers are small and whole: Nagle's algorithm would only hold them back.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller = _Caller(*endpoint(sock.getpeername()), connection=f"{self._life}-{next(self._numbers)}")
        except OSError:
            return
        policy = self._policy()
        if self._open > policy.max_connections:
            self._refuse(Reason.LIMIT, "listen.max_connections is reached", caller)
            return
        try:
            admitted = await self._handshake(sock, caller, policy)
            if admitted is None:
                return
            stream, verdict = admitted
            try:
                await self._hand_over(stream, verdict, caller, policy, handle)
            finally:
                stream.close()
        finally:
            if caller.counted is not None:
                self._per_address.leave(caller.counted)

    async def _handshake(
        self, sock: socket.socket, caller: _Caller, policy: DoorPolicy
    ) -> tuple[TlsStream, Identity | Refusal] | None:
        """Return the stream with the verdict; None: refused and recorded, or nobody was there."""
        if policy.proxies is None and not self._count(caller, policy):
            return None
        with trio.CancelScope() as scope, self._place(scope, policy) as place:
            # From here on, so that waiting for a place does not count.
            scope.deadline = trio.current_time() + policy.handshake_seconds
            first = await _first_bytes(sock)
            if not first:
                return None
            if policy.proxies is not None:
                fault = await _ask_proxy(sock, caller, policy.proxies)
                if fault is not None:
                    self._refuse(Reason.PROTOCOL, fault, caller)
                    return None
                # A load balancer's own check ends here, and so does a client that came and went.
                if not self._count(caller, policy) or not await _first_bytes(sock):
                    return None
            try:
                context = self._context()
                stream = TlsStream.server(context.ssl, sock, app_data=ChainRecord())
                await stream.do_handshake()
                return stream, self._judge(stream, context)
            except PeerError as fault:
                unexpected = policy.proxies is None and begins_as_proxy_header(first)
                self._refuse(Reason.PROTOCOL, NOT_EXPECTED if unexpected else fault.message, caller)
                return None
            except Exception:
                # Ours: a bug, or a verdict that is missing. It fails closed, and is told as an error too.
                self._refuse(Reason.PROTOCOL, "the handshake failed on this side", caller)
                raise
        if place.crowded_out:
            self._refuse(Reason.LIMIT, "too many handshakes at once; the oldest gave way", caller)
        else:
            self._refuse(Reason.TIMEOUT, "the handshake took too long", caller)
        return None

    async def _hand_over(
        self,
        stream: TlsStream,
        verdict: Identity | Refusal,
        caller: _Caller,
        policy: DoorPolicy,
        handle: Handler,
    ) -> None:
        if isinstance(verdict, Identity):
            self._last_seen.admit(verdict, self._now_ms())
            self._tell_accepted(verdict, caller)
            try:
                await handle(stream, caller.peer(verdict), stream.alpn or DEFAULT_PROTOCOL)
            finally:
                self._last_seen.leave(verdict, self._now_ms())
            return
        if not goes_on(policy, verdict):
            self._tell_refused(verdict, caller)
            await stream.aclose()
            return
        if self._without_identity >= policy.max_without_identity:
            detail = "too many connections without an accepted certificate"
            self._tell_refused(replace(verdict, reason=Reason.LIMIT, detail=detail), caller)
            await stream.aclose()
            return
        if verdict.reason is Reason.NO_CERTIFICATE:
            self._tell_accepted(verdict, caller)
        else:
            self._tell_refused(verdict, caller, goes_on=True)
        self._without_identity += 1
        try:
            await handle(stream, caller.peer(verdict), stream.alpn or DEFAULT_PROTOCOL)
        finally:
            self._without_identity -= 1

    @contextmanager
    def _place(self, scope: trio.CancelScope, policy: DoorPolicy) -> Iterator[_Place]:
        """Count a handshake under way; where there are too many, the oldest gives way."""
        if len(self._handshakes) >= policy.max_handshakes:
            oldest = next(iter(self._handshakes.values()))
            self._leave(oldest)
            oldest.crowded_out = True
            oldest.scope.cancel()
        place = _Place(scope)
        self._handshakes[id(place)] = place
        try:
            yield place
        finally:
            self._leave(place)

    def _count(self, caller: _Caller, policy: DoorPolicy) -> bool:
        """Count a connection of an address; False, and refused, where it has too many."""
        if policy.per_address is not None:
            caller.counted = self._per_address.enter(caller.address, policy.per_address)
            if caller.counted is None:
                self._refuse(Reason.LIMIT, "too many connections from one address", caller)
                return False
        return True

    def _leave(self, place: _Place) -> None:
        self._handshakes.pop(id(place), None)
        if not self._handshakes:
            self._quiet.unpark_all()

    def _refuse(self, reason: Reason, detail: str, caller: _Caller) -> None:
        self._tell_refused(Refusal(reason=reason, detail=detail), caller)

    def _tell_refused(self, refusal: Refusal, caller: _Caller, *, goes_on: bool = False) -> None:
        self._ledger.refused(
            refusal,
            address=caller.address,
            port=caller.port,
            connection=caller.connection,
            goes_on=goes_on,
        )

    def _tell_accepted(self, verdict: Identity | Refusal, caller: _Caller) -> None:
        self._ledger.accepted(verdict)
        self._log.debug(
            "connection_accepted",
            connection=caller.connection,
            address=caller.address,
            port=caller.port,
            clients=sorted(verdict.clients) if isinstance(verdict, Identity) else [],
        )


async def _ask_proxy(sock: socket.socket, caller: _Caller, proxies: Proxies) -> str | None:
    """Learn from the load balancer who the client is; return what is wrong, where something is."""
    if not proxies.include(caller.address):
        return NOT_FROM_BALANCER
    header = await take_proxy_header(sock, proxies.versions)
    if isinstance(header, ProxyHeaderFault):
        return header.detail
    if header.source is not None:
        caller.address, caller.port = header.source
    return None


async def _first_bytes(sock: socket.socket) -> bytes:
    """Wait until the other side has sent something, and look at it; empty: it has gone without a word."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(SIGN_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            continue
        except OSError:
            return b""


def _innermost(group: BaseExceptionGroup[BaseException]) -> str:
    """Name the error and where it arose, without its text: that may hold what a client has sent."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{where}"
