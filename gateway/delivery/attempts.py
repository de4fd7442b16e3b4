"""One target's deliveries: an attempt, its outcome, and what follows from it.

An attempt is one POST, for a delivery alone or for a group; numbers, records and counts are each delivery's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, assert_never

import trio

from gateway.core.outcome import Answer, Delivered, NoAnswer, Outcome, Refused, Retryable, classify
from gateway.core.retry import GiveUp, RetryAt, decide_retry, step_ms
from gateway.delivery.aftermath import after_refusal, scatter, stays_together
from gateway.delivery.burial import Undertaker
from gateway.delivery.dead_letter_record import Reason
from gateway.delivery.gate import Gate
from gateway.delivery.lease_loop import settle_together
from gateway.delivery.message import (
    UncuttableBodyError,
    UnsendableError,
    body_of,
    make_request,
    merged_body_of,
)
from gateway.delivery.parcel import Parcel, line_fields
from gateway.delivery.sender import AttemptLane, CutShort, Endpoint
from gateway.delivery.taken import note_taken
from gateway.delivery.target import DispatchTarget
from gateway.errors import DeadLetterError
from gateway.spool.contract import Buried, Done, Lease, Release, RetryLater, Settlement, Spool
from gateway.spool.history import AttemptRecord
from gateway.telemetry.journal import Journal
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.notification_lines import TroubleLines, is_told

UNWRITTEN_STEP_MS: Final = 60_000
"""A delivery whose dead letter cannot be written is tried again no sooner than this: disks are not
repaired faster.
"""

MAX_NAMED_MEMBERS: Final = 50
"""Of a merged POST, in one line; as many as `Gateway-Notification` names."""

_log = get_logger("delivery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every target's attempts share."""

    spool: Spool
    undertaker: Undertaker
    metrics: Metrics
    now_ms: Callable[[], int]
    random: Callable[[], float]
    app_secret: Callable[[str], bytes | None]
    """The first secret of an app; None where the configuration no longer has it."""
    lines: TroubleLines
    """How many lines may be written about deliveries."""
    journal: Journal = field(default_factory=Journal)


