"""HTTP/2: whatever frames come, the connection ends and no defect shows.

The first byte says how to read the rest. Even: frames, each as four bytes (type, flags, stream, length) and
payload, so that lengths fit; odd: bytes as they are, after the preface. The second says how it is cut.
"""

from collections.abc import Iterator
from typing import Final

import h2.config
import h2.connection

from fuzz.targets.conversation import converse, cut

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS: Final = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def one(data: bytes) -> None:
    """Send it whole and cut."""
    how, pattern, rest = data[:1], int.from_bytes(data[1:2], "big"), data[2:]
    stream = PREFACE + _SETTINGS + (_frames(rest) if not how or how[0] % 2 == 0 else rest)
    converse([stream], alpn="h2")
    converse(cut(stream, pattern), alpn="h2")


def _frames(data: bytes) -> bytes:
    written = b""
    while len(data) >= 4:  # the four bytes of the docstring
        kind, flags, stream, size = data[:4]
        payload, data = data[4 : 4 + size], data[4 + size :]
        head = len(payload).to_bytes(3, "big") + bytes([kind % 12, flags]) + stream.to_bytes(4, "big")
        written += head + payload
    return written


def seeds() -> Iterator[bytes]:
    """A conversation of every kind of frame, as bytes and as frames."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    raw = [client.data_to_send()[len(PREFACE) :]]
    for number, path in enumerate((b"/a", b"/early", b"/b")):
        stream_id = client.get_next_available_stream_id()
        fields = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", path)]
        client.send_headers(stream_id, fields, priority_weight=9 if number else None)
        client.send_data(stream_id, b"hello", end_stream=number != 1, pad_length=3 if number else None)
        raw.append(client.data_to_send())
    client.ping(b"12345678")
    client.increment_flow_control_window(5)
    client.update_settings({4: 1000})
    client.reset_stream(3)
    client.close_connection()
    raw.append(client.data_to_send())
    yield b"\x01\x07" + b"".join(raw)
    for part in raw:
        yield b"\x01\x00" + part
    yield b"\x00\x05" + _short(b"".join(raw))


def _short(raw: bytes) -> bytes:
    """Write frames in the form of `_frames`."""
    written = b""
    while raw:
        size = int.from_bytes(raw[:3], "big")
        written += bytes([raw[3], raw[4], raw[8], size]) + raw[9 : 9 + size]
        raw = raw[9 + size :]
    return written
