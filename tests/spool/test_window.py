"""The duplicates window in the file: young keys, buckets and filters together."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.spool.contract import Appended
from gateway.spool.database import FILE_NAME, open_database
from gateway.spool.duplicates import Limits
from gateway.spool.engine import Engine
from gateway.spool.requests import Append
from tests.spool.rig import NOW_MS, note

LIMITS = Limits(window_ms=80_000, max_keys=800, young_keys=6)


def engine(directory: Path) -> Engine:
    return Engine(open_database(directory), directory / FILE_NAME, LIMITS)


def append(of: Engine, numbers: list[int], at_ms: int) -> list[Appended]:
    requests = [Append(notification=note(b"body %d" % number, at_ms=at_ms)) for number in numbers]
    of.run([*requests])
    return [request.result for request in requests]


def count(of: Engine) -> tuple[int, int]:
    """Return how many keys are in buckets, and how many rows of young keys there are."""
    [[buckets, rows]] = of._file.connection.execute(
        "SELECT (SELECT count(*) FROM seen), (SELECT count(*) FROM seen_young)"
    )
    return int(buckets), int(rows)


steps = st.lists(
    st.one_of(
        st.lists(st.integers(0, 60), min_size=1, max_size=8),
        st.sampled_from(["upkeep", "time", "crash", "stop"]),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(steps=steps)
def test_what_came_is_a_duplicate_and_what_did_not_is_none_whatever_lies_between(
    steps: list[list[int] | str],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        one = engine(directory)
        at_ms = NOW_MS
        came: set[int] = set()
        for step in steps:
            if isinstance(step, list):
                results = append(one, step, at_ms)
                for number, result in zip(step, results, strict=True):
                    assert result is (Appended.DUPLICATE if number in came else Appended.STORED)
                    came.add(number)
            elif step == "upkeep":
                one.tidy(at_ms)
            elif step == "time":
                # Another bucket, and nothing old enough to be forgotten.
                at_ms += 1 if at_ms - NOW_MS > 50_000 else LIMITS.bucket_ms
            else:
                one.close(clean=step == "stop")
                one = engine(directory)
        while one.tidy(at_ms):
            pass
        assert append(one, sorted(came), at_ms) == [Appended.DUPLICATE] * len(came)
        assert sum(bucket.keys for bucket in one.buckets) == len(came)
        one.close(clean=True)


def test_keys_leave_the_list_for_their_bucket(tmp_path: Path) -> None:
    one = engine(tmp_path)
    for number in range(40):
        append(one, [number], NOW_MS)
    while one.tidy(NOW_MS):
        pass
    buckets, rows = count(one)
    assert buckets >= 34
    assert buckets + rows == 40
    one.close(clean=True)


def test_the_list_of_a_bucket_that_is_forgotten_goes_with_it(tmp_path: Path) -> None:
    one = engine(tmp_path)
    append(one, [1, 2, 3], NOW_MS)
    late_ms = NOW_MS + 2 * LIMITS.window_ms
    append(one, [4], late_ms)
    while one.tidy(late_ms):
        pass
    assert append(one, [1, 2, 3, 4], late_ms) == [Appended.STORED] * 3 + [Appended.DUPLICATE]
    one.close(clean=True)
    again = engine(tmp_path)
    while again.tidy(late_ms):
        pass
    assert append(again, [1, 2, 3, 4], late_ms) == [Appended.DUPLICATE] * 4
    assert sum(bucket.keys for bucket in again.buckets) == 4
    again.close(clean=True)
