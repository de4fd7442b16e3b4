"""How the last notifications of an app came: with an accepted certificate, or without one."""

from collections import deque
from typing import Final

BLOCK: Final = 500
"""Notifications that are forgotten together."""
BLOCKS: Final = 20
"""Ten thousand notifications: a day's worth for a small app, a minute of a large one's worst hour."""


class Recent:
    """Counts the last 10 000 (up to 10 499) notifications, in a ring of blocks."""

    __slots__ = ("_blocks", "_seen", "_without")

    def __init__(self) -> None:
        self._blocks: deque[int] = deque(maxlen=BLOCKS)
        """Of each full block: how many came without."""
        self._seen = 0
        self._without = 0

    def add(self, *, accepted: bool) -> None:
        """Count one notification; on the way of every acknowledgement."""
        self._seen += 1
        if not accepted:
            self._without += 1
        if self._seen == BLOCK:
            self._blocks.append(self._without)
            self._seen = self._without = 0

    @property
    def notifications(self) -> int:
        """How many are known."""
        return len(self._blocks) * BLOCK + self._seen

    @property
    def without_accepted(self) -> int:
        """How many of them came without an accepted certificate."""
        return sum(self._blocks) + self._without
