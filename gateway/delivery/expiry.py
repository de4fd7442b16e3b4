"""Giving up what waits for a target that is not asked (contract, section 4, "Outcome").

While a breaker is open, waiting uses up no attempt, but the give-up clock goes on; one probe in fifteen
seconds would never get through a backlog. So what is past its time leaves as a dead letter without another
attempt.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from gateway.delivery.gate import Gate
from gateway.delivery.lease_loop import SPOOL_PAUSE_SECONDS, settle_together
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Lease, Release, Settlement, Spool
from gateway.telemetry.log import get_logger

AT_ONCE: Final = 8
"""Deliveries given up at once: twice the threads that write dead letters."""
SHORTEST_PAUSE_SECONDS: Final = 1.0
"""Between two looks: a give-up time is hours or days."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""A wall clock that is set forward, and settings that change, are noticed within this."""

_log = get_logger("delivery")

GiveUp = Callable[[Lease], Awaitable[Settlement]]
"""Ends one delivery that is past its time, and says how its lease ends."""


class Expiry:
    """Looks after what is past its give-up time while a target's breaker is open."""

    def __init__(
        self,
        *,
        spool: Spool,
        target: str,
        gate: Gate,
        started_by_ms: Callable[[], int],
        give_up: GiveUp,
        now_ms: Callable[[], int],
    ) -> None:
        """`started_by_ms` says when a give-up clock has started that ends now."""
        self._spool = spool
        self._target = target
        self._gate = gate
        self._started_by_ms = started_by_ms
        self._give_up = give_up
        self._now_ms = now_ms

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            SpoolBrokenError: the spool has failed for good.
        """
        while True:
            await self._gate.wait_open()
            pause_seconds = SPOOL_PAUSE_SECONDS
            try:
                pause_seconds = await self._look()
            except SpoolUnavailableError as error:
                _log.error("lease_failed", target=self._target, error=error.message)
            await trio.sleep(pause_seconds)

    async def _look(self) -> float:
        """Give up what is past its time; return how long to wait for the next."""
        while self._gate.open:
            now_ms = self._now_ms()
            started_by_ms = self._started_by_ms()
            leases = await self._spool.lease_oldest(
                self._target, now_ms=now_ms, clock_started_by_ms=started_by_ms, limit=AT_ONCE
            )
            if not leases:
                clock_ms = (await self._spool.oldest_clock_ms()).get(self._target)
                left_ms = LONGEST_PAUSE_SECONDS * 1000 if clock_ms is None else clock_ms - started_by_ms
                return min(max(left_ms / 1000, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            if not await self._end(leases, started_by_ms):
                return LONGEST_PAUSE_SECONDS
        return SHORTEST_PAUSE_SECONDS

    async def _end(self, leases: Sequence[Lease], started_by_ms: int) -> bool:
        """Give up what is past its time; the rest of its group goes singly. False where one could not be."""
        past = [lease for lease in leases if lease.clock_started_ms <= started_by_ms]
        settled: list[tuple[Lease, Settlement]] = [
            (lease, Release(alone=True)) for lease in leases if lease.clock_started_ms > started_by_ms
        ]

        async def one(lease: Lease) -> None:
            settled.append((lease, await self._give_up(lease)))

        async with trio.open_nursery() as nursery:
            for lease in past:
                nursery.start_soon(one, lease)
        await settle_together(self._spool, settled)
        return not any(settlement == Release() for _, settlement in settled)
