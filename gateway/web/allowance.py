"""How much of something a connection may do before it is called a flood. Pure: time is an argument."""

from math import inf


class Allowance:
    """At most `limit` in any window of `window_seconds`, counted in windows that begin with the first use."""

    def __init__(self, limit: int, *, window_seconds: float = inf) -> None:
        self._limit = limit
        self._window_seconds = window_seconds
        self._used = 0
        self._window_ends = -inf

    def restart(self) -> None:
        """Start a new window with the next use."""
        self._window_ends = -inf

    def use(self, *, now: float) -> bool:
        """Take one; False when there is none left. `now` in seconds of any steady clock."""
        if now >= self._window_ends:
            self._used = 0
            self._window_ends = now + self._window_seconds
        self._used += 1
        return self._used <= self._limit
