"""Charts as geometry: what is drawn stays within its bounds, and says in words what it shows."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.dashboard import charts
from gateway.admin.dashboard.history import SLOT_MS, SLOTS, History
from tests.admin.dashboard.test_history import START_MS, reading


def filled(*counts: float) -> History:
    history = History()
    for slot, count in enumerate(counts):
        history.take(reading(slot, count, waiting=count))
    return history


def points(paths: tuple[str, ...]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for path in paths for x, y in re.findall(r"([\d.]+) (-?[\d.]+)", path)]


def test_a_line_begins_where_something_is_known_and_ends_now() -> None:
    chart = charts.rate_chart(filled(0, 100, 300))
    accepted = chart.lines[0]
    assert points(accepted.paths) == [(358, 55.0), (359, 6.0)], "10 and 20 of 20 a second"
    assert accepted.now == "15/s"
    assert "highest in the last hour 20/s" in chart.summary
    assert [tick.text for tick in chart.up] == ["10", "20"]
    assert not chart.empty
    assert chart.unit == "per second, since 11:06"


def test_a_gap_parts_the_line() -> None:
    history = filled(0, 10, 20)
    history.take(reading(6, 60))
    paths = charts.rate_chart(history).lines[0].paths
    assert len(paths) == 2
    assert paths[1].count("L") == 1, "a single point is drawn, too"


def test_without_anything_it_says_so() -> None:
    for chart in (
        charts.rate_chart(History()),
        charts.latency_chart(History()),
        charts.waiting_chart(History()),
        charts.target_chart(History(), "support"),
    ):
        assert chart.empty
        assert chart.across == ()
        assert all(line.paths == () for line in chart.lines)


def test_times_stand_where_they_are() -> None:
    chart = charts.rate_chart(filled(0, 1))
    start_ms = (START_MS // SLOT_MS + 2 - SLOTS) * SLOT_MS
    for tick in chart.across:
        at_ms = start_ms + tick.at * SLOT_MS
        assert at_ms % (15 * 60_000) == pytest.approx(0)
    assert len(chart.across) == 4


def test_acknowledgements_stand_against_metas_bar() -> None:
    ticks = {tick.text: tick for tick in charts.latency_chart(filled(0, 1)).up}
    assert ticks["250 ms"].bar
    assert ticks["1 s"].bar
    assert ticks["1 s"].at < ticks["250 ms"].at < ticks["10 ms"].at


@given(st.lists(st.floats(0, 1e12), min_size=2, max_size=30))
def test_nothing_is_drawn_outside(levels: list[float]) -> None:
    history = History()
    for slot, level in enumerate(levels):
        history.take(reading(slot, 0, waiting=level))
    for x, y in points(charts.waiting_chart(history).lines[0].paths):
        assert 0 <= x <= charts.WIDTH
        assert -0.1 <= y <= charts.HEIGHT
    for x, y in points(charts.spark(history.values("waiting"))):
        assert 0 <= x <= charts.SPARK_POINTS
        assert 0 <= y <= charts.SPARK_HEIGHT


def test_a_spark_of_nothing_is_nothing_and_of_zeros_lies_at_the_bottom() -> None:
    assert charts.spark([math.nan] * SLOTS) == ()
    assert {y for _, y in points(charts.spark([0.0] * SLOTS))} == {charts.SPARK_HEIGHT - 1}
