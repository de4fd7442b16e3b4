"""The duplicates window over all gateways (promises 3 and 4).

The keys stand in buckets, as `gateway.spool.duplicates` has them, each a partition. New ones go to the newest
bucket, where a unique index says who was first: a second transaction waits there until the first has ended.
Earlier buckets are only read, and nobody writes to them any more: who opens a new bucket waits, under a lock
that all who store share, until the others have committed. So the window is exact, over all gateways.

How many keys a bucket holds each writer counts for itself; it learns of the others' now and again. A bucket
ends a little late by that, and the window may hold that many more. What is too much goes by whole buckets.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gateway.spool import duplicates
from gateway.spool.contract import Remembered
from gateway.spool.duplicates import Bucket, Buckets, Limits
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.session import STORING_LOCK

SHARE: Final = (
    f"SELECT pg_advisory_xact_lock_shared({STORING_LOCK}), "
    "set_config('plan_cache_mode', 'force_generic_plan', true)"
)
"""What a transaction that stores begins with. (Each statement sees what was committed before it began.)

Plans: left to itself, the server makes one for each small batch anew, a third of its cost, since it counts
in the length of an array. What stores looks up keys alone; for what looks for a range, one plan is a risk.
"""
SHARE_BUCKET: Final = f"{SHARE}; SELECT clock_ms(), (SELECT max(id) FROM seen_bucket)"  # noqa: S608 - ours
LEARN_SECONDS: Final = 5.0
"""How old the counts of the others may be."""


class Window:
    """What one writer knows of it."""

    def __init__(self, limits: Limits, writer: int) -> None:
        self.limits = limits
        self._writer = writer
        self._buckets: Buckets = ()
        self._learnt_at = float("-inf")

    @property
    def buckets(self) -> Buckets:
        """As of the last look, and of what this writer has added since."""
        return self._buckets

    def adopt(self, buckets: Buckets) -> None:
        """Take over what a committed batch added."""
        self._buckets = buckets

    def remembered(self, now_ms: int) -> Remembered:
        """Say how far back it reaches; from any thread."""
        buckets = self._buckets  # a tuple, replaced as a whole
        return Remembered(
            keys=sum(bucket.keys for bucket in buckets),
            since_ms=duplicates.kept_since_ms(buckets, now_ms, self.limits),
        )

    def learn(self, link: Link) -> Buckets:
        """Read the buckets and their counts."""
        self._buckets = tuple(
            Bucket(id=id_, start_ms=start_ms, end_ms=end_ms, keys=others + own)
            for id_, start_ms, end_ms, others, own in link.rows("buckets", writer=self._writer)
        )
        self._learnt_at = time.monotonic()
        return self._buckets

    def enter(self, link: Link, now_ms: int, newest: int | None) -> bool:
        """Take part in a transaction that keeps the newest bucket open (`SHARE_BUCKET`, which has said which
        that is); False where it may take no more keys."""
        known = self._buckets[-1].id if self._buckets else None
        if newest != known or time.monotonic() - self._learnt_at > LEARN_SECONDS:
            self.learn(link)
        return self._is_fit(self._buckets, now_ms)

    def is_known(self, now_ms: int) -> bool:
        """Whether the newest bucket, as far as is known, may take keys, and the counts are not too old."""
        fresh = time.monotonic() - self._learnt_at <= LEARN_SECONDS
        return fresh and self._is_fit(self._buckets, now_ms)

    def open_bucket(self, link: Link, now_ms: int) -> None:
        """Open a bucket for this time, unless somebody else just has; forget what is too old or too much."""
        link.execute("BEGIN")
        link.rows("lock_buckets", lock=STORING_LOCK)
        buckets = self.learn(link)
        if not self._is_fit(buckets, now_ms):
            new = duplicates.with_current(buckets, now_ms, self.limits)[-1]
            link.execute(
                f"CREATE TABLE seen_{new.id} (LIKE seen); "
                f"ALTER TABLE seen ATTACH PARTITION seen_{new.id} FOR VALUES IN ({new.id})"
            )
            link.rows("put_bucket", id=new.id, start_ms=new.start_ms, end_ms=new.end_ms)
            if past := _past(buckets, now_ms, self.limits):
                link.rows("drop_buckets", ids=past)
        link.execute("COMMIT")
        self._learnt_at = float("-inf")

    def _is_fit(self, buckets: Buckets, now_ms: int) -> bool:
        return bool(buckets) and duplicates.with_current(buckets, now_ms, self.limits) is buckets


def with_new(buckets: Buckets, number: int) -> Buckets:
    """Return the buckets with so many more keys in the newest."""
    *others, newest = buckets
    return (*others, replace(newest, keys=newest.keys + number))


def _past(buckets: Sequence[Bucket], now_ms: int, limits: Limits) -> list[int]:
    """Return what goes when a new bucket is opened: so much that it can be filled up."""
    left = sum(bucket.keys for bucket in buckets)
    past = []
    for bucket in buckets:
        if bucket.end_ms > now_ms - limits.window_ms and left <= limits.max_keys - limits.bucket_keys:
            break
        past.append(bucket.id)
        left -= bucket.keys
    return past
