"""An hour of what the metrics count, in slots of ten seconds: what the charts draw. Pure; time comes in.

A slot holds rates (per second, over the time that really went by) and levels. What is not known is NaN:
before the start, while nobody looked, and after a restart made a count fall. Bounded: `SLOTS` values a
series, and no more than `MAX_SERIES` of them; a series with nothing in the last hour is forgotten.
"""

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from gateway.telemetry.metrics import PREFIX
from gateway.telemetry.sums import Families, Family

SLOT_MS: Final = 10_000
"""As often as a scraper would look: an hour is then as many points as a small chart has pixels."""
SLOTS: Final = 360
MAX_SERIES: Final = 2_000
"""Some 6 MB: six series for each of 300 targets, and every known field."""
FORGET_EVERY_SLOTS: Final = 60
"""Series come and go with reloads: looking every ten minutes is often enough."""
RECENT_SLOTS: Final = 6
"""What "now" is: the mean of the last minute."""

Key = tuple[str, ...]
"""What a series is of: `("accepted",)`, `("delivered", TARGET)`, `("field", APP, OBJECT, FIELD)`."""

_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES: Final = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Rates = Mapping[Key, float]
"""Per second."""
NO_RATES: Final[Rates] = {}

# What is counted: key, metric, labels that must be so, labels that become part of the key.
_COUNTERS: Final[Sequence[tuple[str, str, Mapping[str, str], tuple[str, ...]]]] = (
    ("accepted", "ack_seconds_count", {}, ()),
    ("delivered", "deliveries_total", {"outcome": "delivered"}, ()),
    ("delivered", "deliveries_total", {"outcome": "delivered"}, ("target",)),
    ("failed", "deliveries_total", {"outcome": "retried"}, ("target",)),
    ("failed", "deliveries_total", {"outcome": "refused"}, ("target",)),
    ("field", "notifications_total", {}, ("app", "object", "field")),
)
_LEVELS: Final[Sequence[tuple[str, str, tuple[str, ...]]]] = (
    ("waiting", "spool_pending", ()),
    ("waiting", "spool_pending", ("target",)),
)
_QUANTILES: Final = {"p50": 0.5, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the metrics said at one moment."""

    at_ms: int
    counts: Mapping[Key, float]
    levels: Mapping[Key, float]
    buckets: Mapping[float, float]
    """Of acknowledgements: upper bound in seconds -> how many, in all."""


def read_metrics(families: Families, *, at_ms: int) -> Reading:
    """Take what the charts need out of an exposition (`telemetry.sums.read_families`)."""
    counts: dict[Key, float] = {}
    for name, metric, wanted, parts in _COUNTERS:
        for labels, value in _series(families, metric):
            if all(labels.get(label) == text for label, text in wanted.items()):
                _add(counts, (name, *(labels.get(part, "") for part in parts)), value)
    levels: dict[Key, float] = {}
    for name, metric, parts in _LEVELS:
        for labels, value in _series(families, metric):
            _add(levels, (name, *(labels.get(part, "") for part in parts)), value)
    buckets: dict[float, float] = {}
    for labels, value in _series(families, "ack_seconds_bucket"):
        _add(buckets, float(labels.get("le", "inf")), value)
    return Reading(at_ms=at_ms, counts=counts, levels=levels, buckets=buckets)


def _series(families: Families, metric: str) -> Iterator[tuple[dict[str, str], float]]:
    whole = PREFIX + metric
    for family in _families_of(families, whole):
        for series, value in family.series.items():
            name, _, labels = series.partition("{")
            if name == whole:
                yield {key: _unescape(text) for key, text in _LABEL.findall(labels)}, value


def _families_of(families: Families, name: str) -> Iterable[Family]:
    # A histogram's series stand under its own name, and a counter's may stand under the name without _total.
    stems = (name, name.removesuffix("_bucket"), name.removesuffix("_count"), name.removesuffix("_total"))
    return [families[stem] for stem in dict.fromkeys(stems) if stem in families]


def _unescape(text: str) -> str:
    return re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), text) if "\\" in text else text


K = TypeVar("K")


def _add(sums: dict[K, float], key: K, value: float) -> None:
    sums[key] = sums.get(key, 0.0) + value


class History:
    """The last hour. One writer; whoever reads does so between two readings."""

    def __init__(self) -> None:
        self._series: dict[Key, array[float]] = {}
        self._slot: int | None = None
        """Of the last reading: slots are counted from 1970, so that a gap is a gap."""
        self._last: Reading | None = None
        self.began_ms: int | None = None
        """The first reading."""

    @property
    def until_ms(self) -> int:
        """The end of the newest slot, Unix; 0 before the first reading."""
        return 0 if self._slot is None else (self._slot + 1) * SLOT_MS

    def rates(self, reading: Reading) -> Rates:
        """Return what was counted in a second since the last reading; empty where there was none."""
        last = self._last
        if last is None or not 0 < reading.at_ms - last.at_ms <= SLOTS * SLOT_MS:
            return {}
        seconds = (reading.at_ms - last.at_ms) / 1000
        grown = {key: count - last.counts.get(key, 0.0) for key, count in reading.counts.items()}
        return {key: number / seconds for key, number in grown.items() if number >= 0}

    def take(self, reading: Reading, *, beside: Rates = NO_RATES) -> None:
        """Put a reading in, with what others count; one that is not newer than the last (the clock was set
        back) begins anew."""
        rates = self.rates(reading)
        slot, last = reading.at_ms // SLOT_MS, self._last
        self._last = reading
        if self.began_ms is None:
            self.began_ms = reading.at_ms
        if self._slot is not None and not 0 <= slot - self._slot <= SLOTS:
            self._series.clear()
            last = None
            self.began_ms = reading.at_ms
        elif self._slot is not None:
            self._clear(self._slot + 1, slot)
        self._slot = slot
        for key, level in reading.levels.items():
            self._put(key, slot, level)
        if last is None or reading.at_ms <= last.at_ms:
            return
        for key in rates.keys() | beside.keys():
            self._put(key, slot, rates.get(key, 0.0) + beside.get(key, 0.0))
        for name, value in quantiles(last.buckets, reading.buckets).items():
            self._put((name,), slot, value)
        if slot % FORGET_EVERY_SLOTS == 0:
            self._forget()

    def values(self, *key: str) -> list[float]:
        """Return the series, oldest first, `SLOTS` values, NaN where nothing is known."""
        kept = self._series.get(key)
        if kept is None or self._slot is None:
            return [math.nan] * SLOTS
        start = (self._slot + 1) % SLOTS
        return [*kept[start:], *kept[:start]]

    def now(self, *key: str) -> float | None:
        """Return the mean of what is known of the last minute; None where nothing is."""
        known = [value for value in self.values(*key)[-RECENT_SLOTS:] if not math.isnan(value)]
        return sum(known) / len(known) if known else None

    def _put(self, key: Key, slot: int, value: float) -> None:
        kept = self._series.get(key)
        if kept is None:
            if len(self._series) >= MAX_SERIES:
                return
            kept = self._series[key] = array("d", [math.nan]) * SLOTS
        kept[slot % SLOTS] = value

    def _clear(self, first: int, last: int) -> None:
        for slot in range(first, last + 1):
            for kept in self._series.values():
                kept[slot % SLOTS] = math.nan

    def _forget(self) -> None:
        empty = [key for key, kept in self._series.items() if all(map(math.isnan, kept))]
        for key in empty:
            del self._series[key]


def quantiles(before: Mapping[float, float], after: Mapping[float, float]) -> dict[str, float]:
    """Return seconds by name, of what came between two readings of a histogram; nothing where nothing came.

    Within a bucket values are taken as spread evenly, and above the last bound as being the last bound: as
    Prometheus' `histogram_quantile` does it.
    """
    bounds = sorted(after)
    grown = [max(0.0, after[bound] - before.get(bound, 0.0)) for bound in bounds]
    total = grown[-1] if grown else 0.0
    if total <= 0:
        return {}
    return {name: _quantile(bounds, grown, share * total) for name, share in _QUANTILES.items()}


def _quantile(bounds: Sequence[float], grown: Sequence[float], rank: float) -> float:
    below, lower = 0.0, 0.0
    for bound, count in zip(bounds, grown, strict=True):
        if count >= rank:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below)
        below, lower = count, bound
    return lower
