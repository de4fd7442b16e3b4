"""Reading the frames of a SQLite log (WAL), without changing a byte of it.

The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

import struct
from pathlib import Path
from typing import Final

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_LITTLE_ENDIAN: Final = 0x377F0682
"""The magic number where checksums are over little-endian words; big-endian: one more."""


def commits_behind(log: Path, good: int, *, page_bytes: int) -> int:
    """Return how many commits of the log's present generation stand behind its first `good` frames.

    Frames of an earlier generation, which a checkpoint has moved, have other salts and do not count.
    """
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return 0
    with file:
        header = file.read(_HEADER_BYTES)
        first = file.read(_FRAME_HEADER_BYTES)
        if len(first) < _FRAME_HEADER_BYTES:
            return 0
        # A header that does not fit makes SQLite read nothing at all; then the frames tell the generation.
        salts = header[16:24] if _fits(header) else first[8:16]
        size = _FRAME_HEADER_BYTES + page_bytes
        commits = 0
        file.seek(_HEADER_BYTES + max(0, good) * size)
        while len(frame := file.read(_FRAME_HEADER_BYTES)) == _FRAME_HEADER_BYTES:
            # The size of the database after a commit; 0 in every other frame.
            commits += frame[8:16] == salts and frame[4:8] != bytes(4)
            file.seek(page_bytes, 1)
        return commits


def _fits(header: bytes) -> bool:
    """Whether the header's own checksum does."""
    magic = int.from_bytes(header[:4], "big")
    order = "<" if magic == _LITTLE_ENDIAN else ">"
    one = two = 0
    for first, second in struct.iter_unpack(f"{order}II", header[:24]):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return struct.pack(">II", one, two) == header[24:32]
