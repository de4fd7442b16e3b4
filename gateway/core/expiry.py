"""When to remind of a certificate that ends: 30, 14 and 3 days before, and when it has ended. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DAY_MS: Final = 86_400_000

STAGES_DAYS: Final = (3, 14, 30)
"""At thirty Let's Encrypt should have renewed, at fourteen it has failed twice, at three somebody gets up."""

ENDED: Final = 0
"""The stage of what has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One certificate that ends."""

    name: str
    role: str
    """`server`, `anchor`, `staged` or `client`."""
    subject: str
    """RFC 4514; empty where it is not known."""
    not_after_ms: int
    """Unix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """A certificate that has come to another stage."""

    term: Term
    ended: bool
    days_left: int
    """Whole days; negative once it has ended."""


class Reminders:
    """Knows of what has been reminded: once a stage and certificate."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, int], int] = {}

    def due(self, terms: Sequence[Term], *, now_ms: int) -> list[Reminder]:
        """Return what has come to another stage since it was last asked; what is gone is forgotten."""
        told, self._told = self._told, {}
        found = []
        for term in terms:
            stage = stage_of(term.not_after_ms, now_ms=now_ms)
            if stage is None:
                continue
            key = (term.name, term.not_after_ms)
            self._told[key] = stage
            if told.get(key) != stage:
                left = (term.not_after_ms - now_ms) // DAY_MS
                found.append(Reminder(term=term, ended=stage == ENDED, days_left=left))
        return found


def stage_of(not_after_ms: int, *, now_ms: int) -> int | None:
    """Return how many days before its end a certificate stands at most (3, 14, 30), `ENDED`, or None."""
    if not_after_ms <= now_ms:
        return ENDED
    return next((days for days in STAGES_DAYS if not_after_ms - now_ms <= days * DAY_MS), None)
