"""What the public port tells about itself: counts for everything, lines for what somebody should read."""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Final

import trio

from gateway.core.conditions import Grade
from gateway.core.envelope import Envelope, Unparseable
from gateway.ingress.checks import Head, IngressApp, Presented, Refuse, presented, why_no_client
from gateway.spool.contract import Notification
from gateway.telemetry.journal import Journal
from gateway.telemetry.ledger import Entry, weigh
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.notification_lines import NotificationLog, is_told
from gateway.telemetry.whereabouts import MANY, Came

_NOISE_LINES_PER_SECOND: Final = 0.1
"""Of strangers, after a burst: a scanner writes at most some 2 MB a day and status."""
_ALARM_LINES_PER_SECOND: Final = 1.0
"""Of Meta itself (or of our own disk): each may be a notification that is late."""

_UNCOPIED_LINES_PER_SECOND: Final = 1 / 60
"""It goes on at thousands a second; the metric counts."""

_REFUSED: Final = frozenset({401, 403})
"""Answers that say who is not believed; the others say that something is not in order."""

_NOT_TURNED_AWAY: Final = frozenset({405, 408, 499})
"""No notification of Meta's, or one whose line broke: it comes again."""

_WOULD_BE_REFUSED: Final = "signed and stored; under client_certificate: required it would be answered 403"

log = get_logger("ingress")


class Record:
    """Counts and logs what became of each request."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        now_ms: Callable[[], int],
        notifications: NotificationLog,
        journal: Journal,
    ) -> None:
        # Each series is looked up once. They are bounded.
        self._requests = cache(metrics.requests_total.labels)
        self._client_certificates = cache(metrics.client_certificates_total.labels)
        self._duplicates = cache(metrics.duplicates_total.labels)
        self._unrouted = cache(metrics.unrouted_total.labels)
        self._ack_seconds = cache(metrics.ack_seconds.labels)
        journal.gaps.count_in(metrics)
        self._gaps = journal.gaps
        self._whereabouts = journal.whereabouts
        self._turned_away = journal.turned_away
        self._ledger = journal.ledger
        self._recent = journal.recent
        self._tallies = journal.tallies
        self._secret_last_used_ms = journal.last_seen.secrets
        self._now_ms = now_ms
        self.notifications = notifications
        """Which get a line of their own; may be changed."""
        self._uncopied = LineBudget(lines_per_second=_UNCOPIED_LINES_PER_SECOND, burst_lines=1)
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
        if app is not None:
            self._tallies[name].refused[refuse.word] += 1
        proved = _proved(app, head)
        if app is not None and refuse.status not in _NOT_TURNED_AWAY:
            grade = _grade(refuse, proved=proved)
            self._turned_away.add(name, refuse.word, grade, self._now_ms())
        if refuse.status in _REFUSED:
            self._keep(app, head, refuse.word, refuse.detail, status=refuse.status, proved=proved)
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
            connection=head.connection,
            proved=proved,
            suppressed=suppressed,
        )

    def challenged(self, app: IngressApp, head: Head) -> None:
        """Meta has verified the callback URL."""
        self._requests(app.name, "200").inc()
        log.info(
            "challenge_answered",
            app=app.name,
            address=head.address,
            connection=head.connection,
            proved=_proved(app, head),
        )

    def verified(self, app: IngressApp, head: Head, what: Presented, secret_index: int) -> None:
        """A signature fits. Counted here, so that it shows what `required` would do to real notifications."""
        self._secret_last_used_ms[app.name, app.secrets[secret_index]] = self._now_ms()
        self._client_certificates(app.name, what).inc()
        accepted = what == "accepted"
        self._recent[app.name].add(accepted=accepted)
        if not accepted:
            self._keep(app, head, why_no_client(head.peer), _WOULD_BE_REFUSED, status=200, signed=True)

    def _keep(
        self,
        app: IngressApp | None,
        head: Head,
        reason: str,
        detail: str,
        *,
        status: int,
        proved: bool = False,
        signed: bool = False,
    ) -> None:
        """Put a request into the refusal ledger."""
        identity = head.peer.identity if head.peer is not None else None
        refusal = head.peer.refusal if head.peer is not None else None
        would_admit = refusal.would_admit if refusal is not None else None
        claims = refusal.claims if refusal is not None else None
        if identity is not None:
            claims = min(identity.clients)
        self._ledger.add(
            Entry(
                at_ms=self._now_ms(),
                kind="request",
                address=head.address,
                reason=reason,
                detail=detail,
                leaf=identity.leaf if identity is not None else refusal.leaf if refusal is not None else None,
                claims=claims,
                staged=refusal.staged if refusal is not None else None,
                would_admit=would_admit,
                connection=f"answered {status}",
                app=app.name if app is not None else None,
                status=status,
                proved=proved,
            ),
            weigh(
                proved=proved or (would_admit is not None and not signed),
                signed=signed,
                claimed=claims is not None,
            ),
        )

    def stored(
        self, head: Head, what: Presented, notification: Notification, envelope: Envelope | Unparseable
    ) -> None:
        """A notification is on disk."""
        app, raw, received_ms = notification.body.app, notification.body.raw, notification.received_at_ms
        self._tallies[app].bytes += len(raw)
        self._requests(app, "200").inc()
        changes = envelope.changes if isinstance(envelope, Envelope) else ()
        slots = self._gaps.note(app, changes, raw, received_ms)
        few = slots if len(slots) <= MANY else None
        came = Came(received_ms, app, what, head.connection, notification.deliveries, few)
        self._whereabouts.came(notification.id, came)
        if is_told(self.notifications, notification.id):
            log.info(
                "notification_accepted",
                connection=head.connection,
                notification=notification.id,
                app=app,
                address=head.address,
                changes=len(changes),
                deliveries=len(notification.deliveries),
                bytes=len(raw),
            )

    def duplicate(self, head: Head, notification: Notification) -> None:
        """A notification was on disk before."""
        app = notification.body.app
        self._tallies[app].bytes += len(notification.body.raw)
        self._requests(app, "200").inc()
        self._duplicates(app).inc()
        if is_told(self.notifications, notification.id):
            log.info(
                "duplicate",
                connection=head.connection,
                app=app,
                address=head.address,
                bytes=len(notification.body.raw),
            )

    def unrouted(self, notification: Notification, *, copied: bool) -> None:
        """No route takes a notification, or some of it; it became a dead letter, or is only counted."""
        app = notification.body.app
        self._unrouted(app, "kept" if copied else "counted").inc()
        if not copied and (suppressed := self._uncopied.take(trio.current_time())) is not None:
            log.warning("unrouted_only_counted", app=app, suppressed=suppressed)

    def answered(self, app: IngressApp, seconds: float) -> None:
        """A notification has been answered 200."""
        self._ack_seconds(app.name).observe(seconds)


def _grade(refuse: Refuse, *, proved: bool) -> Grade:
    """Say who can have brought a refusal about."""
    if refuse.status == 503 and (proved or not refuse.crowded):
        return Grade.OURS
    return Grade.PROVED if proved else Grade.CLAIMED


def _proved(app: IngressApp | None, head: Head) -> bool:
    if app is not None:
        return presented(app, head.peer) == "accepted"
    return head.peer is not None and head.peer.identity is not None
