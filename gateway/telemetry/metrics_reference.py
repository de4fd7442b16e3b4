"""The reference of the metrics, written from `Metrics`: a help text is the only description of a metric."""

from pathlib import Path
from typing import Final

from gateway.telemetry.metrics import ACK_BUCKETS_SECONDS, Description, Metrics

_HEAD: Final = """\
# Metrics

<!-- Written by gateway/telemetry/metrics_reference.py; a test holds it. Change the help texts. -->

`GET /metrics` on the admin port, and on the second listener of `metrics.address`, in Prometheus's text
format. With `listen.workers` they are sums over the processes, but for what waits in a spool that
they share, which is told once; of times and states the worst is told. Series
of what is configured begin at 0 with the process; a timestamp is absent until there is one.

What to make of them is ready to use: [alerts](../deploy/prometheus/alerts.yaml), each with its paragraph in
[operations](operations.md#alerts), a [scrape configuration](../deploy/prometheus/prometheus.yaml), and a
[dashboard](../deploy/grafana/meta-webhook-gateway.json) for Grafana.

| metric | kind | labels | |
|---|---|---|---|
"""


def render_metrics_reference() -> str:
    """Return docs/metrics.md."""
    buckets = ", ".join(f"{bound:g}" for bound in ACK_BUCKETS_SECONDS)
    rows = "".join(_row(one) for one in sorted(Metrics().descriptions, key=lambda one: one.name))
    tail = f"The buckets of `meta_gateway_ack_seconds` are {buckets}: 0.25 and 1 are Meta's bar."
    return f"{_HEAD}{rows}\n{tail}\n"


def _row(one: Description) -> str:
    labels = ", ".join(f"`{label}`" for label in one.labels)
    return f"| `{one.name}` | {one.kind} | {labels} | {one.text} |\n"


if __name__ == "__main__":
    Path("docs/metrics.md").write_text(render_metrics_reference(), encoding="utf-8")
