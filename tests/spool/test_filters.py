"""The filters before the older buckets of the duplicates window."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.spool.contract import Appended
from gateway.spool.database import FILE_NAME, open_database
from gateway.spool.duplicates import Bucket, Limits
from gateway.spool.engine import Engine
from gateway.spool.filters import Filter, Filters
from gateway.spool.requests import Append
from tests.spool.rig import NOW_MS, note

LIMITS = Limits(window_ms=8000, max_keys=8000)
PART_MS = LIMITS.bucket_ms


def bucket(id_: int, keys: int) -> Bucket:
    return Bucket(id=id_, start_ms=id_ * 1000, end_ms=id_ * 1000 + 1000, keys=keys)


def made(*groups: list[bytes]) -> Filters:
    """Return filters of buckets 1, 2, ... that have these keys."""
    filters = Filters(())
    buckets = tuple(bucket(number, len(keys)) for number, keys in enumerate(groups, start=1))
    rest = {one.id: sorted(keys) for one, keys in zip(buckets, groups, strict=True)}
    while (wanted := filters.wanted((*buckets, bucket(len(groups) + 1, 0)))) is not None:
        one, after = wanted
        slice_ = [key for key in rest[one.id] if key > after][:5]
        filters.take_in(one, b"".join(slice_), room=one.keys)
        if len(slice_) < 5:
            filters.finish(one)
    return filters


keys = st.lists(st.binary(min_size=32, max_size=32), max_size=40, unique=True)


@given(first=keys, second=keys, others=keys)
def test_no_key_of_a_bucket_is_ever_denied(
    first: list[bytes], second: list[bytes], others: list[bytes]
) -> None:
    filters = made(first, second)
    asked = [*others, *first, *second]
    positions, buckets = filters.candidates(asked, [1, 2, 3])
    assert positions == sorted(set(positions))
    assert {asked[position] for position in positions} >= {*first, *second}
    assert buckets >= {id_ for id_, of in ((1, first), (2, second)) if of}


def test_hardly_any_other_key_is_let_through() -> None:
    dice = random.Random(7)
    filter_ = Filter.for_keys(20_000)
    filter_.add(dice.randbytes(32 * 20_000))
    filters = Filters([(1, bytes(filter_.bits))])
    positions, _ = filters.candidates([dice.randbytes(32) for _ in range(10_000)], [1])
    assert len(positions) < 150


def test_the_bucket_that_takes_keys_is_the_first_to_get_one() -> None:
    assert Filters(()).wanted((bucket(1, 9), bucket(2, 9))) == (bucket(2, 9), b"")
    assert Filters(()).wanted((bucket(1, 0),)) is None
    assert Filters(()).wanted(()) is None


def test_what_goes_into_a_bucket_goes_into_its_filter_made_or_in_the_making() -> None:
    filters = Filters(())
    filters.begin(bucket(1, 0), room=9)
    filters.add(1, [b"a" * 32])
    filters.take_in(bucket(2, 9), b"b" * 32, room=9)
    filters.add(2, [b"c" * 32])
    filters.finish(bucket(2, 9))
    assert filters.candidates([b"a" * 32, b"b" * 32, b"c" * 32, b"d" * 32], [1, 2]) == ([0, 1, 2], {1, 2})


@given(taken=keys, room=st.integers(0, 3000))
def test_a_folded_filter_is_the_one_that_would_have_been_made_for_so_many(
    taken: list[bytes], room: int
) -> None:
    large, small = Filter.for_keys(room), Filter.for_keys(len(taken))
    large.add(b"".join(taken))
    small.add(b"".join(taken))
    folded = large.folded(len(taken))
    assert len(folded) == min(len(large.bits), len(small.bits))
    if len(large.bits) >= len(small.bits):
        assert folded == bytes(small.bits)


def test_only_the_filter_of_a_bucket_that_takes_no_more_keys_is_stored_and_once() -> None:
    filters = Filters(())
    filters.begin(bucket(1, 0), room=4000)
    assert filters.to_store((bucket(1, 1),)) is None
    closed = bucket(1, 1), bucket(2, 0)
    assert filters.to_store(closed) == bucket(1, 1)
    assert len(filters.folded(bucket(1, 1))) == 64
    assert filters.to_store(closed) is None


def test_a_bucket_that_goes_while_its_filter_is_made_is_let_go() -> None:
    filters = Filters(())
    filters.take_in(bucket(1, 9), b"k" * 32, room=9)
    assert filters.wanted((bucket(1, 9), bucket(2, 1))) == (bucket(1, 9), b"k" * 32)
    assert filters.wanted((bucket(2, 1),)) == (bucket(2, 1), b"")
    filters.keep((bucket(2, 1),))
    assert 1 not in filters


def test_what_is_no_filter_is_made_anew() -> None:
    filters = Filters([(1, b"abc"), (2, b"")])
    assert 1 not in filters
    assert 2 not in filters
    with pytest.raises(ValueError, match="3 bytes"):
        Filter(bytearray(3))


def engine(directory: Path) -> Engine:
    return Engine(open_database(directory), directory / FILE_NAME, LIMITS)


def append(of: Engine, numbers: range, at_ms: int, *, batch: int = 50) -> list[Appended]:
    requests = [Append(notification=note(b"body %d" % number, at_ms=at_ms)) for number in numbers]
    for start in range(0, len(requests), batch):
        of.run([*requests[start : start + batch]])
    return [request.result for request in requests]


def stored(of: Engine) -> list[int]:
    rows = of._file.connection.execute("SELECT bucket FROM seen_filter ORDER BY bucket")
    return [row[0] for row in rows]


@pytest.mark.parametrize("with_upkeep", [True, False], ids=["quiet", "busy"])
def test_a_duplicate_is_known_with_the_filters_and_after_a_restart(
    tmp_path: Path, *, with_upkeep: bool
) -> None:
    """Quiet: upkeep makes them; busy: the batches do."""
    one = engine(tmp_path)
    for number in range(3):
        mine = range(300 * number, 300 * (number + 1))
        assert append(one, mine, NOW_MS + number * PART_MS) == [Appended.STORED] * 300
    last_ms = NOW_MS + 2 * PART_MS
    while with_upkeep and one.tidy(last_ms):
        pass
    if with_upkeep:
        assert stored(one) == [1, 2]
    assert append(one, range(900), last_ms) == [Appended.DUPLICATE] * 900
    assert append(one, range(900, 901), last_ms) == [Appended.STORED]
    one.close(clean=True)
    again = engine(tmp_path)
    assert append(again, range(901), last_ms) == [Appended.DUPLICATE] * 901
    assert stored(again) == [1, 2]
    again.close(clean=True)


def test_a_filter_goes_with_its_bucket(tmp_path: Path) -> None:
    one = engine(tmp_path)
    append(one, range(1), NOW_MS)
    append(one, range(1, 2), NOW_MS + PART_MS)
    while one.tidy(NOW_MS + PART_MS):
        pass
    assert stored(one) == [1]
    late_ms = NOW_MS + 2 * PART_MS + LIMITS.window_ms
    while one.tidy(late_ms):
        pass
    assert stored(one) == []
    assert append(one, range(1), late_ms) == [Appended.STORED]
    one.close(clean=True)
