"""What h2 does not say or do in public, in one place; tests/web/test_hypercorn_contract.py holds the names.

- It looks at the length of a frame when all of it is here: 16 MiB may be announced.
- After a GOAWAY of the peer it lets nothing more be sent, though streams that were begun are to be brought to
  their end (RFC 9113 section 6.8).
- It ends the connection for one stream beyond the promised number, even where the client cannot know the
  number yet; a stream error is enough (RFC 9113 section 5.1.2). So it bears as many more as one slice of
  bytes can open, and who calls refuses those before it feeds the next slice.
"""

from h2.connection import H2Connection
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

from gateway.web.limits import HttpLimits

SLICE_BYTES = 4096
"""What h2 is fed at once. It counts all open streams for each new one, so the work grows with the square of
what one slice can open: 315 at most."""
_LEAST_HEADERS_BYTES = 9 + 4
"""A frame's own head, and four pseudo-headers of one byte each (RFC 7541 section 6.1): the least request."""


def open_connection(connection: H2Connection, limits: HttpLimits) -> None:
    """Queue SETTINGS, and bear more streams than they promise: who calls refuses those."""
    # Anew without Hypercorn's ENABLE_CONNECT_PROTOCOL.
    connection.local_settings = _settings(limits, max_streams=limits.max_streams)
    connection.initiate_connection()
    borne = limits.max_streams + SLICE_BYTES // _LEAST_HEADERS_BYTES + 1
    connection.local_settings = _settings(limits, max_streams=borne)


def outlive_goaway(connection: H2Connection) -> None:
    """From now on a GOAWAY of the peer is told as an event, and changes nothing in h2."""
    connection._frame_dispatch_table[GoAwayFrame] = _tell  # noqa: SLF001 (no public way)


def has_begun_frame(connection: H2Connection) -> bool:
    """Say whether some of a frame, or of a header block, is here."""
    buffer = connection.incoming_buffer
    return bool(buffer._data or buffer._headers_buffer)  # noqa: SLF001 (nothing public says it)


def awaits_oversized_frame(connection: H2Connection) -> bool:
    """Say whether the frame that has begun announces more than may come."""
    announced = connection.incoming_buffer._data[:3]  # noqa: SLF001 (as above)
    return int.from_bytes(announced, "big") > connection.max_inbound_frame_size


def _settings(limits: HttpLimits, *, max_streams: int) -> Settings:
    return Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_head_bytes,
        },
    )


def _tell(frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
    event = ConnectionTerminated()
    event.error_code = frame.error_code
    event.last_stream_id = frame.last_stream_id
    return [], [event]
