"""Whether it is suspicious that nothing comes: what an app hears of a field, held against former weeks.

Nights, weekends and lean hours differ from business to business, so nothing is assumed about them. What would
have come by now, had the silence not begun, is added up hour by hour, and each hour counts for the *least*
that came in it, in the hour before or the hour after, in any of the last four weeks that are known. So a
night that was always quiet adds nothing, an hour that summer time has moved adds nothing, and a field that
comes now and then never adds up to anything: of it nothing is said.

`docs/observing.md` tells the rule to operators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.core.heard import HOUR_MS, WEEK_HOURS, WEEKS, Heard

DAY_MS: Final = 24 * HOUR_MS

MISSED: Final = 20.0
"""Notifications that should have come by the leanest measure: by chance that many do not stay out at once."""
AT_LEAST_MS: Final = 5 * 60_000
"""Of silence, however busy the field: Meta pauses for a minute or two when it deploys."""
TIMES_USUAL: Final = 10
"""Usual intervals of silence, at the least."""

STEADY_AFTER_MS: Final = DAY_MS
"""Before a week is known: so long must a field be known, a night included..."""
STEADY_NUMBER: Final = 100
"""...with so many notifications..."""
STEADY_LONGEST_MS: Final = HOUR_MS
"""...and never a longer quiet; of one that has quiet hours nothing is said in its first week."""
STEADY_AT_LEAST_MS: Final = 15 * 60_000
STEADY_TIMES_LONGEST: Final = 6
"""Then a silence is suspicious that is so many times the longest before it."""
LOOKED_BACK_HOURS: Final = WEEK_HOURS
"""Of a silence, added up at most: a week says it all."""


class Hearing(StrEnum):
    """What a silence says."""

    USUAL = "usual"
    """Nothing out of the ordinary."""
    LEARNING = "learning"
    """Too little is known to say anything."""
    SUSPICIOUS = "suspicious"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """How long nothing has come, and what to think of it."""

    hearing: Hearing
    since_ms: int
    silent_ms: int
    missed: float
    """What should have come in that time by the leanest measure."""


def judge_silence(heard: Heard, *, listening_since_ms: int, now_ms: int) -> Silence:
    """Judge the silence of a field since it was last heard, or since we listen: what came while nobody did
    comes again."""
    since_ms = max(heard.last_ms, listening_since_ms)
    silent_ms = max(0, now_ms - since_ms)
    known_ms = now_ms - heard.first_ms
    if known_ms < (WEEK_HOURS + 1) * HOUR_MS:
        missed, hearing = 0.0, _judge_steady(heard, known_ms, silent_ms)
    else:
        missed = missed_since(heard, since_ms, now_ms)
        long_ms = max(AT_LEAST_MS, TIMES_USUAL * heard.usual_ms)
        hearing = Hearing.SUSPICIOUS if missed >= MISSED and silent_ms >= long_ms else Hearing.USUAL
    return Silence(hearing=hearing, since_ms=since_ms, silent_ms=silent_ms, missed=missed)


def _judge_steady(heard: Heard, known_ms: int, silent_ms: int) -> Hearing:
    """Judge in the first week, in which only what never paused can be judged."""
    if (
        known_ms < STEADY_AFTER_MS
        or heard.received < STEADY_NUMBER
        or heard.longest_ms > STEADY_LONGEST_MS
        or heard.last_ms - heard.first_ms < STEADY_AFTER_MS
    ):
        return Hearing.LEARNING
    long_ms = max(STEADY_AT_LEAST_MS, STEADY_TIMES_LONGEST * heard.longest_ms)
    return Hearing.SUSPICIOUS if silent_ms >= long_ms else Hearing.USUAL


def missed_since(heard: Heard, since_ms: int, now_ms: int) -> float:
    """Return how many changes should have come by the leanest measure."""
    missed = 0.0
    start_ms = max(since_ms, now_ms - LOOKED_BACK_HOURS * HOUR_MS)
    first_hour = heard.first_ms // HOUR_MS + 1  # the hour in which it was first heard was not a whole one
    for hour in range(start_ms // HOUR_MS, now_ms // HOUR_MS + 1):
        within_ms = min(now_ms, (hour + 1) * HOUR_MS) - max(start_ms, hour * HOUR_MS)
        if within_ms > 0:
            missed += least_of(heard.hours, hour, first_hour) * within_ms / HOUR_MS
    return missed


def least_of(hours: Mapping[int, int], hour: int, first_hour: int) -> int:
    """Return the least that came at this hour of the week, or beside it, in the weeks that are known; 0 where
    none is."""
    least: int | None = None
    for week in range(1, WEEKS + 1):
        same = hour - week * WEEK_HOURS
        if same - 1 < first_hour:
            break
        for near in (same - 1, same, same + 1):
            came = hours.get(near, 0)
            if not came:
                return 0
            least = came if least is None else min(least, came)
    return least or 0
