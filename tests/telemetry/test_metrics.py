"""The metrics: names, help, and the text format."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import ACK_BUCKETS_SECONDS, PREFIX, Metrics
from gateway.telemetry.metrics_reference import render_metrics_reference

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
CONTRACT: dict[str, tuple[str, set[str]]] = {
    "handshakes_total": (COUNTER, {"result", "reason"}),
    "requests_total": (COUNTER, {"app", "status"}),
    "client_certificates_total": (COUNTER, {"app", "presented"}),
    "ack_seconds": (HISTOGRAM, {"app"}),
    "notifications_total": (COUNTER, {"app", "object", "field"}),
    "duplicates_total": (COUNTER, {"app"}),
    "deliveries_total": (COUNTER, {"target", "outcome"}),
    "delivery_seconds": (HISTOGRAM, {"target"}),
    "end_to_end_seconds": (HISTOGRAM, {"target"}),
    "spool_pending": (GAUGE, {"target"}),
    "spool_oldest_seconds": (GAUGE, {"target"}),
    "spool_bytes": (GAUGE, set()),
    "spool_free_bytes": (GAUGE, set()),
    "spool_commit_seconds": (HISTOGRAM, set()),
    "breaker_open": (GAUGE, {"target"}),
    "target_state": (GAUGE, {"target", "state"}),
    "dead_letters": (GAUGE, {"target"}),
    "dead_letters_total": (COUNTER, {"target", "reason"}),
    "next_give_up_timestamp_seconds": (GAUGE, {"target"}),
    "last_received_timestamp_seconds": (GAUGE, {"app", "field"}),
    "certificate_expiry_timestamp_seconds": (GAUGE, {"certificate"}),
    "trust_anchor_last_seen_timestamp_seconds": (GAUGE, {"anchor"}),
    "signature_secret_last_used_timestamp_seconds": (GAUGE, {"app", "secret"}),
    "config_last_reload_success": (GAUGE, set()),
    "config_last_reload_timestamp_seconds": (GAUGE, set()),
    "config_info": (GAUGE, {"hash"}),
    "build_info": (GAUGE, {"version"}),
}
"""Section 6 of the contract: name, kind, labels."""


def helped(text: str) -> dict[str, str]:
    """Return name -> help text."""
    return {
        line.split(" ", 3)[2].removeprefix(PREFIX): line.split(" ", 3)[3]
        for line in text.splitlines()
        if line.startswith("# HELP ")
    }


def series(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.start_series(version="1.2.3", apps=["main"], targets=["support"], clients=["meta"])
    return metrics


def test_every_metric_of_the_contract_is_there_with_a_help_text(metrics: Metrics) -> None:
    told = helped(metrics.render().decode())
    assert set(told) >= set(CONTRACT)
    assert all(text.endswith(".") for text in told.values())


def test_each_has_the_kind_and_the_labels_of_the_contract(metrics: Metrics) -> None:
    described = {one.name.removeprefix(PREFIX): (one.kind, set(one.labels)) for one in metrics.descriptions}
    assert {name: described.get(name) for name in CONTRACT} == CONTRACT


def test_what_is_described_is_what_a_scrape_shows(metrics: Metrics) -> None:
    text = metrics.render().decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert kinds == {one.name: one.kind for one in metrics.descriptions}
    assert helped(text) == {one.name.removeprefix(PREFIX): one.text for one in metrics.descriptions}
    for one in metrics.descriptions:
        metric = getattr(metrics, one.name.removeprefix(PREFIX))
        metric.labels(*one.labels) if one.labels else metric


def test_the_committed_reference_is_what_the_metrics_say() -> None:
    committed = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    assert committed == render_metrics_reference(), (
        "write it anew: python -m gateway.telemetry.metrics_reference"
    )


def test_every_line_has_the_prefix_and_none_tells_when_a_series_began(metrics: Metrics) -> None:
    for line in metrics.render().decode().splitlines():
        name = line.split(" ")[2] if line.startswith("#") else line
        assert name.startswith(PREFIX)
        assert "_created" not in name


def test_series_of_what_is_configured_begin_at_0(metrics: Metrics) -> None:
    found = series(metrics)
    for name, labels in [
        ("requests_total", {"app": "main", "status": "401"}),
        ("requests_total", {"app": "none", "status": "404"}),
        ("client_certificates_total", {"app": "main", "presented": "refused"}),
        ("handshakes_total", {"result": "refused", "reason": "expired"}),
        ("refused_clients_total", {"client": "meta", "reason": "unknown_issuer", "staged": "yes"}),
        ("ack_seconds_count", {"app": "main"}),
        ("duplicates_total", {"app": "main"}),
        ("deliveries_total", {"target": "support", "outcome": "gave_up"}),
        ("spool_pending", {"target": "support"}),
        ("dead_letters", {"target": "_unrouted"}),
        ("dead_letters_total", {"target": "support", "reason": "refused"}),
        ("dead_letters_total", {"target": "_unrouted", "reason": "unparseable"}),
    ]:
        assert found[name, frozenset(labels.items())] == 0
    assert found["build_info", frozenset({("version", "1.2.3")})] == 1


def test_no_timestamp_begins_at_0() -> None:
    """`time() - 0` would set off every alert on age. (The start sets that of the last reload.)"""
    metrics = Metrics()
    metrics.start_series(version="1", apps=["main"], targets=["support"])
    begun = {name for name, _ in series(metrics) if name.endswith("timestamp_seconds")}
    assert begun == {"config_last_reload_timestamp_seconds"}


def test_acknowledgements_are_told_apart_at_metas_bar(metrics: Metrics) -> None:
    """Meta: median at most 250 ms, less than 1 % above 1 s."""
    assert {0.25, 1.0} <= set(ACK_BUCKETS_SECONDS)
    metrics.ack_seconds.labels("main").observe(0.3)
    found = series(metrics)
    assert found["ack_seconds_bucket", frozenset({("app", "main"), ("le", "0.25")})] == 0
    assert found["ack_seconds_bucket", frozenset({("app", "main"), ("le", "1.0")})] == 1


def test_two_gateways_in_one_process_do_not_share_counts(metrics: Metrics) -> None:
    metrics.duplicates_total.labels("main").inc()
    assert ("duplicates_total", frozenset({("app", "main")})) not in series(Metrics())


def test_a_label_of_a_stranger_cannot_add_a_line(metrics: Metrics) -> None:
    metrics.certificate_expiry_timestamp_seconds.labels('x"} 1\nmeta_gateway_up{a="').set(1)
    assert not [line for line in metrics.render().decode().splitlines() if line.startswith("meta_gateway_up")]
