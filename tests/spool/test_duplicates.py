"""The arithmetic of the duplicates window (promise 4)."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from gateway.spool import duplicates
from gateway.spool.duplicates import Limits


def test_the_key_tells_app_and_body_apart() -> None:
    keys = {
        duplicates.digest(app, raw)
        for app, raw in (("a", b"bc"), ("ab", b"c"), ("abc", b""), ("", b"abc"), ("a", b"bc\0"))
    }
    assert len(keys) == 5
    assert duplicates.digest("main", b"x") == hashlib.sha256(b"\0\0\0\x04main" + b"x").digest()


@given(
    window_ms=st.integers(1, 10_000),
    max_keys=st.integers(1, 40),
    steps=st.lists(st.integers(-50, 3000), min_size=1, max_size=200),
)
def test_keys_are_kept_for_the_window_and_within_the_number(
    window_ms: int, max_keys: int, steps: list[int]
) -> None:
    limits = Limits(window_ms=window_ms, max_keys=max_keys)
    buckets: duplicates.Buckets = ()
    added: list[tuple[int, int]] = []  # time, bucket
    forgotten: dict[int, int] = {}
    now_ms = 1_000_000
    latest_ms = now_ms
    for step in steps:
        now_ms += step
        latest_ms = max(latest_ms, now_ms)
        buckets = duplicates.with_current(buckets, now_ms, limits)
        bucket = buckets[-1]
        assert bucket.start_ms - limits.bucket_ms <= now_ms < bucket.end_ms
        added.append((now_ms, bucket.id))
        buckets = duplicates.with_keys(buckets, bucket.id, 1)
        while (excess := duplicates.excess(buckets, now_ms, limits)) is not None:
            older = [other for other in buckets if other.id < excess.bucket.id and other.keys]
            # what goes for its number is the oldest; what goes for its age is too old
            if older:
                assert excess.bucket.end_ms <= now_ms - window_ms
            forgotten[excess.bucket.id] = forgotten.get(excess.bucket.id, 0) + excess.keys
            buckets = duplicates.with_keys(buckets, excess.bucket.id, -excess.keys)
        assert sum(bucket.keys for bucket in buckets) <= max_keys
        assert len([bucket.id for bucket in buckets]) == len({bucket.id for bucket in buckets})
        alive = set(duplicates.alive(buckets, now_ms, limits))
        for at_ms, id_ in added:
            if now_ms - at_ms < window_ms and id_ not in forgotten:
                assert id_ in alive


@given(
    window_ms=st.integers(1, 10_000),
    max_keys=st.integers(1, 40),
    steps=st.lists(st.integers(0, 3000), min_size=1, max_size=200),
)
def test_what_the_window_says_of_itself_is_so(window_ms: int, max_keys: int, steps: list[int]) -> None:
    """Whatever was accepted since then is kept, and no more is claimed than the settings allow."""
    limits = Limits(window_ms=window_ms, max_keys=max_keys)
    buckets: duplicates.Buckets = ()
    added: list[tuple[int, int]] = []  # time, bucket
    forgotten: set[int] = set()
    now_ms = 1_000_000
    for step in steps:
        now_ms += step
        buckets = duplicates.with_current(buckets, now_ms, limits)
        added.append((now_ms, buckets[-1].id))
        buckets = duplicates.with_keys(buckets, buckets[-1].id, 1)
        while (excess := duplicates.excess(buckets, now_ms, limits)) is not None:
            forgotten.add(excess.bucket.id)
            buckets = duplicates.with_keys(buckets, excess.bucket.id, -excess.keys)
        since_ms = duplicates.kept_since_ms(buckets, now_ms, limits)
        if since_ms is not None:
            assert now_ms - window_ms <= since_ms <= now_ms
            assert all(bucket not in forgotten for at_ms, bucket in added if at_ms > since_ms)
    if not forgotten and len(added) < max_keys:
        assert since_ms == max(added[0][0], now_ms - window_ms)


def test_few_buckets_are_probed() -> None:
    limits = Limits(window_ms=7 * 86_400_000, max_keys=20_000_000)
    buckets: duplicates.Buckets = ()
    for number in range(3000):
        now_ms = 1_700_000_000_000 + number * 600_000
        buckets = duplicates.with_current(buckets, now_ms, limits)
        buckets = duplicates.with_keys(buckets, buckets[-1].id, 10_000)
        while (excess := duplicates.excess(buckets, now_ms, limits)) is not None:
            buckets = duplicates.with_keys(buckets, excess.bucket.id, -excess.keys)
        assert len(duplicates.alive(buckets, now_ms, limits)) <= 2 * duplicates.PARTS + 1


def test_a_clock_that_jumps_back_gets_a_bucket_of_its_own() -> None:
    limits = Limits(window_ms=8000, max_keys=100)
    far = duplicates.with_keys(duplicates.with_current((), 10_000_000, limits), 1, 1)
    assert duplicates.with_current(far, 9_999_500, limits)[-1].id == 1
    assert duplicates.with_current(far, 9_000_000, limits)[-1].id == 2
