"""Several processes are counted as one."""

from operator import add

import pytest
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import PREFIX, Metrics
from gateway.telemetry.sums import (
    _GAUGES,
    _OF_A_SHARED_SPOOL,
    OF_THE_WHOLE,
    Totals,
    read_families,
    write_families,
)


def text(metrics: Metrics) -> str:
    return metrics.render().decode()


def value(totals: Totals, series: str, *, own: Metrics | None = None) -> float | None:
    for line in totals.text(text(own or Metrics())).splitlines():
        if line.startswith(PREFIX + series + " "):
            return float(line.rpartition(" ")[2])
    return None


def worker(requests: int = 0, pending: int = 0) -> Metrics:
    metrics = Metrics()
    metrics.start_series(version="1", apps=["main"], targets=["support"])
    metrics.requests_total.labels("main", "200").inc(requests)
    for _ in range(requests):
        metrics.ack_seconds.labels("main").observe(0.003)
    metrics.spool_pending.labels("support").set(pending)
    metrics.spool_oldest_seconds.labels("support").set(pending * 10)
    metrics.next_give_up_timestamp_seconds.labels("support").set(1000 + pending)
    metrics.spool_free_bytes.set(1000 - pending)
    return metrics


def test_what_is_read_is_written_again() -> None:
    metrics = worker(3, 4)
    metrics.certificate_expiry_timestamp_seconds.labels('a "quoted\\n" } name').set(1)
    before = text(metrics)
    again = write_families(read_families(before).values())
    assert again == write_families(read_families(again).values())

    def samples(shown: str) -> list[tuple[str, dict[str, str], float]]:
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(shown)
            for sample in family.samples
        ]

    assert samples(again) == samples(before)


def test_counts_are_added_and_gauges_are_as_makes_sense() -> None:
    totals = Totals()
    totals.take({0: text(worker(3, pending=1))})
    totals.take({1: text(worker(4, pending=5))})
    assert value(totals, 'requests_total{app="main",status="200"}') == 7
    assert value(totals, 'ack_seconds_bucket{app="main",le="0.005"}') == 7
    assert value(totals, 'ack_seconds_bucket{app="main",le="0.0025"}') == 0
    assert value(totals, 'ack_seconds_count{app="main"}') == 7
    assert value(totals, 'spool_pending{target="support"}') == 6
    assert value(totals, 'spool_oldest_seconds{target="support"}') == 50
    assert value(totals, 'next_give_up_timestamp_seconds{target="support"}') == 1001
    assert value(totals, "spool_free_bytes") == 995
    assert value(totals, 'build_info{version="1"}') == 1


def test_a_worker_that_dies_takes_no_count_with_it_and_leaves_what_waits() -> None:
    totals = Totals()
    totals.take({0: text(worker(3, pending=1))})
    totals.take({1: text(worker(4, pending=5))})
    totals.end(1, for_good=False)
    assert value(totals, 'requests_total{app="main",status="200"}') == 7
    assert value(totals, 'spool_pending{target="support"}') == 6
    totals.take({1: text(worker(2, pending=4))})
    assert value(totals, 'requests_total{app="main",status="200"}') == 9
    assert value(totals, 'ack_seconds_count{app="main"}') == 9
    assert value(totals, 'spool_pending{target="support"}') == 5
    totals.end(1, for_good=True)
    assert value(totals, 'requests_total{app="main",status="200"}') == 9
    assert value(totals, 'spool_pending{target="support"}') == 1


def test_of_a_shared_spool_every_worker_sees_the_whole_and_nothing_is_added() -> None:
    totals = Totals(shared_spool=True)
    totals.take({0: text(worker(3, pending=6)), 1: text(worker(4, pending=5))})
    assert value(totals, 'requests_total{app="main",status="200"}') == 7
    assert value(totals, 'spool_pending{target="support"}') == 6
    assert value(totals, 'spool_oldest_seconds{target="support"}') == 60
    assert value(totals, 'next_give_up_timestamp_seconds{target="support"}') == 1005


def test_what_waits_in_a_shared_spool_is_told_by_who_speaks_and_not_by_who_is_gone() -> None:
    totals = Totals(shared_spool=True)
    totals.take({0: text(worker(3, pending=1)), 1: text(worker(4, pending=5))})
    totals.end(1, for_good=False)
    assert value(totals, 'spool_pending{target="support"}') == 5, "until somebody knows better"
    totals.take({0: text(worker(3, pending=2))})
    assert value(totals, 'spool_pending{target="support"}') == 2
    assert value(totals, 'requests_total{app="main",status="200"}') == 7
    totals.take({})
    assert value(totals, 'spool_pending{target="support"}') == 2, "nobody speaks: what was said last"


def test_the_supervisor_has_the_word_in_what_is_of_the_whole() -> None:
    own = worker()
    own.dead_letters.labels("support").set(12)
    own.config_last_reload_success.set(0)
    of_worker = worker(1)
    of_worker.dead_letters.labels("support").set(7)
    of_worker.config_last_reload_success.set(1)
    totals = Totals()
    totals.take({0: text(of_worker)})
    assert value(totals, 'dead_letters{target="support"}', own=own) == 12
    assert value(totals, "config_last_reload_success", own=own) == 0
    assert value(totals, 'requests_total{app="main",status="200"}', own=own) == 1


def test_before_any_worker_has_spoken_there_is_what_the_supervisor_knows() -> None:
    assert value(Totals(), 'spool_pending{target="support"}', own=worker()) == 0


@pytest.mark.parametrize(
    "name",
    sorted(
        family.name.removeprefix(PREFIX)
        for family in read_families(text(Metrics())).values()
        if family.kind == "gauge"
    ),
)
def test_how_each_gauge_of_several_workers_makes_one_has_been_thought_about(name: str) -> None:
    """A new gauge: put it into the table of `telemetry.sums`, or into `OF_THE_WHOLE`."""
    assert name in _GAUGES or name in OF_THE_WHOLE


def test_what_is_added_up_as_a_gauge_is_of_the_spool() -> None:
    """Whatever else is added up: is it not the same in every worker where they share a spool?"""
    assert {name for name, both in _GAUGES.items() if both is add} <= _OF_A_SHARED_SPOOL.keys()
    assert _OF_A_SHARED_SPOOL.keys() <= _GAUGES.keys()
    assert add not in _OF_A_SHARED_SPOOL.values()


def test_the_table_names_gauges_that_exist() -> None:
    metrics = Metrics()
    assert all(isinstance(getattr(metrics, name), Gauge) or name.startswith("last_") for name in _GAUGES)
