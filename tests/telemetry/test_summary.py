"""One line an app and ten seconds."""

import json

import pytest
from structlog.testing import capture_logs

from gateway.core.envelope import Envelope, parse_envelope
from gateway.telemetry.journal import Journal
from gateway.telemetry.metrics import ACK_BUCKETS_SECONDS, Metrics
from gateway.telemetry.summary import Summaries, quantile_ms

NOW_MS = 1_795_330_800_000


def noted(journal: Journal, *, received_ms: int, meta_ms: int) -> None:
    """Have a notification in the gap ledger, with Meta's own timestamp."""
    message = {"timestamp": str(meta_ms // 1000), "from": "1"}
    change = {"field": "messages", "value": {"metadata": {"phone_number_id": "1"}, "messages": [message]}}
    raw = json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}
    ).encode()
    envelope = parse_envelope(raw)
    assert isinstance(envelope, Envelope)
    journal.gaps.note("main", envelope.changes, raw, received_ms)
    journal.gaps.fold(received_ms)


def test_a_summary_is_the_difference_since_the_last_and_nothing_where_nothing_came() -> None:
    metrics, journal = Metrics(), Journal()
    summaries = Summaries(metrics, journal)
    for _ in range(98):
        metrics.ack_seconds.labels("main").observe(0.004)
    for _ in range(2):
        metrics.ack_seconds.labels("main").observe(0.4)
    metrics.duplicates_total.labels("main").inc(7)
    journal.tallies["main"].bytes += 53_200
    journal.tallies["main"].refused["signature"] += 3
    metrics.ack_seconds.labels("silent")
    noted(journal, received_ms=NOW_MS - 2500, meta_ms=NOW_MS - 5000)
    with capture_logs() as lines:
        summaries.tell(seconds=10.004, now_ms=NOW_MS)
    assert lines == [
        {
            "event": "summary",
            "log_level": "info",
            "component": "ingress",
            "app": "main",
            "seconds": 10.0,
            "accepted": 93,
            "duplicates": 7,
            "refused": {"signature": 3},
            "bytes": 53_200,
            "ack_p50_ms": pytest.approx(3.8, abs=0.1),
            "ack_p99_ms": 375.0,
            "lag_seconds": 2.5,
        }
    ]
    with capture_logs() as lines:
        summaries.tell(seconds=10, now_ms=NOW_MS + 10_000)
    assert lines == []
    journal.tallies["main"].refused["timeout"] += 1
    with capture_logs() as lines:
        summaries.tell(seconds=10, now_ms=NOW_MS + 10_000)
    assert [(line["accepted"], line["refused"]) for line in lines] == [(0, {"timeout": 1})]
    assert (lines[0]["ack_p50_ms"], lines[0]["lag_seconds"]) == (None, None), "nothing was read since"


def test_quantiles_lie_in_the_bucket_that_holds_them() -> None:
    for index, bound in enumerate(ACK_BUCKETS_SECONDS):
        counts = [0] * (len(ACK_BUCKETS_SECONDS) + 1)
        counts[index] = 1000
        lower = ACK_BUCKETS_SECONDS[index - 1] if index else 0.0
        for quantile in (0.5, 0.99):
            told = quantile_ms(counts, quantile)
            assert told is not None
            assert lower * 1000 <= told <= bound * 1000
    assert quantile_ms([0] * len(ACK_BUCKETS_SECONDS) + [5], 0.5) == ACK_BUCKETS_SECONDS[-1] * 1000
    assert quantile_ms([0] * (len(ACK_BUCKETS_SECONDS) + 1), 0.5) is None
