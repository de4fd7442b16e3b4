"""Where a slice ends, in a look through the bodies of a spool (promise 30).

Between two slices go the batches of everybody else, so a search of a million bodies delays no acknowledgement
by more than one slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SLICE_BODIES: Final = 512
"""Looked at in one slice at most..."""
SLICE_BYTES: Final = 256 * 1024
"""...and so many bytes of them, but at least one: some three milliseconds (5 us a body of 500 bytes)."""
LATEST: Final = 2**62
"""Before it is every body: where the first slice begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some bodies in a row, the latest first."""

    latest: int
    earliest: int
    bodies: int
    before: int | None
    """Where the next slice begins; None: this is the last."""


def cut(sizes: Sequence[tuple[int, int]]) -> Slice | None:
    """Return the first slice of `SLICE_BODIES` numbers and sizes in bytes, the latest first; None of none."""
    earliest, bodies, size_bytes = LATEST, 0, 0
    for seq, raw_bytes in sizes:
        size_bytes += raw_bytes
        if bodies and size_bytes > SLICE_BYTES:
            break
        earliest, bodies = seq, bodies + 1
    if not bodies:
        return None
    is_all = bodies == len(sizes) < SLICE_BODIES
    return Slice(latest=sizes[0][0], earliest=earliest, bodies=bodies, before=None if is_all else earliest)
