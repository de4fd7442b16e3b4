"""HTTP/1.1: Hypercorn's h11 protocol, with its doors closed and its early answers brought home.

Theory of operation. The connection's reader hands every read to `handle`; events of h11 become messages for
the app. A second request on the wire waits in h11's buffer until the answer to the first is out. The app's
task sends the answer, and at its end either opens the next cycle or ends the connection; `_ending` is set
then and never cleared, and whoever waits on `can_read` is woken by it. What Hypercorn does and this does not:
Upgrade (h2c, WebSocket), the HTTP/2 preface, CONNECT, upper-casing of methods, closing at once on an early
answer.
"""

import re
from dataclasses import replace
from typing import cast

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from gateway.web.exchange import Requests
from gateway.web.head import BAD_REQUEST, HEAD_TOO_LARGE, find_fault
from gateway.web.wire import Linger, Surroundings, Terms

_ABSOLUTE_FORM = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
"""RFC 9112 section 3.2.2: a server must accept it; what remains is the path."""


class Http1(H11Protocol):
    """One HTTP/1.x connection."""

    def __init__(self, terms: Terms, requests: Requests, around: Surroundings) -> None:
        super().__init__(
            around.app,
            around.config,
            around.context,
            replace(requests, queued_body_bytes=terms.limits.queued_body_bytes),
            around.state,
            around.is_tls,
            around.client,
            around.server,
            around.send,
        )
        self._terms = terms
        self._ending = False

    @property
    def _h11(self) -> h11.Connection:
        # Hypercorn puts its WebSocket stand-in here at times; without WebSocket it is h11's always.
        return cast("h11.Connection", self.connection)

    @property
    def is_receiving(self) -> bool:
        """Whether the peer owes some of a body."""
        return self._h11.their_state is h11.SEND_BODY

    @property
    def has_begun_head(self) -> bool:
        """Whether some of the next head is already here."""
        return bool(self._h11.trailing_data[0])

    async def begin_drain(self) -> bool:
        """Every answer from now on is the last; nothing to say until then."""
        return not self._ending and self.stream is None and not self.has_begun_head

    async def handle(self, event: Event) -> None:
        """Take bytes from the peer, or the news that there will be none."""
        if isinstance(event, RawData):
            if not self._ending:
                self._h11.receive_data(event.data)
                await self._handle_events()
        elif isinstance(event, Closed):
            self._ending = True
            await self.can_read.set()
            await self._close_stream()

    def drop(self, data: bytes) -> bool:
        """Drop body behind an early answer; True at the end of the body."""
        try:
            self._h11.receive_data(data)
            while isinstance(self._h11.next_event(), h11.Data):
                pass
        except h11.RemoteProtocolError:
            return False
        return self._h11.their_state in {h11.DONE, h11.MUST_CLOSE} and not self.has_begun_head

    async def stream_send(self, event: StreamEvent) -> None:
        """Take the answer from the stream; the last one on this connection says so."""
        if isinstance(event, Response) and self._is_last_answer():
            event = Response(
                stream_id=event.stream_id,
                headers=[*event.headers, (b"connection", b"close")],
                status_code=event.status_code,
            )
        await super().stream_send(event)

    def _is_last_answer(self) -> bool:
        return (
            self.is_receiving
            or self.keep_alive_requests >= self._terms.max_requests
            or self._terms.is_draining()
        )

    async def _handle_events(self) -> None:
        while not self._ending:
            if self._h11.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            if self._h11.their_state is h11.IDLE:
                fault = find_fault(
                    self._h11.trailing_data[0], max_head_bytes=self._terms.limits.max_head_bytes
                )
                if fault is not None:
                    await self._refuse(fault.status, fault.reason)
                    return
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                is_too_large = error.error_status_hint == HEAD_TOO_LARGE
                await self._refuse(HEAD_TOO_LARGE if is_too_large else BAD_REQUEST, "malformed")
                return
            if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return
            if event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif self.stream is not None:
                await self.stream.handle(_stream_event(event))

    async def _create_stream(self, request: h11.Request) -> None:
        self.keep_alive_requests += 1
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii"),
                raw_path=_origin_form(request.target),
                state=self.connection_state,
            )
        )

    async def _refuse(self, status: int, reason: str) -> None:
        """Answer in place of the app, where there is no answer yet, and end the connection."""
        self._ending = True
        is_unanswered = self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}
        if is_unanswered:
            self._terms.record_refusal(status, reason)
            await self._send_error_response(status)
        await self._close_stream()
        await self.send(Linger() if is_unanswered else Closed())

    async def _maybe_recycle(self) -> None:
        """The answer is out: go on with the next request, or end."""
        await self._close_stream()
        if self._ending:
            return
        is_whole = self._h11.our_state in {h11.DONE, h11.MUST_CLOSE}
        if self._h11.states == _BOTH_DONE and not self._terms.is_draining():
            self._h11.start_next_cycle()
            await self.send(Updated(idle=True))
        else:
            self._ending = True
            is_unread = self.is_receiving or self.has_begun_head
            await self.send(Linger() if is_whole and is_unread else Closed())
        await self.can_read.set()


_BOTH_DONE = {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}


def _stream_event(event: object) -> Body | EndBody:
    if isinstance(event, h11.Data):
        return Body(stream_id=STREAM_ID, data=event.data)
    return EndBody(stream_id=STREAM_ID)


def _origin_form(target: bytes) -> bytes:
    match = _ABSOLUTE_FORM.match(target)
    if match is None:
        return target
    path = target[match.end() :]
    return path if path.startswith(b"/") else b"/" + path
