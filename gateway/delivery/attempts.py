"""One target's deliveries: an attempt, its outcome, and what follows from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

import trio

from gateway.core.outcome import Answer, Delivered, NoAnswer, Outcome, Refused, Retryable, classify
from gateway.core.retry import GiveUp, RetryAt, decide_retry, step_ms
from gateway.delivery.burial import Undertaker
from gateway.delivery.dead_letter_record import Reason
from gateway.delivery.lease_loop import settle
from gateway.delivery.message import UnsendableError, body_of, make_request
from gateway.delivery.sender import AttemptLane, CutShort
from gateway.delivery.target import DispatchTarget
from gateway.errors import DeadLetterError
from gateway.spool.contract import AttemptRecord, Buried, Done, Lease, RetryLater, Spool
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics

UNWRITTEN_STEP_MS: Final = 60_000
"""A delivery whose dead letter cannot be written is tried again no sooner than this: disks are not
repaired faster.
"""

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


class TargetAttempts:
    """Makes the attempts of one target, each on a lane of its own."""

    def __init__(
        self, name: str, target: DispatchTarget, lanes: list[AttemptLane], surroundings: Surroundings
    ) -> None:
        self._name = name
        self._target = target
        self._free = list(lanes)
        self._lanes = tuple(lanes)
        self._with = surroundings

    def cut_short(self) -> None:
        """End all attempts under way; those without an answer stay in the spool as they were stored."""
        for lane in self._lanes:
            lane.cut_short()

    async def aclose(self) -> None:
        """Close the connections."""
        for lane in self._lanes:
            await lane.aclose()

    async def take(self, lease: Lease) -> None:
        """Make the attempt that a lease is for, and settle it."""
        # The lane used last comes first: a target with little to do keeps one connection warm, not eight
        # lukewarm ones.
        lane = self._free.pop()
        try:
            await self._attempt(lease, lane)
        finally:
            self._free.append(lane)

    async def _attempt(self, lease: Lease, lane: AttemptLane) -> None:
        at_ms, started = self._with.now_ms(), trio.current_time()
        body = lease.raw
        try:
            body = body_of(lease)
            answer = await self._send(lease, body, lane, at_ms)
        except UnsendableError as error:
            _log.error("delivery_uncuttable", target=self._name, delivery=lease.delivery_id)
            record = self._record(lease, NoAnswer(error=error.message), at_ms, 0)
            await self._bury(lease, Reason.UNPARSEABLE, body, record)
            return
        if isinstance(answer, CutShort):
            return
        seconds = trio.current_time() - started
        self._with.metrics.delivery_seconds.labels(self._name).observe(seconds)
        now_ms = self._with.now_ms()
        outcome = classify(answer, refuse_statuses=self._target.refuse_statuses, now_ms=now_ms)
        record = self._record(lease, answer, at_ms, round(seconds * 1000))
        await self._follow(lease, outcome, body, record)

    async def _send(
        self, lease: Lease, body: bytes, lane: AttemptLane, now_ms: int
    ) -> Answer | NoAnswer | CutShort:
        secret = self._with.app_secret(lease.app)
        if secret is None:
            # Unsigned it would be refused, and rightly so. The app may come back into the configuration.
            return NoAnswer(error=f"app {lease.app} is not configured: there is no secret to sign with")
        return await lane.send(
            make_request(
                lease,
                body=body,
                app_secret=secret,
                configured=self._target.headers,
                webhook_key=self._target.webhook_key,
                now_ms=now_ms,
            )
        )

    def _record(self, lease: Lease, answer: Answer | NoAnswer, at_ms: int, duration_ms: int) -> AttemptRecord:
        status, error, excerpt = (
            (answer.status, "", answer.excerpt) if isinstance(answer, Answer) else (None, answer.error, "")
        )
        return AttemptRecord(
            number=lease.attempt,
            at_ms=at_ms,
            status=status,
            error=error,
            duration_ms=duration_ms,
            response_excerpt=excerpt,
        )

    async def _follow(self, lease: Lease, outcome: Outcome, body: bytes, record: AttemptRecord) -> None:
        match outcome:
            case Delivered(status=status):
                await self._delivered(lease, status)
            case Refused(status=status):
                self._count("refused")
                _log.warning("delivery_refused", **self._fields(lease), status=status)
                await self._bury(lease, Reason.REFUSED, body, record)
            case Retryable(retry_after_seconds=retry_after_seconds):
                now_ms = self._with.now_ms()
                decision = decide_retry(
                    self._target.policy,
                    attempt=lease.attempt,
                    started_ms=lease.clock_started_ms,
                    now_ms=now_ms,
                    retry_after_seconds=retry_after_seconds,
                    jitter=self._with.random(),
                )
                match decision:
                    case RetryAt(at_ms=at_ms):
                        self._count("retried")
                        _log.info(
                            "delivery_retried",
                            **self._fields(lease),
                            status=record.status,
                            error=record.error,
                            retry_seconds=round((at_ms - now_ms) / 1000, 3),
                        )
                        await settle(self._with.spool, lease, RetryLater(at_ms=at_ms, record=record))
                    case GiveUp():
                        self._count("gave_up")
                        _log.warning(
                            "delivery_gave_up",
                            **self._fields(lease),
                            status=record.status,
                            error=record.error,
                        )
                        await self._bury(lease, Reason.GAVE_UP, body, record)
                    case _:
                        assert_never(decision)
            case _:
                assert_never(outcome)

    async def _delivered(self, lease: Lease, status: int) -> None:
        self._count("delivered")
        # From the give-up clock's start: acceptance, or the replay that brought it back.
        waited_seconds = max(0.0, (self._with.now_ms() - lease.clock_started_ms) / 1000)
        self._with.metrics.end_to_end_seconds.labels(self._name).observe(waited_seconds)
        _log.debug("delivery_delivered", **self._fields(lease), status=status)
        await settle(self._with.spool, lease, Done())
        await self._with.undertaker.forget(lease)

    async def _bury(self, lease: Lease, reason: Reason, body: bytes, record: AttemptRecord) -> None:
        if self._target.drops:
            _log.warning("delivery_dropped", **self._fields(lease), reason=str(reason))
            await settle(self._with.spool, lease, Buried())
            return
        try:
            await self._with.undertaker.bury(
                lease,
                reason=reason,
                body=body,
                url=self._target.endpoint.url,
                attempts=(*lease.earlier, record),
            )
        except DeadLetterError as error:
            step = step_ms(self._target.policy, attempt=lease.attempt, jitter=self._with.random())
            delay_ms = max(step, UNWRITTEN_STEP_MS)
            _log.error(
                "dead_letter_not_written",
                **self._fields(lease),
                error=error.message,
                retry_seconds=delay_ms / 1000,
            )
            await settle(
                self._with.spool, lease, RetryLater(at_ms=self._with.now_ms() + delay_ms, record=record)
            )

    def _count(self, outcome: str) -> None:
        self._with.metrics.deliveries_total.labels(self._name, outcome).inc()

    def _fields(self, lease: Lease) -> dict[str, object]:
        return {"target": self._name, "delivery": lease.delivery_id, "attempt": lease.attempt}
