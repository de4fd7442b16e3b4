"""How many lines a kind of event may write: a scanner must not fill the disk with its own refusals."""

from typing import Final

BURST_LINES: Final = 20
"""Written at once: enough to see a pattern."""


class LineBudget:
    """A token bucket for log lines: pure, time comes in."""

    def __init__(self, *, lines_per_second: float, burst_lines: int = BURST_LINES) -> None:
        self._lines_per_second = lines_per_second
        self._burst_lines = float(burst_lines)
        self._left = self._burst_lines
        self._at_seconds = 0.0
        self._suppressed = 0

    def take(self, now_seconds: float) -> int | None:
        """Return how many lines were left out since the last one; None: leave this one out too."""
        earned = max(0.0, now_seconds - self._at_seconds) * self._lines_per_second
        self._left = min(self._burst_lines, self._left + earned)
        self._at_seconds = now_seconds
        if self._left < 1.0:
            self._suppressed += 1
            return None
        self._left -= 1.0
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
