"""How much of what no route takes is kept whole. Pure: time is an argument.

Each copy is a row in the spool and a file with fsyncs of its own, some hundred times what a count costs. A
field that nobody routes, at full rate, must not slow what is routed, nor fill the disk and so shut the door;
and the first few thousand show as well as a million what a route is missing.
"""

from typing import Final

COPIES_PER_SECOND: Final = 50.0
"""Kept whole for as long as it goes on: a tenth of what an ordinary disk can sync, and 4 million a day."""
BURST_COPIES: Final = 10_000
"""Kept whole at once, and again after some minutes of quiet: a route that was forgotten for a while loses
nothing."""


class CopyBudget:
    """A token bucket."""

    def __init__(self, *, per_second: float = COPIES_PER_SECOND, burst: int = BURST_COPIES) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._left = float(burst)
        self._at_seconds = 0.0

    def take(self, now_seconds: float) -> bool:
        """Whether one more is kept whole; `now_seconds` of any steady clock."""
        earned = max(0.0, now_seconds - self._at_seconds) * self._per_second
        self._left = min(self._burst, self._left + earned)
        self._at_seconds = now_seconds
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
