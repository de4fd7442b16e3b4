"""What the public port tells about itself: counts for everything, lines for what somebody should read."""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Final, Literal

import trio

from gateway.core.envelope import Envelope, Unparseable
from gateway.core.fields import metric_field, metric_object
from gateway.ingress.checks import Head, IngressApp, Refuse, presented
from gateway.spool.contract import Notification
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics

NotificationLog = Literal["problems", "sample", "all"]

SAMPLE: Final = 100
"""One notification in so many is logged with `log.notifications: sample`; the first is."""

_NOISE_LINES_PER_SECOND: Final = 0.1
"""Of strangers, after a burst: a scanner writes at most some 2 MB a day and status."""
_ALARM_LINES_PER_SECOND: Final = 1.0
"""Of Meta itself (or of our own disk): each may be a notification that is late."""

log = get_logger("ingress")


class Record:
    """Counts and logs what became of each request."""

    def __init__(
        self, metrics: Metrics, *, now_ms: Callable[[], int], notifications: NotificationLog
    ) -> None:
        # Each series is looked up once: prometheus-client checks the labels every time. They are bounded.
        self._requests = cache(metrics.requests_total.labels)
        self._client_certificates = cache(metrics.client_certificates_total.labels)
        self._secret_last_used = cache(metrics.signature_secret_last_used_timestamp_seconds.labels)
        self._notifications_by_field = cache(metrics.notifications_total.labels)
        self._last_received = cache(metrics.last_received_timestamp_seconds.labels)
        self._duplicates = cache(metrics.duplicates_total.labels)
        self._ack_seconds = cache(metrics.ack_seconds.labels)
        self._now_ms = now_ms
        self.notifications = notifications
        """Which get a line of their own; may be changed."""
        self._seen = 0
        self._alarms: defaultdict[int, LineBudget] = defaultdict(
            lambda: LineBudget(lines_per_second=_ALARM_LINES_PER_SECOND)
        )
        self._noise: defaultdict[int, LineBudget] = defaultdict(
            lambda: LineBudget(lines_per_second=_NOISE_LINES_PER_SECOND)
        )

    def refused(self, app: IngressApp | None, head: Head, refuse: Refuse) -> None:
        """A request that stores nothing: an alarm from a client that has proved to be Meta, else noise."""
        name = app.name if app is not None else "none"
        self._requests(name, str(refuse.status)).inc()
        proved = _proved(app, head)
        alarm = proved or refuse.status == 503  # the latter is our own fault, whoever meets it
        suppressed = (self._alarms if alarm else self._noise)[refuse.status].take(trio.current_time())
        if suppressed is None:
            return
        line = log.warning if alarm else log.info
        line(
            "request_refused",
            app=name,
            status=refuse.status,
            reason=refuse.word,
            detail=refuse.detail,
            address=head.address,
            proved=proved,
            suppressed=suppressed,
        )

    def challenged(self, app: IngressApp, head: Head) -> None:
        """Meta has verified the callback URL."""
        self._requests(app.name, "200").inc()
        log.info("challenge_answered", app=app.name, address=head.address, proved=_proved(app, head))

    def verified(self, app: IngressApp, head: Head, secret_index: int) -> None:
        """A signature fits. Counted here, so that it shows what `required` would do to real notifications."""
        now_seconds = self._now_ms() / 1000
        self._client_certificates(app.name, presented(app, head.peer)).inc()
        self._secret_last_used(app.name, str(secret_index)).set(now_seconds)

    def stored(self, notification: Notification, envelope: Envelope | Unparseable) -> None:
        """A notification is on disk."""
        app = notification.body.app
        self._requests(app, "200").inc()
        changes = envelope.changes if isinstance(envelope, Envelope) else ()
        fields: defaultdict[tuple[str, str], int] = defaultdict(int)
        for change in changes:
            fields[metric_object(change.object), metric_field(change.object, change.field)] += 1
        for (object_, field), count in fields.items():
            self._notifications_by_field(app, object_, field).inc(count)
            self._last_received(app, field).set(notification.received_at_ms / 1000)
        if self._is_told():
            log.info(
                "notification_accepted",
                id=notification.id,
                app=app,
                changes=len(changes),
                deliveries=len(notification.deliveries),
                bytes=len(notification.body.raw),
            )

    def duplicate(self, notification: Notification) -> None:
        """A notification was on disk before."""
        app = notification.body.app
        self._requests(app, "200").inc()
        self._duplicates(app).inc()
        if self._is_told():
            log.info("duplicate", app=app, bytes=len(notification.body.raw))

    def answered(self, app: IngressApp, seconds: float) -> None:
        """A notification has been answered 200."""
        self._ack_seconds(app.name).observe(seconds)

    def _is_told(self) -> bool:
        self._seen += 1
        match self.notifications:
            case "problems":
                return False
            case "sample":
                return self._seen % SAMPLE == 1
            case "all":
                return True


def _proved(app: IngressApp | None, head: Head) -> bool:
    if app is not None:
        return presented(app, head.peer) == "accepted"
    return head.peer is not None and head.peer.identity is not None
