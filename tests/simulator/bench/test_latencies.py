"""Latencies: what a percentile may be wrong by, and that adding loses nothing."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.bench.latencies import Latencies

SECONDS = st.lists(st.floats(min_value=0, max_value=30), min_size=1, max_size=60)


def counted(seconds: list[float]) -> Latencies:
    latencies = Latencies()
    for one in seconds:
        latencies.record(one)
    return latencies


@given(seconds=SECONDS, share=st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_never_too_small_and_at_most_a_bucket_too_large(
    seconds: list[float], share: float
) -> None:
    true_us = sorted(int(one * 1_000_000) for one in seconds)[math.ceil(share * len(seconds)) - 1]
    told_us = counted(seconds).percentile_ms(share) * 1000
    assert true_us - 0.001 <= told_us <= true_us * (1 + 1 / 32) + 1


@given(one=SECONDS, other=SECONDS)
def test_two_processes_added_up_are_as_one(one: list[float], other: list[float]) -> None:
    both = counted(one)
    both.add(counted(other))
    together = counted(one + other)
    assert both.buckets == together.buckets
    assert (both.slowest_us, both.late) == (together.slowest_us, together.late)


@given(seconds=SECONDS)
def test_every_latency_is_in_the_histogram_once(seconds: list[float]) -> None:
    assert sum(counted(seconds).histogram((1, 10, 250, 1000))) == len(seconds)


def test_what_lies_between_two_edges_is_counted_there() -> None:
    assert counted([0.0005, 0.005, 0.2, 0.9, 5]).histogram((1, 10, 250, 1000)) == [1, 1, 1, 1, 1]


def test_more_than_a_second_is_late_and_a_second_is_not() -> None:
    assert counted([1.0, 1.001, 7.0]).late == 2


def test_what_never_came_moves_the_percentiles_up() -> None:
    latencies = counted([0.01] * 6)
    assert latencies.percentile_ms(0.5, never=4) == 10.0
    assert latencies.percentile_ms(0.5, never=7) == math.inf
    assert Latencies().percentile_ms(0.5) == 0.0
