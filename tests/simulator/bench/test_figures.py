"""Pass or fail, and who was the limit: pure."""

import json
import math
from typing import Any

import pytest

from gateway.simulator.bench.figures import Figures, Wanted
from gateway.simulator.bench.latencies import Latencies
from gateway.simulator.bench.receiver import Verified
from gateway.simulator.bench.tally import Tally

WANTED = Wanted(url="https://localhost:8443/main", rate=100, seconds=10, connections=32, processes=1)
ALL_THERE = Verified(expected=5, arrived=5, lost=0, duplicates=0, unanswered=0, strays=0, posts=5, foreign=0)


def figures(*seconds: float, verified: Verified | None = None, **changes: Any) -> Figures:
    """Return the figures of a run with these latencies."""
    latencies = Latencies()
    for one in seconds:
        latencies.record(one)
    tally = Tally(
        due=len(seconds),
        answered=len(seconds),
        statuses={200: len(seconds)},
        latency=latencies.buckets,
        service=latencies.buckets,
        service_slowest_us=latencies.slowest_us,
        late=latencies.late,
        slowest_us=latencies.slowest_us,
        seconds=10,
        busy=0.2,
    )
    for name, value in changes.items():
        setattr(tally, name, value)
    return Figures(wanted=WANTED, tally=tally, verified=verified, ended="", interrupted=False)


def test_within_the_bar_passes_and_says_what_quota_it_covers() -> None:
    told = figures(*[0.003] * 3300)
    assert told.passed
    assert told.quota == pytest.approx(100)  # 330/s: 100 messages/s, three statuses each and 30 % replies


@pytest.mark.parametrize(
    ("seconds", "passed"),
    [
        ([0.249] * 51 + [0.3] * 49, True),
        ([0.26] * 51 + [0.01] * 49, False),
        ([0.01] * 1991 + [1.1] * 9, True),
        ([0.01] * 99 + [1.1], False),
    ],
)
def test_the_bar_is_metas_median_and_its_one_percent(seconds: list[float], passed: bool) -> None:
    assert figures(*seconds).passed is passed


def test_what_was_not_answered_200_counts_as_late() -> None:
    told = figures(*[0.01] * 100, due=110)
    assert told.failed == 10
    assert not told.passed
    assert "9.09% above 1000 ms or not answered 200" in told.failures()[0]


def test_a_run_without_any_answer_fails_and_its_median_is_never() -> None:
    told = figures(due=50)
    assert math.isinf(told.percentiles_ms()["p50"])
    assert told.failures()[0] == "median never, and Meta wants 250 ms at most"
    assert json.loads(json.dumps(told.as_json(), allow_nan=False))["latency_ms"]["p50"] is None


def test_nothing_sent_is_no_pass() -> None:
    assert figures().failures() == ("nothing was sent",)


def test_a_loss_fails_and_a_duplicate_does_not() -> None:
    fine = {name: getattr(ALL_THERE, name) for name in Verified.__dataclass_fields__}
    assert figures(0.01, verified=Verified(**{**fine, "duplicates": 3})).passed
    assert figures(0.01, verified=Verified(**{**fine, "lost": 1})).failures() == (
        "1 changes did not arrive at the target",
    )


@pytest.mark.parametrize("changes", [{"busy": 0.97}, {"lag": Latencies({1300: 100}).buckets}])
def test_a_client_that_falls_behind_says_that_it_was_the_limit(changes: dict[str, Any]) -> None:
    changes = {"lag_slowest_us": 10**12, **changes}
    slow = figures(*[0.4] * 100, **changes)
    assert slow.remarks()[0].startswith("the client, not the gateway, was the limit: ")
    assert slow.as_json()["client_was_the_limit"] is True
    fast = figures(*[0.01] * 100, **changes)
    assert not fast.remarks(), "what passed all the same needs no excuse"


def test_a_client_that_is_rather_busy_says_that_some_of_it_is_its_own() -> None:
    (remark,) = figures(*[0.4] * 100, busy=0.7).remarks()
    assert remark.startswith("the client had work for 70% of the time, so some of this latency is its own")


def test_waiting_for_a_connection_is_told_from_a_slow_gateway() -> None:
    quick = Latencies()
    quick.record(0.005)
    crowded = figures(*[0.4] * 100, service=quick.buckets, unsent=7)
    assert "--connections" in crowded.remarks()[0]
    assert crowded.remarks()[1].startswith("7 requests were due and never sent")
    assert not figures(*[0.4] * 100).remarks(), "the gateway itself was slow: nothing to explain"


def test_the_histogram_begins_and_ends_where_there_is_something() -> None:
    assert figures(0.003, 0.003, 0.02).histogram() == [(5, 2), (10, 0), (25, 1)]
    assert figures(20.0).histogram() == [(None, 1)]
    assert figures().histogram() == []
