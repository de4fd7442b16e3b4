"""The metrics: names, help, and the text format."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import ACK_BUCKETS_SECONDS, PREFIX, Metrics

CONTRACT = {
    "handshakes_total": {"result", "reason"},
    "requests_total": {"app", "status"},
    "client_certificates_total": {"app", "presented"},
    "ack_seconds": {"app"},
    "notifications_total": {"app", "object", "field"},
    "duplicates_total": {"app"},
    "deliveries_total": {"target", "outcome"},
    "delivery_seconds": {"target"},
    "end_to_end_seconds": {"target"},
    "spool_pending": {"target"},
    "spool_oldest_seconds": {"target"},
    "spool_bytes": set(),
    "spool_free_bytes": set(),
    "spool_commit_seconds": set(),
    "dead_letters": {"target"},
    "dead_letters_total": {"target", "reason"},
    "last_received_timestamp_seconds": {"app", "field"},
    "certificate_expiry_timestamp_seconds": {"certificate"},
    "trust_anchor_last_seen_timestamp_seconds": {"anchor"},
    "signature_secret_last_used_timestamp_seconds": {"app", "secret"},
    "config_info": {"hash"},
    "config_last_reload_success": set(),
    "config_last_reload_timestamp_seconds": set(),
    "build_info": {"version"},
}


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
    metrics.start_series(version="1.2.3", apps=["main"], targets=["support"])
    return metrics


def test_every_metric_of_the_contract_is_there_with_a_help_text(metrics: Metrics) -> None:
    told = helped(metrics.render().decode())
    assert set(told) >= set(CONTRACT)
    assert all(text.endswith(".") for text in told.values())


@pytest.mark.parametrize(("name", "labels"), CONTRACT.items())
def test_each_has_the_labels_of_the_contract(metrics: Metrics, name: str, labels: set[str]) -> None:
    metric = getattr(metrics, name)
    assert set(metric._labelnames) == labels


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
