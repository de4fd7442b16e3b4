"""The hot path's metrics read as those of prometheus_client do."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.telemetry.series import HotCounter, HotGauge, HotHistogram

BOUNDS = (0.25, 1.0, 5.0)


@given(
    counted=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 10))),
    observed=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0.0, 0.25, 0.26, 1.0, 7.5]))),
)
def test_a_scrape_reads_as_that_of_the_library(
    counted: list[tuple[str, int]], observed: list[tuple[str, float]]
) -> None:
    ours, theirs = CollectorRegistry(auto_describe=True), CollectorRegistry(auto_describe=True)
    our_counter, our_gauge = (
        HotCounter("x_total", "Text.", ("app",), registry=ours),
        HotGauge("y", "Text.", ("app",), registry=ours),
    )
    our_histogram = HotHistogram("z_seconds", "Text.", ("app",), bounds=BOUNDS, registry=ours)
    their_counter, their_gauge = (
        Counter("x_total", "Text.", ("app",), registry=theirs),
        Gauge("y", "Text.", ("app",), registry=theirs),
    )
    their_histogram = Histogram("z_seconds", "Text.", ("app",), buckets=BOUNDS, registry=theirs)
    for app, amount in counted:
        our_counter.labels(app).inc(amount)
        their_counter.labels(app).inc(amount)
        our_gauge.labels(app=app).set(amount)
        their_gauge.labels(app=app).set(amount)
    for app, seconds in observed:
        our_histogram.labels(app).observe(seconds)
        their_histogram.labels(app).observe(seconds)
    assert generate_latest(ours) == generate_latest(theirs)


def test_what_is_beyond_the_last_bound_is_counted() -> None:
    registry = CollectorRegistry(auto_describe=True)
    HotHistogram("z", "Text.", ("app",), bounds=BOUNDS, registry=registry).labels("a").observe(math.inf)
    assert registry.get_sample_value("z_bucket", {"app": "a", "le": "5.0"}) == 0
    assert registry.get_sample_value("z_bucket", {"app": "a", "le": "+Inf"}) == 1


@pytest.mark.parametrize(
    ("values", "named"), [(("a",), {}), (("a", "b", "c"), {}), (("a",), {"app": "b"}), ((), {"other": "a"})]
)
def test_labels_that_are_not_the_metric_s_are_refused(values: tuple[str, ...], named: dict[str, str]) -> None:
    metric = HotCounter("x_total", "Text.", ("app", "status"), registry=CollectorRegistry())
    with pytest.raises(ValueError, match="labels"):
        metric.labels(*values, **named)
