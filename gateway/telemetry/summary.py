"""One line an app and ten seconds: how many notifications came, what became of them, how fast.

It is the difference of counters that are there anyway, so a notification pays nothing for it. Ten seconds in
which nothing came write no line.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.telemetry.journal import Journal
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import ACK_BUCKETS_SECONDS, Metrics

SUMMARY_SECONDS: Final = 10.0
"""Between two lines of an app: 8,640 a day, 2 MB."""

log = get_logger("ingress")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the counters of one app say."""

    answered: tuple[int, ...] = (0,) * (len(ACK_BUCKETS_SECONDS) + 1)
    """Notifications answered 200, by bucket of the time that it took."""
    duplicates: int = 0
    bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Summaries:
    """Remembers what was told last."""

    def __init__(self, metrics: Metrics, journal: Journal) -> None:
        self._metrics = metrics
        self._journal = journal
        self._told: dict[str, Reading] = {}

    def tell(self, *, seconds: float, now_ms: int) -> None:
        """Write a line for each app for which something came in the last so many seconds."""
        since_ms = now_ms - round(seconds * 1000)
        for app in sorted({*self._metrics.ack_seconds.known("app"), *self._journal.tallies}):
            now, before = self._read(app), self._told.get(app, Reading())
            if now == before:
                continue
            self._told[app] = now
            counts = [new - old for new, old in zip(now.answered, before.answered, strict=True)]
            duplicates = now.duplicates - before.duplicates
            log.info(
                "summary",
                app=app,
                seconds=round(seconds, 1),
                accepted=sum(counts) - duplicates,
                duplicates=duplicates,
                refused=dict(now.refused - before.refused),
                bytes=now.bytes - before.bytes,
                ack_p50_ms=quantile_ms(counts, 0.5),
                ack_p99_ms=quantile_ms(counts, 0.99),
                lag_seconds=self._lag_seconds(app, since_ms),
            )

    def _lag_seconds(self, app: str, since_ms: int) -> float | None:
        """Return the longest time between Meta's own timestamp and ours, of those read lately."""
        lags_ms = [
            track.lag_ms
            for track in self._journal.gaps.tracks()
            if track.app == app and track.lag_ms is not None and track.lag_at_ms >= since_ms
        ]
        return round(max(lags_ms) / 1000, 1) if lags_ms else None

    def _read(self, app: str) -> Reading:
        tally = self._journal.tallies[app]
        return Reading(
            answered=tuple(self._metrics.ack_seconds.labels(app).counts),
            duplicates=int(self._metrics.duplicates_total.labels(app).value),
            bytes=tally.bytes,
            refused=Counter(tally.refused),
        )


def quantile_ms(counts: Sequence[int], quantile: float) -> float | None:
    """Read a quantile off the buckets of `ack_seconds`, in milliseconds; None where nothing was counted.

    Within a bucket it is interpolated, as Prometheus does; above the last bound it is that bound.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below, lower = quantile * total, 0, 0.0
    for count, upper in zip(counts, ACK_BUCKETS_SECONDS, strict=False):
        if count and below + count >= wanted:
            return round((lower + (upper - lower) * (wanted - below) / count) * 1000, 1)
        below, lower = below + count, upper
    return lower * 1000
