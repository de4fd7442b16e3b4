"""Pauses of one target: when it is left alone, and what that does to the give-up clock. Pure.

A target's pauses are kept as long as some delivery that waits was there during one of them: the give-up
clock stands still while paused, so the end of a clock depends on every pause since it started. They are
disjoint and in order of time; at most the last one is going on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

Pauses = tuple["Pause", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One pause. Times are Unix, in milliseconds."""

    from_ms: int
    until_ms: int | None
    """Its end, planned or past; None: until somebody resumes."""
    reason: str = ""
    rate_per_second: float | None = None
    """How many attempts start a second afterwards, until nothing that is due waits; None: no limit."""


def current(pauses: Pauses, now_ms: int) -> Pause | None:
    """Return the pause that is going on; a clock that was set back before its begin does not end it."""
    if pauses and (pauses[-1].until_ms is None or max(now_ms, pauses[-1].from_ms) < pauses[-1].until_ms):
        return pauses[-1]
    return None


def rate_after(pauses: Pauses) -> float | None:
    """Return the rate at which what has gathered goes out once no pause is going on."""
    return pauses[-1].rate_per_second if pauses else None


def paused(pauses: Pauses, *, now_ms: int, until_ms: int | None, reason: str) -> Pauses:
    """Return the pauses with one going on; one that goes on already takes the new end and reason."""
    if (going_on := current(pauses, now_ms)) is not None:
        return (*pauses[:-1], replace(going_on, until_ms=until_ms, reason=reason))
    from_ms = max(now_ms, pauses[-1].until_ms or 0, pauses[-1].from_ms + 1) if pauses else now_ms
    if until_ms is not None and until_ms <= from_ms:
        return pauses
    return (*pauses, Pause(from_ms=from_ms, until_ms=until_ms, reason=reason))


def resumed(pauses: Pauses, *, now_ms: int, rate_per_second: float | None) -> Pauses:
    """Return the pauses with none going on, and a rate for what has gathered."""
    if not pauses:
        return () if rate_per_second is None else (_moment(now_ms, rate_per_second),)
    last = pauses[-1]
    end_ms = now_ms if last.until_ms is None else min(now_ms, last.until_ms)
    last = replace(last, until_ms=max(end_ms, last.from_ms), rate_per_second=rate_per_second)
    return (*pauses[:-1], last)


def caught_up(pauses: Pauses) -> Pauses:
    """Return the pauses without the rate of the last."""
    return (*pauses[:-1], replace(pauses[-1], rate_per_second=None)) if pauses else ()


def kept(pauses: Pauses, *, now_ms: int, oldest_clock_ms: int | None) -> Pauses:
    """Leave out what no clock that runs has seen: `oldest_clock_ms` started first; None: nothing waits."""
    return tuple(
        pause
        for pause in pauses
        if pause.until_ms is None
        or pause.until_ms > now_ms
        or pause.rate_per_second is not None
        or (oldest_clock_ms is not None and pause.until_ms > oldest_clock_ms)
    )


def standstill_ms(pauses: Pauses, *, started_ms: int, now_ms: int) -> int:
    """Return for how long a clock that started then has stood still."""
    return sum(
        max(0, end - max(pause.from_ms, started_ms))
        for pause, end in zip(pauses, _ends(pauses, now_ms), strict=True)
    )


def started_by_ms(pauses: Pauses, *, now_ms: int, running_ms: int) -> int:
    """Return the latest start of a clock that has run for so long: what `standstill_ms` is left out of."""
    at_ms = now_ms
    for pause, end in zip(reversed(pauses), reversed(_ends(pauses, now_ms)), strict=True):
        if end <= pause.from_ms:
            continue
        if at_ms - end >= running_ms:
            break
        running_ms -= at_ms - end
        at_ms = pause.from_ms
    return at_ms - running_ms


def _ends(pauses: Pauses, now_ms: int) -> Sequence[int]:
    return [now_ms if pause.until_ms is None else min(pause.until_ms, now_ms) for pause in pauses]


def _moment(now_ms: int, rate_per_second: float) -> Pause:
    return Pause(from_ms=now_ms, until_ms=now_ms, rate_per_second=rate_per_second)
