"""Whose turn it is to accept, where several processes accept on the same sockets.

The kernel wakes all, and the same one tends to be first: with connections that stay open for hours, it would
have all of them and the others nothing to do. So each process shows how many it has, in memory that all
share, and whoever has more than another lets it go first for a moment. It is a courtesy, and no lock: one
that is busy, hung or dead keeps nobody waiting for longer than that moment.
"""

import mmap
import os
from collections.abc import Sequence
from typing import Final

COURTESY_SECONDS: Final = 0.01
"""How long another goes first: one that is idle takes a fraction of a millisecond, and a client notices none
of it."""
ABSENT: Final = 2**62
"""As many connections as no process has: nobody waits for it."""
_SLOT_BYTES: Final = 8


def make_board(count: int) -> int:
    """Make shared memory for so many processes; return its descriptor, for them to inherit."""
    descriptor = os.memfd_create("gateway-connections")
    os.ftruncate(descriptor, count * _SLOT_BYTES)
    return descriptor


class Turns:
    """What all processes show, and the place of one of them."""

    def __init__(self, descriptor: int, *, own: int) -> None:
        """`own` is the number of this process, from 0."""
        self._slots = memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size)).cast("q")
        self._own = own

    def show(self, connections: int) -> None:
        """Say how many this one has."""
        self._slots[self._own] = connections

    def leave(self, number: int) -> None:
        """Say that a process is not there."""
        self._slots[number] = ABSENT

    @property
    def shown(self) -> Sequence[int]:
        """What each has, by number."""
        return self._slots.tolist()

    @property
    def is_anothers(self) -> bool:
        """Whether another has fewer."""
        return min(self._slots) < self._slots[self._own]
