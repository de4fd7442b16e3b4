"""The duplicates window: which bytes have been accepted already (promises 3 and 4). Pure; the SQL is in
engine.py.

A key is SHA-256 over the app and the raw body. (Not the signature: after a rotation of the secret it
differs.) Keys are kept in buckets, in order of time: new ones go to the current bucket, so that writes stay
in one part of the B-tree; earlier buckets are only probed. A bucket ends after an eighth of the window, or
when it holds an eighth of the keys allowed; what is too old or too much leaves the oldest bucket, a slice at
a time. So a key is remembered for the window and at most an eighth longer, and never by more than the number
allowed.
"""

import hashlib
from dataclasses import dataclass, replace

PARTS = 8
"""Buckets a window: each append probes up to twice as many (by age and by count), a few microseconds each."""

YOUNG_KEYS = 262_144
"""Some seven to a page of a full bucket (20 million keys in eight), and 25 MB of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how many keys are remembered; 0 of either remembers nothing."""

    window_ms: int
    max_keys: int
    young_keys: int = YOUNG_KEYS
    """How many gather in a list before they go into their bucket (young_keys.py)."""

    @property
    def enabled(self) -> bool:
        """Whether anything is remembered."""
        return self.window_ms > 0 and self.max_keys > 0

    @property
    def bucket_ms(self) -> int:
        """How long one bucket takes keys."""
        return -(-self.window_ms // PARTS)

    @property
    def bucket_keys(self) -> int:
        """How many keys one bucket takes."""
        return max(1, self.max_keys // PARTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Some keys of one time."""

    id: int
    start_ms: int
    end_ms: int
    keys: int


Buckets = tuple[Bucket, ...]
"""Oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """Keys that have to go: the first `keys` of that bucket, in the order of their digests."""

    bucket: Bucket
    keys: int


def digest(app: str, raw: bytes) -> bytes:
    """Return the key of a body: 32 bytes."""
    name = app.encode()
    key = hashlib.sha256(len(name).to_bytes(4, "big") + name)
    key.update(raw)
    return key.digest()


def alive(buckets: Buckets, now_ms: int, limits: Limits) -> list[int]:
    """Return the ids of the buckets whose keys count as seen."""
    oldest_ms = now_ms - limits.window_ms
    return [bucket.id for bucket in buckets if bucket.end_ms > oldest_ms]


def with_current(buckets: Buckets, now_ms: int, limits: Limits) -> Buckets:
    """Return the buckets, the last of them fit to take keys of this time."""
    if buckets:
        last = buckets[-1]
        # A clock that steps back a little stays in the bucket; one that steps back far gets a new one.
        if last.keys < limits.bucket_keys and last.start_ms - limits.bucket_ms <= now_ms < last.end_ms:
            return buckets
    number = buckets[-1].id + 1 if buckets else 1
    new = Bucket(id=number, start_ms=now_ms, end_ms=now_ms + limits.bucket_ms, keys=0)
    return (*buckets, new)


def with_keys(buckets: Buckets, bucket_id: int, change: int) -> Buckets:
    """Return the buckets after keys came to one (or left it); an empty one stays only as the current one."""
    changed = tuple(
        replace(bucket, keys=max(0, bucket.keys + change)) if bucket.id == bucket_id else bucket
        for bucket in buckets
    )
    return tuple(bucket for bucket in changed if bucket.keys > 0 or bucket is changed[-1])


def kept_since_ms(buckets: Buckets, now_ms: int, limits: Limits) -> int | None:
    """Return since when every key is kept: what was accepted before may come again unnoticed.

    None where nothing is kept. Where the number bounds the window, the oldest bucket has lost some of its
    keys, whichever they were, and does not count.
    """
    whole = [bucket for bucket in buckets if bucket.keys and bucket.end_ms > now_ms - limits.window_ms]
    if sum(bucket.keys for bucket in buckets) >= limits.max_keys:
        whole = whole[1:]
    if not whole or not limits.enabled:
        return None
    return max(min(bucket.start_ms for bucket in whole), now_ms - limits.window_ms)


def excess(buckets: Buckets, now_ms: int, limits: Limits) -> Excess | None:
    """Return what has to go next: the oldest bucket if it is too old, else what is too much of it."""
    if not buckets:
        return None
    for bucket in buckets:
        if bucket.keys and bucket.end_ms <= now_ms - limits.window_ms:
            return Excess(bucket=bucket, keys=bucket.keys)
    surplus = sum(bucket.keys for bucket in buckets) - limits.max_keys
    first = next((bucket for bucket in buckets if bucket.keys), None)
    if surplus > 0 and first is not None:
        return Excess(bucket=first, keys=min(surplus, first.keys))
    return None
