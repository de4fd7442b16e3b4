"""Giving up without another attempt: what is past its time, and what there is no room for.

While a breaker is open, waiting uses up no attempt, but the give-up clock goes on; one probe in fifteen
seconds would never get through a backlog. So what is past its time leaves as a dead letter.

What waits for one target may take up `max_pending` and no more, so that a dead target does not fill the disk
and shut the door for all: beyond it that target's oldest go, paused or not.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from gateway.delivery.gate import Gate
from gateway.delivery.lease_loop import SPOOL_PAUSE_SECONDS
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Lease, Release, Settlement, Spool
from gateway.spool.intake import MAX_TIME_MS
from gateway.telemetry.log import get_logger

AT_ONCE: Final = 16
"""Deliveries given up at once: enough for the four threads that write dead letters, and 48 MiB at most."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at numbers in memory: what comes in meanwhile is megabytes."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""A wall clock that is set forward, settings that change, and a dead-letter directory that can be written
again are noticed within this."""

PAST_ITS_TIME: Final = "past give_up_after while the breaker is open"
NO_ROOM: Final = "the oldest of more than max_pending"

_log = get_logger("delivery")

GiveUp = Callable[[Lease, str], Awaitable[Settlement]]
"""Ends one delivery for a stated cause, and says how its lease ends."""
Settle = Callable[[Sequence[tuple[Lease, Settlement]]], Awaitable[None]]
"""Ends leases as one."""


class Expiry:
    """Looks after what one target will not get."""

    def __init__(
        self,
        *,
        spool: Spool,
        target: str,
        gate: Gate,
        started_by_ms: Callable[[], int],
        max_pending_bytes: Callable[[], int],
        give_up: GiveUp,
        settle: Settle,
        now_ms: Callable[[], int],
    ) -> None:
        """`started_by_ms` says when a give-up clock has started that ends now."""
        self._spool = spool
        self._target = target
        self._gate = gate
        self._started_by_ms = started_by_ms
        self._max_pending_bytes = max_pending_bytes
        self._give_up = give_up
        self._settle = settle
        self._now_ms = now_ms
        self._next_look_seconds = -math.inf
        """For what is past its time: its clock is in the spool."""

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            SpoolBrokenError: the spool has failed for good.
        """
        while True:
            pause_seconds = LOOK_SECONDS
            try:
                done = await self._make_room() and await self._bury_expired()
                if not done:
                    pause_seconds = LONGEST_PAUSE_SECONDS
            except SpoolUnavailableError as error:
                _log.error("lease_failed", target=self._target, error=error.message)
                pause_seconds = SPOOL_PAUSE_SECONDS
            await trio.sleep(pause_seconds)

    async def _make_room(self) -> bool:
        """Give up the oldest beyond `max_pending`; False where one could not be."""
        while self._spool.pending_bytes().get(self._target, 0) > self._max_pending_bytes():
            leases = await self._lease(MAX_TIME_MS, limit=AT_ONCE)
            excess_bytes = self._spool.pending_bytes().get(self._target, 0) - self._max_pending_bytes()
            past: list[Lease] = []
            for lease in leases:
                if excess_bytes > 0:
                    past.append(lease)
                    excess_bytes -= len(lease.raw)
            if not await self._end(leases, past, NO_ROOM):
                return False
            if not past:  # the rest is under way
                return True
        return True

    async def _bury_expired(self) -> bool:
        """While the breaker is open, give up what is past its time; False where one could not be."""
        while self._gate.open and trio.current_time() >= self._next_look_seconds:
            started_by_ms = self._started_by_ms()
            leases = await self._lease(started_by_ms, limit=AT_ONCE)
            past = [lease for lease in leases if lease.clock_started_ms <= started_by_ms]
            if not await self._end(leases, past, PAST_ITS_TIME):
                return False
            if not past:
                clock_ms = (await self._spool.oldest_clock_ms()).get(self._target)
                left_seconds = math.inf if clock_ms is None else (clock_ms - started_by_ms) / 1000
                wait_seconds = min(max(left_seconds, LOOK_SECONDS), LONGEST_PAUSE_SECONDS)
                self._next_look_seconds = trio.current_time() + wait_seconds
        return True

    async def _lease(self, clock_started_by_ms: int, *, limit: int) -> tuple[Lease, ...]:
        return await self._spool.lease_oldest(
            self._target, now_ms=self._now_ms(), clock_started_by_ms=clock_started_by_ms, limit=limit
        )

    async def _end(self, leases: Sequence[Lease], past: Sequence[Lease], cause: str) -> bool:
        """Give up `past`; the rest of their groups goes singly. False where one could not be given up."""
        if not leases:
            return True
        groups = {lease.group for lease in past if lease.group is not None}
        settled: list[tuple[Lease, Settlement]] = [
            (lease, Release(alone=lease.group in groups)) for lease in leases if lease not in past
        ]
        failed = False

        async def one(lease: Lease) -> None:
            nonlocal failed
            settlement = await self._give_up(lease, cause)
            failed = failed or isinstance(settlement, Release)
            settled.append((lease, settlement))

        async with trio.open_nursery() as nursery:
            for lease in past:
                nursery.start_soon(one, lease)
        await self._settle(settled)
        return not failed
