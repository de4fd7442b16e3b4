"""Latencies in logarithmic buckets: small however many were measured, and added up over processes."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

_MANTISSA_BITS: Final = 5
"""32 buckets to a power of two: a percentile is at most 3 % too large, and never too small."""
_STEPS: Final = 1 << _MANTISSA_BITS

MEDIAN_BAR_MS: Final = 250
"""Meta's bar: the median at most (WhatsApp Cloud API, "Webhooks": latency)."""
LATE_MS: Final = 1000
"""Meta's bar: fewer than 1 % may take longer."""


class Latencies:
    """Counts of latencies in buckets of microseconds."""

    def __init__(
        self, buckets: Mapping[int, int] | None = None, *, slowest_us: int = 0, late: int = 0
    ) -> None:
        self._buckets: Counter[int] = Counter(buckets)
        self.slowest_us = slowest_us
        self.late = late
        """How many took longer than `LATE_MS`: counted, not read off a bucket."""

    @property
    def buckets(self) -> dict[int, int]:
        """Number of the bucket -> how many."""
        return dict(self._buckets)

    @property
    def count(self) -> int:
        return self._buckets.total()

    def record(self, seconds: float) -> None:
        """Count one latency."""
        us = max(0, int(seconds * 1_000_000))
        self._buckets[_bucket_of(us)] += 1
        if us > self.slowest_us:
            self.slowest_us = us
        if us > LATE_MS * 1000:
            self.late += 1

    def add(self, other: "Latencies") -> None:
        """Add what another process has counted."""
        self._buckets.update(other._buckets)  # noqa: SLF001 - of the same class
        self.slowest_us = max(self.slowest_us, other.slowest_us)
        self.late += other.late

    def percentile_ms(self, share: float, *, never: int = 0) -> float:
        """Return the latency that this share (0...1) of all did not exceed; 0 where nothing was measured.

        `never` is how many more there were that never ended well: where the percentile is one of them, it is
        infinite.
        """
        rank = math.ceil(share * (self.count + never))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(_upper_us(bucket), self.slowest_us) / 1000
        return math.inf if never else 0.0

    def histogram(self, edges_ms: Iterable[float]) -> list[int]:
        """Return how many lie up to each edge and beyond the one before, and at last those beyond all."""
        edges_us = [edge * 1000 for edge in edges_ms]
        counts = [0] * (len(edges_us) + 1)
        for bucket, number in self._buckets.items():
            # By its middle: a bucket may lie across an edge.
            middle = (_upper_us(bucket - 1) + _upper_us(bucket)) / 2 if bucket else 0
            counts[sum(middle > edge for edge in edges_us)] += number
        return counts


def _bucket_of(us: int) -> int:
    shift = max(0, us.bit_length() - _MANTISSA_BITS - 1)
    return shift * _STEPS + (us >> shift)


def _upper_us(bucket: int) -> int:
    shift = max(0, bucket // _STEPS - 1)
    return ((bucket - shift * _STEPS + 1) << shift) - 1
