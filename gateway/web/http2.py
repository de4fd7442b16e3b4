"""HTTP/2: Hypercorn's h2 protocol, with floods bounded and every stream brought to its end.

Theory of operation. The connection's reader hands every read to `handle`; events of h2 become messages for
the app of their stream. Body is bounded by flow control: a stream's window opens again only as its app takes
what is there, the connection's window is as wide as all streams together, so that no stream starves another
and the reader never waits for an app. The apps' tasks put their answers into buffers, and Hypercorn's
`send_task` writes them as the peer's windows allow. A stream answered before its body has arrived lingers:
the rest of the body is dropped, its credit given back, up to the limits of a lingering close; then the stream
is reset with NO_ERROR (RFC 9113 section 8.1). Not at once, for there are clients that read the answer only
when their body is out, and hang on a reset. What Hypercorn does and this does not:
CONNECT, push, priorities, hanging on failed apps.

The GOAWAY of a connection that takes no more requests goes out behind the last answer, and streams that come
too late are refused (REFUSED_STREAM, safe to retry): some clients drop what is in flight as soon as they see
a GOAWAY.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import h2.events as frames
import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.utils import filter_pseudo_headers

from gateway.web.allowance import Allowance
from gateway.web.exchange import Requests
from gateway.web.h2_inside import (
    SLICE_BYTES,
    awaits_oversized_frame,
    has_begun_frame,
    open_connection,
    outlive_goaway,
)
from gateway.web.head import BAD_REQUEST, HEAD_TOO_LARGE, HeadFault
from gateway.web.limits import HttpLimits
from gateway.web.unread import Unread
from gateway.web.wire import Linger, Surroundings, Terms

_HEADER_OVERHEAD_BYTES = 32
"""RFC 9113 section 6.5.2: what a field counts besides its name and value."""
_UNREADABLE_FACTOR = 4
"""A header list so many times too large is not even decoded: the connection ends (HPACK bombs)."""
CRUMB_BYTES = 256
"""A DATA frame with less, and not its stream's last, costs more work than it brings body: it counts as a
control frame, of which `max_control_frames` may come in a row. Who writes a body in pieces so small is
usually done long before."""
_CONNECTION_SPECIFIC = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""RFC 9113 section 8.2.2: must not be sent in HTTP/2; an app need not know what it runs under."""


_LEAST_PSEUDO_HEADERS = 4
"""They stand for the request line, which is no header."""
_MOST_PSEUDO_HEADERS = 5
"""RFC 9113 section 8.3: pseudo-headers come first; h2 has seen to it, and to their being there once."""
_HANDLERS = {
    frames.RequestReceived: "_request_received",
    frames.DataReceived: "_data_received",
    frames.StreamEnded: "_stream_ended",
    frames.StreamReset: "_stream_reset",
    frames.WindowUpdated: "_window_opened",
    frames.RemoteSettingsChanged: "_settings_changed",
    frames.ConnectionTerminated: "_terminated",
}
"""Every other frame is a control frame: counted, answered by h2 where it must be."""