class TargetAttempts:
    """Makes the attempts of one target, each on a lane of its own."""

    def __init__(
        self,
        name: str,
        target: DispatchTarget,
        sender: Callable[[Endpoint], AttemptLane],
        surroundings: Surroundings,
        gate: Gate,
    ) -> None:
        """`sender` opens one lane to an endpoint; as many are opened as attempts are made at once."""
        self._name = name
        self._target = target
        self._sender = sender
        self._free: list[AttemptLane] = []
        self._lanes: set[AttemptLane] = set()
        self._past: set[AttemptLane] = set()
        """Lanes of former settings, until they are closed."""
        self._busy: set[AttemptLane] = set()
        self._with = surroundings
        self._gate = gate
        metrics = surroundings.metrics
        self._delivery_seconds = metrics.delivery_seconds.labels(name)
        self._end_to_end_seconds = metrics.end_to_end_seconds.labels(name)

    def adopt(self, target: DispatchTarget) -> None:
        """Make the next attempts by other settings; `close_past` is due then. It cannot fail."""
        self._target = target
        self._past |= self._lanes
        self._lanes = set()
        self._free = []

    @property
    def target(self) -> DispatchTarget:
        """The settings of the next attempt."""
        return self._target

    async def close_past(self) -> None:
        """Close the lanes of former settings; those in use are closed when their attempt has ended."""
        for lane in self._past - self._busy:
            self._past.discard(lane)
            await lane.aclose()

    def cut_short(self) -> None:
        """End all attempts under way; those without an answer stay in the spool as they were stored."""
        for lane in self._busy:
            lane.cut_short()

    async def aclose(self) -> None:
        """Close the connections."""
        for lane in self._lanes | self._past:
            await lane.aclose()

    async def take(self, parcel: Parcel) -> bool:
        """Make the attempt that a parcel is for, and settle it; return whether the target took it."""
        # The lane used last comes first: a target with little to do keeps one connection warm, not eight
        # lukewarm ones.
        lane = self._free.pop() if self._free else self._open()
        self._busy.add(lane)
        try:
            return await self._attempt(parcel, lane)
        finally:
            self._busy.discard(lane)
            if lane in self._lanes:
                self._free.append(lane)
            else:
                self._past.discard(lane)
                await lane.aclose()

    def _open(self) -> AttemptLane:
        lane = self._sender(self._target.endpoint)
        self._lanes.add(lane)
        return lane

    async def _attempt(self, parcel: Parcel, lane: AttemptLane) -> bool:
        at_ms, started = self._with.now_ms(), trio.current_time()
        body = parcel.first.raw
        try:
            body = merged_body_of(parcel)
            answer = await self._send(parcel, body, lane, at_ms)
        except UnsendableError as error:
            record = _record(parcel, NoAnswer(error=error.message), at_ms, 0)
            if parcel.merged:
                _log.error("deliveries_unjoinable", **_fields(parcel))
                await settle_together(self._with.spool, scatter(parcel, record, now_ms=at_ms))
            else:
                _log.error("delivery_uncuttable", **_fields(parcel))
                await self._bury(parcel.first, Reason.UNPARSEABLE, body, record)
            return False
        if isinstance(answer, CutShort):
            return False
        seconds = trio.current_time() - started
        self._delivery_seconds.observe(seconds)
        now_ms = self._with.now_ms()
        outcome = classify(answer, refuse_statuses=self._target.refuse_statuses, now_ms=now_ms)
        record = _record(parcel, answer, at_ms, round(seconds * 1000))
        await self._follow(parcel, outcome, record)
        return isinstance(outcome, Delivered)

    async def _send(
        self, parcel: Parcel, body: bytes, lane: AttemptLane, now_ms: int
    ) -> Answer | NoAnswer | CutShort:
        app = parcel.first.app
        secret = self._with.app_secret(app)
        if secret is None:
            # Unsigned it would be refused, and rightly so. The app may come back into the configuration.
            return NoAnswer(error=self._unsigned(parcel))
        return await lane.send(
            make_request(
                parcel,
                body=body,
                app_secret=secret,
                configured=self._target.headers,
                webhook_key=self._target.webhook_key,
                now_ms=now_ms,
            )
        )

    def _unsigned(self, parcel: Parcel) -> str:
        return f"app {parcel.first.app} is not configured: there is no secret to sign with"

    async def _follow(self, parcel: Parcel, outcome: Outcome, record: AttemptRecord) -> None:
        if not isinstance(outcome, Delivered):
            self._gate.remember(record)
        match outcome:
            case Delivered(status=status):
                self._gate.taken(parcel)
                await self._delivered(parcel, status)
            case Refused(status=status) if not self._gate.refused(parcel):
                if (trouble := self._trouble("refusal_not_believed", parcel)) is not None:
                    _log.info("refusal_not_believed", **trouble, status=status)
                await self._failed(
                    parcel, Retryable(status=status, error="", retry_after_seconds=None), record
                )
            case Refused(status=status) if parcel.merged:
                # Not "refused" yet: that is what a dead letter is.
                self._count("retried", len(parcel.members))
                if (trouble := self._trouble("delivery_halved", parcel)) is not None:
                    _log.info("delivery_halved", **trouble, status=status)
                settled = after_refusal(parcel, record, now_ms=self._with.now_ms())
                await settle_together(self._with.spool, settled)
            case Refused(status=status):
                self._count("refused", 1)
                if (trouble := self._trouble("delivery_refused", parcel)) is not None:
                    _log.warning("delivery_refused", **trouble, status=status)
                await self._bury(parcel.first, Reason.REFUSED, body_of(parcel.first), record)
            case Retryable():
                if record.error != self._unsigned(parcel):  # which is not the target's fault
                    self._gate.failed(parcel)
                await self._failed(parcel, outcome, record)
            case _:
                assert_never(outcome)

    async def _delivered(self, parcel: Parcel, status: int) -> None:
        self._count("delivered", len(parcel.members))
        now_ms = self._with.now_ms()
        for lease in parcel.members:
            # From the give-up clock's start: acceptance, or the replay that brought it back.
            self._end_to_end_seconds.observe(max(0.0, (now_ms - lease.clock_started_ms) / 1000))
            note_taken(self._with.journal, lease, status=status, at_ms=now_ms)
        setting = self._with.lines.setting()
        if any(is_told(setting, lease.notification_id) for lease in parcel.members):
            _log.info("delivery_delivered", **_fields(parcel), status=status)
        else:
            _log.debug("delivery_delivered", **_fields(parcel), status=status)
        await settle_together(self._with.spool, [(lease, Done()) for lease in parcel.members])
        for lease in parcel.members:
            await self._with.undertaker.forget(lease)

    async def _failed(self, parcel: Parcel, outcome: Retryable, record: AttemptRecord) -> None:
        """Try again later, together or singly; what is past its give-up time dies."""
        now_ms, jitter = self._with.now_ms(), self._with.random()
        decisions = [self._decide(lease, outcome, now_ms, jitter) for lease in parcel.members]
        later: list[tuple[Lease, RetryLater]] = []
        if stays_together(parcel, decisions, refuse_statuses=self._target.refuse_statuses):
            # One time for all, so that none goes beyond its give-up time.
            at_ms = min(decision.at_ms for decision in decisions if isinstance(decision, RetryAt))
            later = [
                (lease, RetryLater(at_ms=at_ms, record=record, group=parcel.key)) for lease in parcel.members
            ]
        else:
            for lease, decision in zip(parcel.members, decisions, strict=True):
                if isinstance(decision, RetryAt):
                    if parcel.merged:  # each spread by itself, so that they do not come back as a herd
                        decision = self._decide(lease, outcome, now_ms, self._with.random())
                    at_ms = decision.at_ms if isinstance(decision, RetryAt) else now_ms
                    later.append((lease, RetryLater(at_ms=at_ms, record=record)))
        if later:
            self._count("retried", len(later))
            self._tell_retried(parcel, record, min(settlement.at_ms for _, settlement in later) - now_ms)
        dead = [
            lease
            for lease, decision in zip(parcel.members, decisions, strict=True)
            if isinstance(decision, GiveUp)
        ]
        buried = await self._give_up(dead, record)
        await self._with.undertaker.settle([*later, *buried])

    def _tell_retried(self, parcel: Parcel, record: AttemptRecord, wait_ms: int) -> None:
        trouble = self._trouble("delivery_retried", parcel)
        if trouble is not None:
            _log.info(
                "delivery_retried",
                **trouble,
                status=record.status,
                error=record.error,
                retry_seconds=round(wait_ms / 1000, 3),
            )

    def _decide(self, lease: Lease, outcome: Retryable, now_ms: int, jitter: float) -> RetryAt | GiveUp:
        return decide_retry(
            self._target.policy,
            attempt=lease.attempt,
            started_ms=self._gate.clock_ms(lease.clock_started_ms),
            now_ms=now_ms,
            retry_after_seconds=outcome.retry_after_seconds,
            jitter=jitter,
        )

    async def _give_up(self, dead: list[Lease], record: AttemptRecord) -> list[tuple[Lease, Settlement]]:
        """Make dead letters, several at a time."""
        settled: list[tuple[Lease, Settlement]] = []

        async def inter(lease: Lease) -> None:
            if (trouble := self._trouble("delivery_gave_up", Parcel(members=(lease,)))) is not None:
                _log.warning("delivery_gave_up", **trouble, status=record.status, error=record.error)
            settled.append((lease, await self._inter(lease, Reason.GAVE_UP, body_of(lease), record)))

        self._count("gave_up", len(dead))
        if len(dead) == 1:
            await inter(dead[0])
        elif dead:
            async with trio.open_nursery() as nursery:
                for lease in dead:
                    nursery.start_soon(inter, lease)
        return settled

    async def give_up(self, lease: Lease, cause: str) -> Settlement:
        """End a delivery without another attempt; say how its lease ends."""
        alone = Parcel(members=(lease,))
        if (trouble := self._trouble("delivery_gave_up", alone)) is not None:
            _log.warning("delivery_gave_up", **trouble, status=None, error=cause)
        self._count("gave_up", 1)
        try:
            body, reason = body_of(lease), Reason.GAVE_UP
        except UncuttableBodyError:
            _log.error("delivery_uncuttable", **_fields(alone))
            body, reason = lease.raw, Reason.UNPARSEABLE
        laid = await self._lay_down(lease, reason, body, lease.earlier, retry_ms=UNWRITTEN_STEP_MS)
        return laid or Release()

    async def _bury(self, lease: Lease, reason: Reason, body: bytes, record: AttemptRecord) -> None:
        await self._with.undertaker.settle([(lease, await self._inter(lease, reason, body, record))])

    async def _inter(
        self, lease: Lease, reason: Reason, body: bytes, record: AttemptRecord
    ) -> Buried | RetryLater:
        """Write the dead letter; say how the lease ends."""
        step = step_ms(self._target.policy, attempt=lease.attempt, jitter=self._with.random())
        delay_ms = max(step, UNWRITTEN_STEP_MS)
        laid = await self._lay_down(lease, reason, body, (*lease.earlier, record), retry_ms=delay_ms)
        return laid or RetryLater(at_ms=self._with.now_ms() + delay_ms, record=record)

    async def _lay_down(
        self,
        lease: Lease,
        reason: Reason,
        body: bytes,
        attempts: tuple[AttemptRecord, ...],
        *,
        retry_ms: int,
    ) -> Buried | None:
        """Write the dead letter, where the target wants one; None, and told, where it cannot be written."""
        if self._target.drops and not lease.damaged:
            if (trouble := self._trouble("delivery_dropped", Parcel(members=(lease,)))) is not None:
                _log.warning("delivery_dropped", **trouble, reason=str(reason))
            return Buried()
        try:
            return await self._with.undertaker.write(
                lease, reason=reason, body=body, url=self._target.endpoint.url, attempts=attempts
            )
        except DeadLetterError as error:
            _log.error(
                "dead_letter_not_written",
                **_fields(Parcel(members=(lease,))),
                error=error.message,
                retry_seconds=retry_ms / 1000,
            )
            return None

    def _count(self, outcome: str, deliveries: int) -> None:
        if deliveries:
            self._with.metrics.deliveries_total.labels(self._name, outcome).inc(deliveries)

    def _trouble(self, event: str, parcel: Parcel) -> dict[str, object] | None:
        """Return the fields of a line about a delivery in trouble; None: there are enough of them."""
        suppressed = self._with.lines.take(
            event, target=self._name, notification_id=parcel.first.notification_id
        )
        return None if suppressed is None else _fields(parcel) | {"suppressed": suppressed}


def _fields(parcel: Parcel) -> dict[str, object]:
    fields = {**line_fields(parcel.first), "attempt": parcel.first.attempt}
    if not parcel.merged:
        return fields
    together = [lease.delivery_id for lease in parcel.members[:MAX_NAMED_MEMBERS]]
    return fields | {"members": len(parcel.members), "merged": together}


def _record(parcel: Parcel, answer: Answer | NoAnswer, at_ms: int, duration_ms: int) -> AttemptRecord:
    """Return the record of an attempt, the same for all members."""
    status, error, excerpt = (
        (answer.status, "", answer.excerpt) if isinstance(answer, Answer) else (None, answer.error, "")
    )
    return AttemptRecord(
        number=parcel.first.attempt,
        at_ms=at_ms,
        status=status,
        error=error,
        duration_ms=duration_ms,
        response_excerpt=excerpt,
    )
