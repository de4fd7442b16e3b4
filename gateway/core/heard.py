"""What is known of what Meta sends: a line of the gap ledger, a field's history, and several workers' as one.

Times are Unix milliseconds.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import msgspec

HOUR_MS: Final = 3_600_000
WEEK_HOURS: Final = 168
WEEKS: Final = 4
"""Of which the hours are remembered."""
KEPT_HOURS: Final = WEEKS * WEEK_HOURS + 2
"""With the hours beside the oldest one."""
STEP: Final = 1.15
"""By how much a running median moves with each interval that it sees: within a factor of two after five."""

Way = tuple[str, str, str, str, str]
"""App, object, field, WABA and phone number id."""


class Slot(msgspec.Struct, kw_only=True, gc=False):
    """One line of the gap ledger. No cycles: it is left to reference counts."""

    app: str
    object: str
    field: str
    waba: str
    phone_number_id: str
    first_ms: int
    last_ms: int
    count: int = 0
    """Changes, over all lives of the process."""
    usual_ms: float = 0.0
    """The usual interval: a running median; 0: not known yet."""
    lag_ms: int | None = None
    """From Meta's own timestamp to our acceptance, as last seen."""
    lag_at_ms: int = 0
    delivered: dict[str, tuple[int, int]] = {}
    """Target -> how many notifications it has taken, and when the last."""

    @property
    def way(self) -> Way:
        """What it is of."""
        return (self.app, self.object, self.field, self.waba, self.phone_number_id)


class Heard(msgspec.Struct, kw_only=True):
    """The history of one field of an app, whatever its WABA and phone number."""

    app: str
    object: str
    """Of the known table, as `field`; else `other`."""
    field: str
    first_ms: int
    last_ms: int
    received: int = 0
    """Changes."""
    usual_ms: float = 0.0
    longest_ms: int = 0
    """The longest quiet between two."""
    lag_ms: int | None = None
    lag_at_ms: int = 0
    hours: dict[int, int] = {}
    """Number of the hour since 1970 (UTC) -> changes; hours without any are left out."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is of."""
        return (self.app, self.object, self.field)

    def take(self, came: int, *, last_ms: int, hour: int) -> None:
        """Count in what came since the last time."""
        intervals = came if self.received else came - 1
        self.usual_ms = running_median(self.usual_ms, last_ms - self.last_ms, intervals)
        self.last_ms = max(self.last_ms, last_ms)
        self.received += came
        if hour not in self.hours:
            self.hours = {one: number for one, number in self.hours.items() if one > hour - KEPT_HOURS}
        self.hours[hour] = self.hours.get(hour, 0) + came


def running_median(median: float, span_ms: int, intervals: int) -> float:
    """Move a median by the mean of some intervals that together took so long.

    One number of memory: up a step where the interval is longer, down where it is shorter. A night among a
    thousand intervals moves it by one step.
    """
    if intervals <= 0:
        return median
    mean = max(1.0, span_ms / intervals)
    if not median:
        return mean
    return min(median * STEP, mean) if mean > median else max(median / STEP, mean)


_Timed = TypeVar("_Timed", Slot, Heard)


def merge_slots(parts: Iterable[Sequence[Slot]]) -> list[Slot]:
    """Make one ledger of several workers', those heard of last first."""
    by_way: dict[Way, list[Slot]] = {}
    for slot in (slot for part in parts for slot in part):
        by_way.setdefault(slot.way, []).append(slot)
    merged = [_merge_slot(group) for group in by_way.values()]
    return sorted(merged, key=lambda slot: -slot.last_ms)


def _merge_slot(group: list[Slot]) -> Slot:
    delivered: dict[str, tuple[int, int]] = {}
    for target, (count, last_ms) in (item for slot in group for item in slot.delivered.items()):
        before, before_ms = delivered.get(target, (0, 0))
        delivered[target] = (before + count, max(before_ms, last_ms))
    latest = max(group, key=lambda slot: slot.lag_at_ms)
    return msgspec.structs.replace(
        group[0],
        first_ms=min(slot.first_ms for slot in group),
        last_ms=max(slot.last_ms for slot in group),
        count=sum(slot.count for slot in group),
        usual_ms=_together([slot.usual_ms for slot in group]),
        lag_ms=latest.lag_ms,
        lag_at_ms=latest.lag_at_ms,
        delivered=delivered,
    )


def merge_tracks(parts: Iterable[Sequence[Heard]]) -> list[Heard]:
    """Make one history of several workers', field by field."""
    by_key: dict[tuple[str, str, str], list[Heard]] = {}
    for track in (track for part in parts for track in part):
        by_key.setdefault(track.key, []).append(track)
    return [_merge_track(group) for group in by_key.values()]


def _merge_track(group: list[Heard]) -> Heard:
    hours: dict[int, int] = {}
    for hour, number in (item for track in group for item in track.hours.items()):
        hours[hour] = hours.get(hour, 0) + number
    first_ms = min(track.first_ms for track in group)
    latest = max(group, key=lambda track: track.lag_at_ms)
    return msgspec.structs.replace(
        group[0],
        first_ms=first_ms,
        last_ms=max(track.last_ms for track in group),
        received=sum(track.received for track in group),
        usual_ms=_together([track.usual_ms for track in group]),
        # All were quiet together for no longer than any of them; one that is new has seen nothing yet.
        longest_ms=min(track.longest_ms for track in group if track.first_ms <= first_ms + HOUR_MS),
        lag_ms=latest.lag_ms,
        lag_at_ms=latest.lag_at_ms,
        hours=hours,
    )


def _together(usual_ms: Sequence[float]) -> float:
    """Return the interval of several sources together: their rates add up."""
    rate = sum(1 / one for one in usual_ms if one)
    return 1 / rate if rate else 0.0
