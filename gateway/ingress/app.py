"""The public port's ASGI app: from a request to a notification on disk, and only then 200.

Plain ASGI 3, scopes `http` and `lifespan`. It knows nothing of the server under it, except that
`scope["state"]` may hold a `peer` (core.identity), and that it may answer before the body has come.

The way of a POST, each step with its answer (contract, section 3):

    path 404 - method 405 - client certificate 403 - Content-Encoding 415 - room 503 - size 413
    body read: size 413, time 408, memory 503 - signature 401 - stored or known 200, not stored 503
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import trio

from gateway.core.envelope import Envelope, parse_envelope
from gateway.core.ordering import order_keys
from gateway.core.routing import UNROUTED, RoutingTable, delivery_ids
from gateway.core.signature import SignatureFault, VerifiedBody, verify_signature
from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError
from gateway.ingress.asgi import Receive, Scope, Send, run_lifespan, send_accepted, send_answer
from gateway.ingress.body import (
    BODY_BYTES_PER_SECOND,
    BODY_SECONDS,
    MAX_HELD_BYTES,
    BodyFault,
    BodyMemory,
    Held,
    gather_body,
    read_body,
)
from gateway.ingress.checks import (
    DISCONNECTED,
    SIGNATURE_HEADER,
    UNKNOWN_PATH,
    Challenge,
    Head,
    IngressApp,
    Presented,
    ReadBody,
    Refuse,
    examine,
    presented,
    too_large,
    unavailable,
)
from gateway.ingress.record import Record
from gateway.ingress.unrouted import CopyBudget
from gateway.settings.model import Listen
from gateway.spool.contract import Appended, NewDelivery, Notification, Spool
from gateway.telemetry.journal import Journal
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.notification_lines import NotificationLog

__all__ = ["Ingress", "IngressApp", "IngressLimits", "build_ingress_app"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressLimits:
    """The bounds of what is taken in."""

    max_body_bytes: int
    body_seconds: float = BODY_SECONDS
    body_bytes_per_second: int = BODY_BYTES_PER_SECOND
    max_held_bytes: int = MAX_HELD_BYTES


def ingress_limits(listen: Listen) -> IngressLimits:
    """Say what the settings mean for what is taken in."""
    return IngressLimits(
        max_body_bytes=listen.max_body_bytes,
        body_seconds=listen.limits.body_seconds,
        body_bytes_per_second=listen.limits.body_rate_bytes,
    )


class UnservedScopeError(GatewayError):
    """The server offered something else than HTTP: a WebSocket, say."""


def build_ingress_app(
    *,
    apps: Mapping[str, IngressApp],
    routing: Callable[[], RoutingTable],
    spool: Spool,
    metrics: Metrics,
    now_ms: Callable[[], int],
    new_id: Callable[[], str],
    limits: IngressLimits,
    log_notifications: NotificationLog = "problems",
    journal: Journal | None = None,
) -> "Ingress":
    """Make the app.

    `routing` is asked once a notification; `now_ms` is Unix time; `new_id` makes notification ids (core.ids);
    `journal` keeps the last refusals and who was seen when.
    """
    record = Record(metrics, now_ms=now_ms, notifications=log_notifications, journal=journal or Journal())
    return Ingress(apps, routing, spool, record, now_ms, new_id, limits)


class Ingress:
    """The app; `build_ingress_app` makes it."""

    def __init__(
        self,
        apps: Mapping[str, IngressApp],
        routing: Callable[[], RoutingTable],
        spool: Spool,
        record: Record,
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
        limits: IngressLimits,
    ) -> None:
        self._by_path = {app.path: app for app in apps.values()}
        if len(self._by_path) != len(apps):
            raise ValueError("two apps share a path")
        self._routing = routing
        self._spool = spool
        self._record = record
        self._now_ms = now_ms
        self._new_id = new_id
        self._limits = limits
        self._memory = BodyMemory(limits.max_held_bytes)
        self._copies = CopyBudget()

    def adopt(
        self,
        *,
        apps: Mapping[str, IngressApp],
        limits: IngressLimits,
        log_notifications: NotificationLog,
    ) -> None:
        """Take the next requests by other settings; one that has begun goes on with its app as it was. It
        cannot fail: paths differ (`settings.crosschecks`)."""
        self._by_path = {app.path: app for app in apps.values()}
        self._limits = limits
        self._record.notifications = log_notifications

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._serve(Head.of(scope), receive, send)
            case "lifespan":
                await run_lifespan(receive, send)
            case other:
                raise UnservedScopeError(f"scope type {other!r} is not served")

    async def _serve(self, head: Head, receive: Receive, send: Send) -> None:
        app = self._by_path.get(head.path) if head.path is not None else None
        if app is None:
            await self._refuse(None, head, UNKNOWN_PATH, send)
            return
        room, max_body_bytes = self._spool.room(), self._limits.max_body_bytes
        match examine(app, head, room=room, max_body_bytes=max_body_bytes):
            case Refuse() as refuse:
                await self._refuse(app, head, refuse, send)
            case Challenge(challenge=challenge):
                self._record.challenged(app, head)
                await send_answer(send, 200, challenge)
            case ReadBody():
                await self._take(app, head, receive, send)
            case never:
                assert_never(never)

    async def _refuse(self, app: IngressApp | None, head: Head, refuse: Refuse, send: Send) -> None:
        self._record.refused(app, head, refuse)
        if refuse is DISCONNECTED:
            return  # nobody is there to read an answer
        body = b"" if head.method == "HEAD" else refuse.word.encode("ascii") + b"\n"
        await send_answer(send, refuse.status, body, headers=refuse.headers)

    async def _take(self, app: IngressApp, head: Head, receive: Receive, send: Send) -> None:
        started_seconds = trio.current_time()
        what = presented(app, head.peer)
        with self._memory.hold(proved=what == "accepted") as held:
            refuse = await self._store(app, head, what, receive, held)
        if refuse is not None:
            await self._refuse(app, head, refuse, send)
            return
        await send_accepted(send)
        self._record.answered(app, trio.current_time() - started_seconds)

    async def _store(
        self, app: IngressApp, head: Head, what: Presented, receive: Receive, held: Held
    ) -> Refuse | None:
        """Take a notification in; None: it is on disk."""
        limits = self._limits
        if head.body_is_here:
            raw = await gather_body(receive, held, max_bytes=limits.max_body_bytes)
        else:
            raw = await read_body(
                receive,
                held,
                max_bytes=limits.max_body_bytes,
                seconds=limits.body_seconds,
                bytes_per_second=limits.body_bytes_per_second,
            )
        if isinstance(raw, BodyFault):
            return _BODY_FAULTS[raw]
        values = head.values(SIGNATURE_HEADER)
        body = verify_signature(app=app.name, raw=raw, header_values=values, secrets=app.secrets)
        if isinstance(body, SignatureFault):
            return Refuse(status=401, word="signature", detail=body)
        self._record.verified(app, head, what, body.secret_index)
        return await self._append(head, what, body)

    async def _append(self, head: Head, what: Presented, body: VerifiedBody) -> Refuse | None:
        notification_id = self._new_id()
        envelope = parse_envelope(body.raw)
        changes, object_ = (
            (len(envelope.changes), envelope.object) if isinstance(envelope, Envelope) else (0, None)
        )
        plan = self._routing().plan(body.app, envelope)
        copied = None
        if plan and plan[-1].target == UNROUTED:
            copied = self._copies.take(trio.current_time())
            plan = plan if copied else plan[:-1]
        ids = delivery_ids(notification_id, plan)
        notification = Notification(
            id=notification_id,
            received_at_ms=self._now_ms(),
            body=body,
            deliveries=tuple(
                NewDelivery(
                    id=ids[planned.target],
                    target=planned.target,
                    selection=planned.selection,
                    changes=changes if planned.selection is None else len(planned.selection),
                    lane=planned.lane,
                    order_keys=order_keys(body.raw, planned.selection) if planned.ordered else (),
                )
                for planned in plan
            ),
            object=object_,
        )
        try:
            # Cancelled from here on (the server stops), it neither tears the write nor leaves it uncounted:
            # whoever waits for the disk gets its answer (promise 18).
            appended = await self._spool.append(notification)
        except SpoolUnavailableError as error:
            return unavailable(error.message)
        except SpoolBrokenError:
            return unavailable("the spool has failed")
        match appended:
            case Appended.STORED:
                self._record.stored(head, what, notification, envelope)
                if copied is not None:
                    self._record.unrouted(notification, copied=copied)
            case Appended.DUPLICATE:
                self._record.duplicate(head, notification)
        return None


_BODY_FAULTS = {
    BodyFault.TOO_LARGE: too_large("body"),
    BodyFault.TIMEOUT: Refuse(status=408, word="timeout", detail="body"),
    BodyFault.DISCONNECTED: DISCONNECTED,
    BodyFault.NO_MEMORY: unavailable("too many bodies under way", crowded=True),
}