class Http2(H2Protocol):
    """One HTTP/2 connection."""

    def __init__(self, terms: Terms, requests: Requests, around: Surroundings) -> None:
        super().__init__(
            around.app,
            around.config,
            around.context,
            requests,
            around.state,
            around.is_tls,
            around.client,
            around.server,
            around.send,
        )
        limits = terms.limits
        self._terms = terms
        self._requests = requests
        self.connection.decoder.max_header_list_size = _UNREADABLE_FACTOR * limits.max_head_bytes
        self._resets = Allowance(limits.max_resets, window_seconds=limits.resets_seconds)
        self._control_frames = Allowance(limits.max_control_frames)
        self._unended: set[int] = set()
        """Streams in flight whose request is not all here."""
        self._finished: set[int] = set()
        """Streams in flight whose answer is all here, but not all sent."""
        self._lingering: dict[int, Unread] = {}
        """Streams answered before their body was here."""
        self._is_unread = False
        """Whether some body may still be on its way to a stream that is over."""
        self._takes_requests = True
        self._ending = False

    @property
    def is_receiving(self) -> bool:
        """Whether the peer owes some of a body."""
        return bool(self._unended)

    @property
    def has_begun_head(self) -> bool:
        """Whether some of a frame, or of a header block, is here."""
        return has_begun_frame(self.connection)

    async def initiate(self, *_: Any) -> None:
        """Send SETTINGS, and open the connection's window for all streams together."""
        limits = self._terms.limits
        open_connection(self.connection, limits)
        outlive_goaway(self.connection)
        if limits.max_streams > 1:
            self.connection.increment_flow_control_window(
                (limits.max_streams - 1) * limits.stream_window_bytes
            )
        await self._flush()
        self.task_group.spawn(self.send_task)

    async def begin_drain(self) -> bool:
        """Refuse new streams; with none in flight, say good-bye."""
        self._takes_requests = False
        if self._is_busy or self._lingering or self._ending:
            return False
        await self._say_goodbye(ErrorCodes.NO_ERROR)
        return True

    def drop(self, _: bytes) -> bool:
        """Drop what comes behind the last answer; the client has been told, and ends it."""
        return False

    async def handle(self, event: Event) -> None:
        """Take bytes from the peer, or the news that there will be none."""
        if isinstance(event, RawData):
            for start in range(0, len(event.data), SLICE_BYTES):
                if self._ending:
                    # What was on its way when the good-bye was; h2 would take it for an error.
                    return
                await self._receive(event.data[start : start + SLICE_BYTES])
        elif isinstance(event, Closed):
            await self._abandon_streams()

    async def _receive(self, data: bytes) -> None:
        try:
            events = self.connection.receive_data(data)
        except ProtocolError:
            # h2 has a GOAWAY ready that says what was wrong.
            self._terms.record_abuse("protocol")
            await self._end()
        else:
            await self._handle_events(events)
            if awaits_oversized_frame(self.connection) and not self._ending:
                await self._end_for_abuse("frame_size", ErrorCodes.FRAME_SIZE_ERROR)

    async def stream_send(self, event: StreamEvent) -> None:
        """Take the answer from a stream; what waits for the peer's window waits for send_seconds."""
        match event:
            case StreamClosed():
                await self._answer_over(event.stream_id)
                return
            case Request():
                return
            case Response():
                headers = [
                    (name, value) for name, value in event.headers if name.lower() not in _CONNECTION_SPECIFIC
                ]
                event = Response(stream_id=event.stream_id, headers=headers, status_code=event.status_code)
            case EndBody():
                self._finished.add(event.stream_id)
        with trio.move_on_after(self._terms.limits.send_seconds) as scope:
            await super().stream_send(event)
        if scope.cancelled_caught:
            await self.send(Closed())

    async def _handle_events(self, events: list[frames.Event]) -> None:
        for event in events:
            if self._ending:
                return
            await getattr(self, _HANDLERS.get(type(event), "_control"))(event)
        await self._flush()

    async def _request_received(self, event: frames.RequestReceived) -> None:
        stream_id = event.stream_id
        in_flight = len(self.stream_buffers) + len(self._lingering)
        if not self._takes_requests or in_flight >= self._terms.limits.max_streams:
            self._reset(stream_id, ErrorCodes.REFUSED_STREAM)
            await self._control(event)
            return
        self._control_frames.restart()
        self.keep_alive_requests += 1
        if self.keep_alive_requests >= self._terms.max_requests or self._terms.is_draining():
            self._takes_requests = False
        fault = _find_fault(event.headers, self._terms.limits)
        if fault is None:
            await self._create_stream(event)
        else:
            await self._refuse(event, fault)

    async def _create_stream(self, request: frames.RequestReceived) -> None:
        stream_id = request.stream_id
        stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            replace(self._requests, taken=partial(self._taken, stream_id)),
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            stream_id,
        )
        self.streams[stream_id] = stream
        self.stream_buffers[stream_id] = StreamBuffer(self.context.event_class)
        self.priority.insert_stream(stream_id)
        self.priority.block(stream_id)
        if request.stream_ended is None:
            self._unended.add(stream_id)
        await self.send(Updated(idle=False))
        pseudo = dict(request.headers[:_MOST_PSEUDO_HEADERS])
        await stream.handle(
            Request(
                stream_id=stream_id,
                headers=filter_pseudo_headers(list(request.headers)),
                http_version="2",
                method=pseudo[b":method"].decode("ascii"),
                raw_path=pseudo[b":path"],
                state=self.connection_state,
            )
        )

    async def _refuse(self, request: frames.RequestReceived, fault: HeadFault) -> None:
        """Answer on the stream, in place of the app."""
        self._terms.record_refusal(fault.status, fault.reason)
        self.connection.send_headers(
            request.stream_id,
            [
                (b":status", b"%d" % fault.status),
                (b"content-length", b"0"),
                *self.config.response_headers("h2"),
            ],
            end_stream=True,
        )
        if request.stream_ended is None:
            self._linger(request.stream_id)
        await self._flush()
        await self._settle()

    async def _data_received(self, event: frames.DataReceived) -> None:
        if len(event.data) >= CRUMB_BYTES:
            self._control_frames.restart()
        elif event.stream_ended is None:
            await self._control(event)
            if self._ending:
                return
        stream = self.streams.get(event.stream_id)
        if stream is None:
            # Answered early, so nobody reads it; the credit goes back all the same.
            await self._taken(event.stream_id, event.flow_controlled_length)
            unread = self._lingering.get(event.stream_id)
            if unread is not None and not unread.drop(event.flow_controlled_length):
                await self._end_linger(event.stream_id)
            return
        await self._taken(event.stream_id, event.flow_controlled_length - len(event.data))
        if event.data:
            await stream.handle(Body(stream_id=event.stream_id, data=event.data))

    async def _taken(self, stream_id: int, size: int) -> None:
        if size and not self._ending:
            try:
                self.connection.acknowledge_received_data(size, stream_id)
            except ProtocolError:
                return
            await self._flush()

    async def _stream_ended(self, event: frames.StreamEnded) -> None:
        self._unended.discard(event.stream_id)
        if self._forget_linger(event.stream_id):
            await self._settle()
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            await stream.handle(EndBody(stream_id=event.stream_id))

    async def _stream_reset(self, event: frames.StreamReset) -> None:
        if self._forget_linger(event.stream_id):
            await self._settle()
        if event.stream_id not in self.stream_buffers:
            await self._control(event)
            return
        await self._close_stream(event.stream_id)
        await self._drop_buffer(event.stream_id)
        if not self._resets.use(now=trio.current_time()):
            await self._end_for_abuse("resets")
            return
        await self._settle()

    async def _window_opened(self, event: frames.WindowUpdated) -> None:
        await self._window_updated(event.stream_id)
        await self._control(event)

    async def _settings_changed(self, event: frames.RemoteSettingsChanged) -> None:
        await self._window_updated(None)
        await self._control(event)

    async def _terminated(self, event: frames.ConnectionTerminated) -> None:
        if event.error_code != ErrorCodes.NO_ERROR:
            self._ending = True
            await self.send(Closed())
            return
        self._takes_requests = False
        await self._control(event)
        await self._settle()

    async def _control(self, _: frames.Event) -> None:
        if not self._control_frames.use(now=trio.current_time()):
            await self._end_for_abuse("control_frames")

    async def _send_data(self, stream_id: int) -> None:
        buffer = self.stream_buffers[stream_id]
        try:
            window = self.connection.local_flow_control_window(stream_id)
            data = await buffer.pop(max(0, min(window, self.connection.max_outbound_frame_size)))
            is_over = buffer.complete
            if data or is_over:
                self.connection.send_data(stream_id, data, end_stream=is_over)
            else:
                self.priority.block(stream_id)
        except ProtocolError:
            # The stream, or the connection, was closed by the peer; or the app's headers could not be sent.
            self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)
            is_over = True
        if is_over:
            if stream_id in self._unended:
                self._linger(stream_id)
            await self._drop_buffer(stream_id)
        await self._flush()
        await self._settle()

    def _linger(self, stream_id: int) -> None:
        limits = self._terms.limits
        unread = self._lingering[stream_id] = Unread(limits.linger_bytes)
        self.task_group.spawn(self._linger_no_longer, stream_id, unread, limits.linger_seconds)

    async def _linger_no_longer(self, stream_id: int, unread: Unread, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await unread.over.wait()
            return
        await self._end_linger(stream_id)

    async def _end_linger(self, stream_id: int) -> None:
        """The client had its time and its bytes: ask it to stop."""
        if self._forget_linger(stream_id):
            self._reset(stream_id, ErrorCodes.NO_ERROR)
            self._is_unread = True
            await self._flush()
            await self._settle()

    def _forget_linger(self, stream_id: int) -> bool:
        unread = self._lingering.pop(stream_id, None)
        if unread is not None:
            unread.over.set()
        return unread is not None

    async def _answer_over(self, stream_id: int) -> None:
        """The app has ended: its stream ends behind the answer, or now if there is no whole answer."""
        await self._close_stream(stream_id)
        if stream_id in self.stream_buffers and stream_id not in self._finished:
            self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._drop_buffer(stream_id)
            await self._flush()
        await self._settle()

    async def _drop_buffer(self, stream_id: int) -> None:
        self._unended.discard(stream_id)
        self._finished.discard(stream_id)
        await self.stream_buffers.pop(stream_id).close()
        self.priority.remove_stream(stream_id)

    @property
    def _is_busy(self) -> bool:
        return bool(self.streams or self.stream_buffers)

    async def _settle(self) -> None:
        """With nothing in flight: idle, or over."""
        if self._is_busy or self._ending:
            return
        if self._takes_requests and not self._terms.is_draining():
            await self.send(Updated(idle=True))
        elif not self._lingering:
            await self._say_goodbye(ErrorCodes.NO_ERROR)
            await self.send(Linger() if self._is_unread else Closed())

    async def _end_for_abuse(self, what: str, code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        self._terms.record_abuse(what)
        self.connection.close_connection(code)
        await self._end()

    async def _say_goodbye(self, code: ErrorCodes) -> None:
        self._ending = True
        self.connection.close_connection(code)
        await self._flush()

    async def _end(self) -> None:
        self._ending = True
        await self._flush()
        await self._abandon_streams()
        await self.send(Linger())

    async def _abandon_streams(self) -> None:
        """Tell the apps that nobody listens, and wake those that wait to send."""
        self._ending = True
        self.closed = True
        for stream_id in list(self.streams):
            await self._close_stream(stream_id)
        for stream_id in list(self.stream_buffers):
            await self._drop_buffer(stream_id)
        for stream_id in list(self._lingering):
            self._forget_linger(stream_id)
        await self.has_data.set()

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        try:
            self.connection.reset_stream(stream_id, code)
        except ProtocolError:
            return


def _find_fault(headers: Any, limits: HttpLimits) -> HeadFault | None:
    size = sum(len(name) + len(value) + _HEADER_OVERHEAD_BYTES for name, value in headers)
    if size > limits.max_head_bytes:
        return HeadFault(HEAD_TOO_LARGE, "head_too_large")
    if len(headers) > limits.max_headers + _LEAST_PSEUDO_HEADERS:
        return HeadFault(HEAD_TOO_LARGE, "too_many_headers")
    pseudo = dict(headers[:_MOST_PSEUDO_HEADERS])
    if pseudo[b":method"] == b"CONNECT":
        return HeadFault(BAD_REQUEST, "connect")
    if not pseudo[b":path"].isascii() or not pseudo[b":method"].isascii():
        return HeadFault(BAD_REQUEST, "request_line")
    return None
