"""From a lease to a dead letter on disk, and only then out of the spool (law 5)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import trio

from gateway.core.envelope import Unparseable, parse_envelope
from gateway.core.retry import RetryPolicy
from gateway.delivery.dead_letter_record import DeadLetter, Reason, summarize
from gateway.delivery.lease_loop import settle_together
from gateway.delivery.message import UncuttableBodyError, body_of, described_headers
from gateway.delivery.parcel import line_fields
from gateway.delivery.shared_letters import SharedLetters
from gateway.errors import DeadLetterError
from gateway.spool.contract import Buried, Lease, Settlement, Spool
from gateway.spool.history import AttemptRecord
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.notification_lines import TroubleLines

WRITES_AT_ONCE: Final = 4
"""Threads that write dead letters: of their own, so that a look-up that hangs in Trio's pool holds up
none.
"""
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two tries to write what has no target to be tried again: an operator who made room waits a
minute.
"""

UNROUTED_POLICY: Final = RetryPolicy(schedule_seconds=(FIRST_PAUSE_SECONDS,), give_up_after_seconds=0.0)
"""After a crash in the middle of a burial it is taken up again within about a second. While somebody holds
the delivery this time says nothing.
"""

_log = get_logger("delivery")


class DeadLetters(Protocol):
    """Where dead letters go. The methods block; they are called in threads."""

    def write(self, letter: DeadLetter) -> None:
        """Write, durable on return. Raises DeadLetterError."""
        ...

    def remove_delivered(self, target: str, received_at_ms: int, identifier: str) -> bool:
        """Remove the dead letter of what was delivered after all. Raises DeadLetterError."""
        ...


class Undertaker:
    """Buries deliveries."""

    def __init__(
        self,
        *,
        spool: Spool,
        dead_letters: DeadLetters,
        metrics: Metrics,
        now_ms: Callable[[], int],
        lines: TroubleLines,
        shared: SharedLetters | None = None,
    ) -> None:
        """`shared`: the letters in the same directory, where gateways share the spool."""
        self._shared = shared
        self._spool = spool
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._now_ms = now_ms
        self._lines = lines
        self._threads = trio.CapacityLimiter(WRITES_AT_ONCE)

    async def bury(
        self,
        lease: Lease,
        *,
        reason: Reason,
        body: bytes,
        url: str | None,
        attempts: tuple[AttemptRecord, ...],
    ) -> None:
        """Write the dead letter, then settle. Raises as `write`."""
        buried = await self.write(lease, reason=reason, body=body, url=url, attempts=attempts)
        await self.settle([(lease, buried)])

    async def settle(self, settled: Sequence[tuple[Lease, Settlement]]) -> None:
        """End leases as one, of which letters may have been written; then those come to their places."""
        done = await settle_together(self._spool, settled)
        if self._shared is not None:
            tokens = [lease.token for lease, settlement in settled if isinstance(settlement, Buried)]
            await self._shared.conclude(tokens, settled=done)

    async def write(
        self,
        lease: Lease,
        *,
        reason: Reason,
        body: bytes,
        url: str | None,
        attempts: tuple[AttemptRecord, ...],
    ) -> Buried:
        """Write the dead letter, durable on return; how the lease ends: with `settle`, by the caller. Of what
        is damaged it is that, whatever the caller says, and keeps the bytes as they are.

        Raises:
            DeadLetterError: it could not be written; the lease is still held.
        """
        if lease.damaged:
            reason, body = Reason.DAMAGED, lease.raw
            _log.error("delivery_damaged", **line_fields(lease))
        letter = DeadLetter(
            id=lease.delivery_id,
            notification_id=lease.notification_id,
            app=lease.app,
            target=lease.target,
            url=url,
            summary=summarize(body),
            reason=reason,
            received_at_ms=lease.received_at_ms,
            died_at_ms=self._now_ms(),
            attempts=attempts,
            headers=described_headers(lease, attempted=bool(attempts)),
            body=body,
        )
        # Abandoned on cancellation: a disk that hangs must not hang the shutdown. The delivery is in the
        # spool still.
        if self._shared is None:
            listed, write = None, partial(self._dead_letters.write, letter)
            await trio.to_thread.run_sync(write, abandon_on_cancel=True, limiter=self._threads)
        else:
            share = partial(self._shared.write, letter, lease.token)
            listed = await trio.to_thread.run_sync(share, abandon_on_cancel=True, limiter=self._threads)
        self._metrics.dead_letters_total.labels(lease.target, str(reason)).inc()
        suppressed = self._lines.take(
            "dead_letter_written", target=lease.target, notification_id=lease.notification_id
        )
        if suppressed is not None:
            _log.warning(
                "dead_letter_written",
                **line_fields(lease),
                reason=str(reason),
                attempts=len(attempts),
                suppressed=suppressed,
            )
        return Buried(letter=listed)

    async def bury_unrouted(self, lease: Lease) -> None:
        """Bury what no route takes; where it cannot be written, hold it and try again.

        There is no target to be asked again meanwhile, and on a full disk the spool would not take a new
        time either.
        """
        body, reason = lease.raw, Reason.UNPARSEABLE
        if not isinstance(parse_envelope(lease.raw), Unparseable):
            try:
                body, reason = body_of(lease), Reason.UNROUTED
            except UncuttableBodyError:
                _log.error("delivery_uncuttable", **line_fields(lease))
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self.bury(lease, reason=reason, body=body, url=None, attempts=())
            except DeadLetterError as error:
                _log.error(
                    "dead_letter_not_written",
                    **line_fields(lease),
                    error=error.message,
                    retry_seconds=pause_seconds,
                )
                await trio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
            else:
                return

    async def forget(self, lease: Lease) -> None:
        """Remove the dead letter that an earlier life of a delivery now delivered may have left."""
        if not lease.earlier and lease.clock_started_ms == lease.received_at_ms:
            return
        try:
            removed = await trio.to_thread.run_sync(
                self._dead_letters.remove_delivered,
                lease.target,
                lease.received_at_ms,
                lease.delivery_id,
                abandon_on_cancel=True,
                limiter=self._threads,
            )
        except DeadLetterError as error:
            _log.error("dead_letter_not_removed", **line_fields(lease), error=error.message)
        else:
            if removed:
                _log.info("dead_letter_of_delivered_removed", **line_fields(lease))
