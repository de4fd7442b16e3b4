"""What is taken for granted of Hypercorn 0.18, h11 and h2: an upgrade that changes it fails here first."""

import inspect
from typing import Any

import h11
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.frame_buffer import FrameBuffer
from hypercorn import protocol
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hyperframe.frame import GoAwayFrame, SettingsFrame

_STREAM = ["self", "app", "config", "context", "task_group"]
_PEER = ["ssl", "client", "server", "send"]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (TCPServer.__init__, ["self", "app", "config", "context", "state", "stream"]),
        (TCPServer.protocol_send, ["self", "event"]),
        (TCPServer._read_data, ["self"]),
        (TCPServer._close, ["self"]),
        (H11Protocol.__init__, [*_STREAM, "connection_state", *_PEER]),
        (H11Protocol.handle, ["self", "event"]),
        (H11Protocol.stream_send, ["self", "event"]),
        (H11Protocol._handle_events, ["self"]),
        (H11Protocol._create_stream, ["self", "request"]),
        (H11Protocol._maybe_recycle, ["self"]),
        (H11Protocol._close_stream, ["self"]),
        (H11Protocol._send_h11_event, ["self", "event"]),
        (H11Protocol._send_error_response, ["self", "status_code"]),
        (H2Protocol.__init__, [*_STREAM, "connection_state", *_PEER]),
        (H2Protocol.initiate, ["self", "headers", "settings"]),
        (H2Protocol.handle, ["self", "event"]),
        (H2Protocol.send_task, ["self"]),
        (H2Protocol.stream_send, ["self", "event"]),
        (H2Protocol._handle_events, ["self", "events"]),
        (H2Protocol._create_stream, ["self", "request"]),
        (H2Protocol._send_data, ["self", "stream_id"]),
        (H2Protocol._window_updated, ["self", "stream_id"]),
        (H2Protocol._close_stream, ["self", "stream_id"]),
        (H2Protocol._flush, ["self"]),
        (HTTPStream.__init__, [*_STREAM, *_PEER, "stream_id"]),
        (HTTPStream.handle, ["self", "event"]),
        (HTTPStream.app_send, ["self", "message"]),
        (TaskGroup.spawn_app, ["self", "app", "config", "scope", "send"]),
        (TaskGroup.spawn, ["self", "func", "args"]),
        (WorkerContext.__init__, ["self", "max_requests"]),
        (StreamBuffer.pop, ["self", "max_length"]),
        (StreamBuffer.close, ["self"]),
        (Config.response_headers, ["self", "protocol"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_signatures(function: Any, parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == parameters


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (RawData, ["data", "address"]),
        (Closed, []),
        (Updated, ["idle"]),
        (Body, ["stream_id", "data"]),
        (EndBody, ["stream_id"]),
        (Request, ["stream_id", "headers", "http_version", "method", "raw_path", "state"]),
        (Response, ["stream_id", "headers", "status_code"]),
        (StreamClosed, ["stream_id"]),
    ],
)
def test_events(event: Any, fields: list[str]) -> None:
    assert list(inspect.signature(event).parameters) == fields


def test_constants() -> None:
    assert STREAM_ID == 1
    assert MAX_RECV == 65_536


def test_the_fallback_that_is_kept_out_is_still_there() -> None:
    """Why Connection has a run of its own; should Hypercorn drop the fallback, think again."""
    assert "except AttributeError:  # Not SSL" in inspect.getsource(TCPServer.run)


def test_the_protocols_that_are_kept_out_are_chosen_in_the_wrapper() -> None:
    """Why protocols are made here and not by ProtocolWrapper: it goes over to HTTP/2 at the client's word."""
    source = inspect.getsource(protocol.ProtocolWrapper.handle)
    assert "H2ProtocolAssumedError" in source
    assert "H2CProtocolRequiredError" in source


def test_h11_holds_what_it_has_not_read() -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HT")
    assert connection.next_event() is h11.NEED_DATA
    assert connection.trailing_data == (b"GET / HT", False)


def test_h2_tells_of_whole_frames_only() -> None:
    """Why Http2 looks into h2's buffer: a frame of 16 MiB is refused when it is here, not before."""
    buffer = FrameBuffer()
    assert buffer._data == b""
    assert buffer._headers_buffer == []
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()
    connection.receive_data(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100)
    assert connection.incoming_buffer._data == b"\xff" * 100


def test_h2_ends_everything_at_a_goaway() -> None:
    """Why h2_inside takes GOAWAY out of h2's hands; should h2 go on by itself, leave it there."""
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()
    connection.receive_data(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())
    assert GoAwayFrame in connection._frame_dispatch_table
    connection.receive_data(GoAwayFrame(0).serialize())
    with pytest.raises(ProtocolError):
        connection.ping(bytes(8))


def test_h2_counts_the_streams_by_its_settings_of_the_moment() -> None:
    """Why h2_inside may promise a number and bear more."""
    assert "self.local_settings.max_concurrent_streams" in inspect.getsource(
        H2Connection._receive_headers_frame
    )
