"""One HTTP/2 connection from first byte to close: Hypercorn's TCPServer with deadlines of its own.

Theory of operation. One task reads, and owns the end of the connection; the apps' tasks send. The phase says
which deadline the reader is under:

    IDLE      no request           idle_seconds, from the last answer
    HEAD      first byte is here   head_seconds, from that byte
    BUSY      request in flight    read_seconds between two reads of its body; none once the body is here
    LINGER    answered, unread     linger_seconds or linger_bytes, or the end of the body
    ENDED     over

Whatever ends a connection from another task sets the phase and wakes the reader. TCPServer's own `run` is not
used: it takes any AttributeError in the handshake for "not TLS" and carries on in the clear. Here the
handshake is over before a connection is made, and nothing is looked up on the stream but trio's Stream
interface.
"""

from collections.abc import Callable
from enum import Enum, auto
from math import inf

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from gateway.web.wire import HttpProtocol, Linger, Terms


class Phase(Enum):
    """What a connection is about; see above."""

    IDLE = auto()
    HEAD = auto()
    BUSY = auto()
    LINGER = auto()
    ENDED = auto()


class Connection(TCPServer):
    """One connection over any trio stream."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: ConnectionState,
        terms: Terms,
        make_protocol: "Callable[[Connection, trio.Nursery], HttpProtocol]",
    ) -> None:
        # TCPServer says SSLStream, for its handshake; what is kept of it wants no more than a stream.
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]
        self.phase = Phase.IDLE
        self._stream: trio.abc.Stream = stream
        self._terms = terms
        self._limits = terms.limits
        self._make_protocol = make_protocol
        self._deadline = self._idle_until = trio.current_time() + terms.idle_seconds
        self._read_scope: trio.CancelScope | None = None
        self._is_drain_asked = False
        self._is_new = True
        """No request has been made on it."""

    async def run(self) -> None:
        """Serve until the connection is over. Raises, in a group, only what is a defect."""
        try:
            async with trio.open_nursery() as nursery:
                self._talk = self._make_protocol(self, nursery)
                await self._talk.initiate()
                await self._read_data()
                await self._talk.handle(Closed())
                if self.phase is Phase.ENDED:
                    await self._close()
                # Else the peer has only ended its side: an answer in flight is still sent.
        finally:
            await self._close()

    def drain(self, *, newcomer_seconds: float = 0.0) -> None:
        """Take no more requests: an idle connection ends, one in flight ends after its answer. One that has
        made no request yet has `newcomer_seconds` for it."""
        if self._is_new and newcomer_seconds:
            self._idle_until = min(self._idle_until, trio.current_time() + newcomer_seconds)
            if self.phase is Phase.IDLE:
                self._set_deadline(self._idle_until)
        else:
            self._is_drain_asked = True
            self._wake()

    def give_way(self) -> bool:
        """Stay: HTTP/2 is spoken where places are shared out by who somebody is (`tls.listener`)."""
        return False

    async def protocol_send(self, event: Event) -> None:
        """Take what the protocol says: bytes for the peer, or how the connection stands."""
        match event:
            case RawData():
                await self._send(event.data)
            case Updated(idle=True) if self.phase is Phase.BUSY:
                self.phase = Phase.IDLE
                self._idle_until = trio.current_time() + self._terms.idle_seconds
                self._set_deadline(self._idle_until)
                self._note_head()
            case Updated(idle=False) if self.phase in (Phase.IDLE, Phase.HEAD):
                self._is_new = False
                self.phase = Phase.BUSY
                self._set_deadline(inf)
            case Linger() if self.phase is not Phase.ENDED:
                self.phase = Phase.LINGER
                self._set_deadline(trio.current_time() + self._limits.linger_seconds)
                await self._send_eof()
            case Closed():
                self._end()

    async def _read_data(self) -> None:
        budget = self._limits.linger_bytes
        while not await self._is_over():
            data = await self._receive()
            if data is None:
                continue
            if not data:
                # A half-closed peer may still read; after a linger there is nothing left to tell it.
                if self.phase is Phase.LINGER:
                    self._end()
                return
            if self.phase is Phase.LINGER:
                budget -= len(data)
                if self._talk.drop(data) or budget < 0:
                    self._end()
            elif self.phase is not Phase.ENDED:
                await self._talk.handle(RawData(data))
                self._note_head()

    async def _is_over(self) -> bool:
        """Look up from reading: has something ended, is something overdue, was a drain asked for?"""
        is_overdue = trio.current_time() >= self._deadline
        if self.phase is Phase.BUSY and is_overdue and not self._talk.is_receiving:
            is_overdue = False
        if self.phase in (Phase.LINGER, Phase.ENDED):
            if is_overdue:
                self._end()
        elif self._is_drain_asked or (is_overdue and self.phase is Phase.IDLE):
            self._is_drain_asked = False
            if await self._talk.begin_drain():
                self._end()
        elif is_overdue:
            self._end()
        return self.phase is Phase.ENDED

    async def _receive(self) -> bytes | None:
        """Read once, under the phase's deadline. Empty at the end; None when there is something to see to."""
        if self.phase is Phase.BUSY:
            seconds = self._limits.read_seconds if self._talk.is_receiving else inf
            self._deadline = trio.current_time() + seconds
        with trio.CancelScope(deadline=self._deadline) as self._read_scope:
            try:
                return bytes(await self._stream.receive_some(MAX_RECV))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return b""
        return None

    def _note_head(self) -> None:
        """A head has its deadline from its first byte, and only while it is incomplete."""
        if self.phase is Phase.IDLE and self._talk.has_begun_head:
            self.phase = Phase.HEAD
            self._set_deadline(trio.current_time() + self._limits.head_seconds)
        elif self.phase is Phase.HEAD and not self._talk.has_begun_head:
            # HTTP/2: it was a frame, but no request.
            self.phase = Phase.IDLE
            self._set_deadline(self._idle_until)

    async def _send(self, data: bytes) -> None:
        # Shielded, as in TCPServer: half a frame on the wire would spoil all that follows.
        with trio.CancelScope(shield=True):
            async with self.send_lock:
                for start in range(0, len(data), self._limits.send_slice_bytes):
                    if self.phase is Phase.ENDED:
                        return
                    await self._send_slice(data[start : start + self._limits.send_slice_bytes])

    async def _send_slice(self, data: bytes) -> None:
        with trio.move_on_after(self._limits.send_seconds) as scope:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end()
        if scope.cancelled_caught:
            self._end()
            await trio.aclose_forcefully(self._stream)

    async def _send_eof(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            with trio.CancelScope(shield=True):
                async with self.send_lock:
                    with trio.move_on_after(self._limits.close_seconds):
                        try:
                            await self._stream.send_eof()
                        except (trio.BrokenResourceError, trio.ClosedResourceError):
                            self._end()

    async def _close(self) -> None:
        # Shielded: a cancelled connection says good-bye too, but within close_seconds.
        with trio.move_on_after(self._limits.close_seconds, shield=True):
            try:
                await self._stream.aclose()
            except trio.BrokenResourceError:
                return

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = deadline
        if self._read_scope is not None:
            self._read_scope.deadline = deadline

    def _end(self) -> None:
        self.phase = Phase.ENDED
        self._wake()

    def _wake(self) -> None:
        if self._read_scope is not None:
            self._read_scope.cancel()
