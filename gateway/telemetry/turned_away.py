"""Who was turned away lately, in bounded memory: what the judge of conditions asks (`core.conditions`).

The refusal ledger keeps each refusal with all that is known of it, the last two hundred; this keeps times
alone, so that a crowd of strangers cannot wash out what Meta met a minute ago.
"""

from collections import deque
from typing import Final

from gateway.core.conditions import Grade, TurnedAway

TIMES: Final = 20
"""Of each kind, the last: more say no more."""
KINDS: Final = 256
"""Apps times words times grades: some dozens are in use."""


class RecentlyTurnedAway:
    """One a process."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str, Grade], deque[int]] = {}

    def add(self, app: str, word: str, grade: Grade, now_ms: int) -> None:
        """Note one; `app` is empty where it is not known which it was for."""
        key = (app, word, grade)
        times = self._times.get(key)
        if times is None:
            if len(self._times) >= KINDS:
                return
            times = self._times[key] = deque(maxlen=TIMES)
        times.append(now_ms)

    def all(self) -> list[TurnedAway]:
        """Return what is known."""
        return [
            TurnedAway(app=app, word=word, grade=grade, times_ms=list(times))
            for (app, word, grade), times in self._times.items()
        ]
