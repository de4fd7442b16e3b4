"""An hour of the metrics: rates over the time that went by, gaps as gaps, and bounded."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.dashboard import history as history_module
from gateway.admin.dashboard.history import SLOT_MS, SLOTS, History, Reading, quantiles, read_metrics
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.sums import read_families

START_MS = 1_795_000_000_000


def reading(slot: float, accepted: float, waiting: float = 0.0, **targets: float) -> Reading:
    """Return what was counted, so many slots after the start."""
    return Reading(
        at_ms=START_MS + round(slot * SLOT_MS),
        counts={("accepted",): accepted, **{("delivered", name): count for name, count in targets.items()}},
        levels={("waiting",): waiting},
        buckets={},
    )


def known(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values if not math.isnan(value)]


def test_a_rate_is_over_the_time_that_really_went_by() -> None:
    history = History()
    history.take(reading(0, 100))
    assert known(history.values("accepted")) == []
    history.take(reading(1, 150))
    history.take(reading(2.4, 150 + 28))
    assert known(history.values("accepted")) == [5.0, 2.0]
    assert history.now("accepted") == pytest.approx(3.5)
    assert history.values("accepted")[-1] == pytest.approx(2.0), "the newest is the last"


def test_what_nobody_looked_at_is_a_gap_and_no_zero() -> None:
    history = History()
    for slot, count in ((0, 0), (1, 10), (4, 40)):
        history.take(reading(slot, count, waiting=slot))
    newest = history.values("accepted")[-4:]
    assert (newest[0], newest[3]) == (1.0, 1.0)
    assert [math.isnan(value) for value in newest] == [False, True, True, False]
    assert known(history.values("waiting")) == [0, 1, 4]


def test_a_count_that_falls_was_a_restart_and_no_rate() -> None:
    history = History()
    for slot, count in ((0, 500), (1, 3), (2, 13)):
        history.take(reading(slot, count))
    assert known(history.values("accepted")) == [1.0]


def test_a_target_that_is_new_counts_from_nothing() -> None:
    history = History()
    history.take(reading(0, 0))
    history.take(reading(1, 0, support=20))
    assert known(history.values("delivered", "support")) == [2.0]


@pytest.mark.parametrize("slot", [-5, SLOTS + 1, 10**6])
def test_a_clock_that_jumps_begins_anew(slot: int) -> None:
    history = History()
    for number in range(10):
        history.take(reading(number, number * 10))
    history.take(reading(10 + slot, 200))
    assert known(history.values("accepted")) == []
    assert history.began_ms == START_MS + (10 + slot) * SLOT_MS


def test_an_hour_is_kept_and_what_is_older_goes() -> None:
    history = History()
    for slot in range(SLOTS + 50):
        history.take(reading(slot, slot * 10.0 if slot < 20 else 190.0 + (slot - 19) * 20))
    assert known(history.values("accepted")) == [2.0] * SLOTS


def test_the_number_of_series_is_bounded_and_what_is_gone_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history_module, "MAX_SERIES", 5)
    history = History()
    history.take(reading(0, 0))
    history.take(reading(1, 1, **{f"t{number}": 1.0 for number in range(100)}))
    assert len(history._series) == 5
    for slot in range(2, SLOTS * 2 + 130):
        history.take(reading(slot, slot))
    assert not any(key[0] == "delivered" for key in history._series)


@given(st.lists(st.tuples(st.integers(-50, 500), st.floats(0, 1e9)), max_size=40))
def test_no_order_of_readings_makes_it_stumble(steps: list[tuple[int, float]]) -> None:
    history = History()
    for slot, count in steps:
        history.take(reading(slot, count))
        values = history.values("accepted")
        assert len(values) == SLOTS
        assert all(math.isnan(value) or value >= 0 for value in values)


def test_it_is_read_from_what_metrics_render() -> None:
    metrics = Metrics()
    metrics.start_series(version="1", apps=["main", 'od"d\\'], targets=["support"])
    for _ in range(3):
        metrics.ack_seconds.labels("main").observe(0.003)
    metrics.ack_seconds.labels('od"d\\').observe(3.0)
    metrics.deliveries_total.labels("support", "delivered").inc(7)
    metrics.deliveries_total.labels("support", "retried").inc(2)
    metrics.deliveries_total.labels("support", "refused").inc(1)
    metrics.notifications_total.labels('od"d\\', "page", "feed").inc(4)
    metrics.spool_pending.labels("support").set(9)
    taken = read_metrics(read_families(metrics.render().decode()), at_ms=5)
    assert taken.counts[("accepted",)] == 4
    assert taken.counts[("delivered",)] == taken.counts["delivered", "support"] == 7
    assert taken.counts["failed", "support"] == 3
    assert taken.counts["field", 'od"d\\', "page", "feed"] == 4
    assert taken.levels["waiting", "support"] == taken.levels[("waiting",)] == 9
    assert taken.buckets[0.005] == 3
    assert taken.buckets[math.inf] == 4


def test_percentiles_are_those_of_what_came_in_between() -> None:
    before = {0.1: 100.0, 1.0: 100.0, math.inf: 100.0}
    after = {0.1: 200.0, 1.0: 200.0, math.inf: 200.0}
    assert quantiles(before, after) == {"p50": pytest.approx(0.05), "p99": pytest.approx(0.099)}
    slow = {0.1: 100.0, 1.0: 140.0, math.inf: 200.0}
    assert quantiles(before, slow) == {"p50": 1.0, "p99": 1.0}, "beyond the last bound it is the last bound"
    assert quantiles(before, before) == {}
    assert quantiles(after, before) == {}
    assert quantiles({}, {}) == {}


def test_what_others_count_is_added_from_the_second_look_on() -> None:
    history = History()
    history.take(reading(0, 100), beside={("accepted",): 2.0})
    assert history.now("accepted") is None
    assert history.rates(reading(1, 150)) == {("accepted",): 5.0}
    history.take(reading(1, 150), beside={("accepted",): 2.0, ("delivered", "support"): 1.5})
    assert history.now("accepted") == 7.0
    assert history.now("delivered", "support") == 1.5
    # After a restart of the counts only the others' are known.
    history.take(reading(2, 0), beside={("accepted",): 2.0})
    assert history.values("accepted")[-1] == 2.0
