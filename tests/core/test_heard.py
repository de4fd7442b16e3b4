"""Lines and histories of the gap ledger, and several workers' as one."""

import random

import msgspec

from gateway.core.heard import HOUR_MS, KEPT_HOURS, Heard, Slot, merge_slots, merge_tracks, running_median


def slot(**changes: object) -> Slot:
    usual = {"app": "main", "object": "page", "field": "feed", "waba": "1", "phone_number_id": ""}
    return msgspec.convert({**usual, "first_ms": 1000, "last_ms": 5000, "count": 4, **changes}, Slot)


def track(**changes: object) -> Heard:
    usual = {"app": "main", "object": "page", "field": "feed", "first_ms": 1000, "last_ms": 5000}
    return msgspec.convert({**usual, **changes}, Heard)


def test_the_running_median_finds_the_usual_interval_and_a_night_moves_it_by_one_step() -> None:
    chance = random.Random(7)
    median = 0.0
    for _ in range(500):
        median = running_median(median, round(chance.expovariate(1 / 10_000)), 1)
    assert 3_500 < median < 14_000  # ln 2 times 10 s is the true one
    assert running_median(median, 12 * HOUR_MS, 1) < median * 1.2
    assert running_median(0.0, 600, 3) == 200
    assert running_median(200.0, 0, 0) == 200


def test_what_comes_is_counted_into_its_hour_and_old_hours_go() -> None:
    known = track()
    known.take(3, last_ms=7000, hour=100)
    known.take(2, last_ms=9000, hour=100)
    assert (known.received, known.last_ms, known.hours) == (5, 9000, {100: 5})
    known.take(1, last_ms=9500, hour=100 + KEPT_HOURS)
    assert known.hours == {100 + KEPT_HOURS: 1}


def test_two_workers_lines_are_added_and_the_latest_lag_counts() -> None:
    one = slot(usual_ms=1000.0, lag_ms=10, lag_at_ms=1, delivered={"a": (2, 50), "b": (1, 60)})
    other = slot(
        last_ms=9000, first_ms=500, usual_ms=1000.0, lag_ms=20, lag_at_ms=2, delivered={"a": (3, 40)}
    )
    (both,) = merge_slots([[one], [other]])
    assert (both.count, both.first_ms, both.last_ms, both.usual_ms) == (8, 500, 9000, 500.0)
    assert (both.lag_ms, both.delivered) == (20, {"a": (5, 50), "b": (1, 60)})
    assert [one.waba for one in merge_slots([[slot(), slot(waba="2", last_ms=6000)], []])] == ["2", "1"]


def test_two_workers_histories_are_added_and_they_were_quiet_together_no_longer_than_either() -> None:
    one = track(received=3, longest_ms=700, hours={1: 2, 2: 1})
    other = track(received=1, longest_ms=400, hours={2: 5})
    young = track(first_ms=1000 + 2 * HOUR_MS, longest_ms=1)
    (all_,) = merge_tracks([[one], [other], [young]])
    assert (all_.received, all_.longest_ms, all_.hours) == (4, 400, {1: 2, 2: 6})
