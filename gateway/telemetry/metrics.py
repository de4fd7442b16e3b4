"""The metrics of the contract (section 6) by name, with help texts. Beside `series`, the only importer of
prometheus_client.

Attributes are named as the metrics are, without the prefix `meta_gateway_`. A registry of one's own, so that
two gateways in one process (tests, demo) do not share counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from gateway.core.identity import Reason
from gateway.core.routing import UNROUTED
from gateway.telemetry.series import HotCounter, HotGauge, HotHistogram

PREFIX = "meta_gateway_"

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `render` returns: the text exposition format that every scraper reads."""

# `..._created` series are not in the contract, and double the size of a scrape.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library leaves this one untyped

ACK_BUCKETS_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""0.25 and 1 are Meta's bar: median at most 250 ms, less than 1 % above 1 s."""
DELIVERY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
END_TO_END_BUCKETS_SECONDS = (
    *(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0),
    *(120.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0),
)
"""From a target that answers at once to one that is back after a week."""
COMMIT_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

ANSWER_STATUSES: Final = ("200", "400", "401", "403", "405", "408", "413", "415", "499", "503")
"""What an app can be answered; 499 (nginx's number) counts clients that left before their body was here."""
HEAD_STATUSES: Final = ("400", "404", "431")
"""What a request is answered before it is known which app it is for."""
CERTIFICATE_REASONS: Final = (
    *(Reason.UNKNOWN_ISSUER, Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.WRONG_PURPOSE),
    *(Reason.REVOKED, Reason.BAD_CHAIN),
)
"""Why a certificate with the right name is refused."""
STAGED: Final = ("yes", "no")
"""Whether a staged anchor would have admitted it."""
PRESENTED: Final = ("accepted", "refused", "none")
OUTCOMES: Final = ("delivered", "retried", "refused", "gave_up")
DEATH_REASONS: Final = ("refused", "gave_up", "damaged")
"""Of a target; a notification that no route takes dies under `UNROUTED_REASONS`."""
COPIES: Final = ("kept", "counted")
"""What is left of a notification that no route takes."""
UNROUTED_REASONS: Final = ("unrouted", "unparseable", "damaged")


Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a metric is."""

    name: str
    """With the prefix."""
    kind: Kind
    labels: tuple[str, ...]
    text: str
    """Its help."""


class Metrics:
    """Every metric that exists so far."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        # The client library refuses a gauge `dead_letters` beside a counter `dead_letters_total` in one
        # registry, though the text format keeps them apart; the contract has both.
        self._files_registry = CollectorRegistry(auto_describe=True)
        self.descriptions: list[Description] = []
        r = self.registry

        def note(name: str, kind: Kind, text: str, labels: tuple[str, ...]) -> str:
            self.descriptions.append(Description(name=PREFIX + name, kind=kind, labels=labels, text=text))
            return PREFIX + name

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(note(name, "counter", text, labels), text, labels, registry=r)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(note(name, "gauge", text, labels), text, labels, registry=r)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(note(name, "histogram", text, labels), text, labels, buckets=buckets, registry=r)

        def hot_counter(name: str, text: str, *labels: str) -> HotCounter:
            return HotCounter(note(name, "counter", text, labels), text, labels, registry=r)

        def hot_gauge(name: str, text: str, *labels: str) -> HotGauge:
            return HotGauge(note(name, "gauge", text, labels), text, labels, registry=r)

        def hot_histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> HotHistogram:
            return HotHistogram(
                note(name, "histogram", text, labels), text, labels, bounds=bounds, registry=r
            )

        self.handshakes_total = counter(
            "handshakes_total", "TLS handshakes by result (accepted, refused) and reason.", "result", "reason"
        )
        self.requests_total = hot_counter(
            "requests_total", "Requests on the public port; app is none on unknown paths.", "app", "status"
        )
        self.refused_clients_total = counter(
            "refused_clients_total",
            "Certificates refused that bear the name of a client entry, by reason; staged is yes where a"
            " staged anchor would have admitted it.",
            "client",
            "reason",
            "staged",
        )
        self.client_certificates_total = hot_counter(
            "client_certificates_total",
            "Signed notifications by what the client presented: accepted, refused or none.",
            "app",
            "presented",
        )
        self.ack_seconds = hot_histogram(
            "ack_seconds",
            "Request head read to answer sent, for POSTs answered 200.",
            ACK_BUCKETS_SECONDS,
            "app",
        )
        self.notifications_total = hot_counter(
            "notifications_total",
            "Changes accepted, by field (other: not in the known table).",
            "app",
            "object",
            "field",
        )
        self.duplicates_total = hot_counter(
            "duplicates_total", "Notifications answered 200 and not stored again.", "app"
        )
        self.unrouted_total = counter(
            "unrouted_total",
            "Notifications of which no route takes something: kept (a dead letter holds it), or counted"
            " (beyond 50/s after 10000 at once: nothing else is left of it).",
            "app",
            "copy",
        )
        self.duplicates_window_seconds = gauge(
            "duplicates_window_seconds",
            "How far back every notification is remembered now; less than spool.duplicates_window while"
            " spool.duplicates_max bounds it, and in the first days.",
        )
        self.duplicates_keys = gauge(
            "duplicates_keys", "Notifications remembered; at most spool.duplicates_max."
        )
        self.deliveries_total = hot_counter(
            "deliveries_total",
            "Attempts by outcome: delivered, retried, refused, gave_up; each member of a merged POST counts.",
            "target",
            "outcome",
        )
        self.delivery_seconds = hot_histogram(
            "delivery_seconds",
            "One attempt (one POST), from start to outcome.",
            DELIVERY_BUCKETS_SECONDS,
            "target",
        )
        self.end_to_end_seconds = hot_histogram(
            "end_to_end_seconds", "Acceptance to delivery.", END_TO_END_BUCKETS_SECONDS, "target"
        )
        self.breaker_open = gauge(
            "breaker_open", "1 while only probes are sent to a target, else 0.", "target"
        )
        self.target_state = gauge(
            "target_state",
            "1 for the state that a target is in, 0 for the others: delivering, recovering, open, paused;"
            " unknown: the configuration has lost it, and deliveries wait for it.",
            "target",
            "state",
        )
        self.next_give_up_timestamp_seconds = gauge(
            "next_give_up_timestamp_seconds",
            "When the next delivery is given up, unless a target takes it before; absent where none waits.",
            "target",
        )
        self.spool_pending = gauge("spool_pending", "Deliveries waiting or under way.", "target")
        self.spool_oldest_seconds = gauge(
            "spool_oldest_seconds", "Age of the oldest pending delivery.", "target"
        )
        self.spool_kept_oldest_seconds = gauge(
            "spool_kept_oldest_seconds",
            "How long ago the oldest delivery was made that gateway replay can send again; 0: none is kept.",
        )
        self.spool_bytes = gauge("spool_bytes", "Bytes of the spool on disk.")
        self.spool_free_bytes = gauge("spool_free_bytes", "Free bytes on the spool's file system.")
        self.spool_min_free_bytes = gauge(
            "spool_min_free_bytes",
            "With less than so many bytes free, Meta is answered 503; 0 where the spool is in a database.",
        )
        self.spool_commit_seconds = histogram(
            "spool_commit_seconds", "One group commit, fsync included.", COMMIT_BUCKETS_SECONDS
        )
        files_text = "Dead-letter files present."
        self.dead_letters = Gauge(
            note("dead_letters", "gauge", files_text, ("target",)),
            files_text,
            ("target",),
            registry=self._files_registry,
        )
        self.dead_letters_total = counter("dead_letters_total", "Dead letters written.", "target", "reason")
        self.last_received_timestamp_seconds = hot_gauge(
            "last_received_timestamp_seconds", "When a field was last accepted.", "app", "field"
        )
        self.meta_lag_seconds = gauge(
            "meta_lag_seconds",
            "From Meta's own timestamp (of one second) to our acceptance, as last seen; absent where nothing"
            " with a timestamp came for 15 minutes. Below 0: this clock is behind Meta's.",
            "app",
        )
        self.usual_interval_seconds = gauge(
            "usual_interval_seconds",
            "The usual interval between two changes of a field: a running median.",
            "app",
            "object",
            "field",
        )
        self.condition = gauge(
            "condition",
            "How many fields, refusals or targets are in a condition: meta_silent, gateway_refusing,"
            " target_failing; 0: none. docs/observing.md says what each means.",
            "condition",
        )
        self.certificate_expiry_timestamp_seconds = gauge(
            "certificate_expiry_timestamp_seconds",
            "When a configured certificate or anchor expires.",
            "certificate",
        )
        self.trust_anchor_last_seen_timestamp_seconds = gauge(
            "trust_anchor_last_seen_timestamp_seconds",
            "When an anchor (first 16 hexadecimal digits of its SHA-256) last admitted a client.",
            "anchor",
        )
        self.signature_secret_last_used_timestamp_seconds = gauge(
            "signature_secret_last_used_timestamp_seconds",
            "When an app secret (its index) last verified a notification.",
            "app",
            "secret",
        )
        self.config_info = gauge("config_info", "Hash of the loaded configuration.", "hash")
        self.config_last_reload_success = gauge(
            "config_last_reload_success",
            "Whether the last reload was taken up; 0: refused, and what was loaded before still holds.",
        )
        self.config_last_reload_timestamp_seconds = gauge(
            "config_last_reload_timestamp_seconds", "When the last reload was tried; at first, the start."
        )
        self.readiness = gauge(
            "readiness", "1 while a check of /readyz holds, else 0; ready means that all do.", "check"
        )
        self.workers = gauge(
            "workers",
            "Worker processes by what they do: starting, serving, waiting (for their next start), draining"
            " (what was left to workers that are no more); none where there is one process.",
            "state",
        )
        self.worker_restarts_total = counter("worker_restarts_total", "Workers started anew.", "worker")
        self.build_info = gauge("build_info", "Version of the gateway.", "version")

    def start_series(
        self, *, version: str, apps: Iterable[str], targets: Iterable[str], clients: Iterable[str] = ()
    ) -> None:
        """Make the series of what is configured begin at 0, so that `rate()` and alerts see the first event.

        Timestamps are left out: a 0 would read as 1970.
        """
        self.build_info.labels(version).set(1)
        for status in HEAD_STATUSES:
            self.requests_total.labels("none", status)
        self.handshakes_total.labels("accepted", "none")
        for reason in Reason:
            self.handshakes_total.labels("refused", reason.value)
        for client, reason, staged in product(clients, CERTIFICATE_REASONS, STAGED):
            self.refused_clients_total.labels(client, reason.value, staged)
        for app in apps:
            self.ack_seconds.labels(app)
            self.duplicates_total.labels(app)
            for copy in COPIES:
                self.unrouted_total.labels(app, copy)
            for status in ANSWER_STATUSES:
                self.requests_total.labels(app, status)
            for presented in PRESENTED:
                self.client_certificates_total.labels(app, presented)
        for target in targets:
            self.delivery_seconds.labels(target)
            self.end_to_end_seconds.labels(target)
            self.spool_pending.labels(target)
            self.spool_oldest_seconds.labels(target)
            self.dead_letters.labels(target)
            for outcome in OUTCOMES:
                self.deliveries_total.labels(target, outcome)
            for death in DEATH_REASONS:
                self.dead_letters_total.labels(target, death)
        self.dead_letters.labels(UNROUTED)
        for death in UNROUTED_REASONS:
            self.dead_letters_total.labels(UNROUTED, death)

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry) + generate_latest(self._files_registry)
