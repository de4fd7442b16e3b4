"""Leasing what is due for one target, into a bounded number of hands.

The loop looks whenever something may have changed: a delivery was stored, a hand became free, the next one
is due. Whatever wakes it between its look and its sleep is not lost: the event is replaced before the look.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from gateway.core.merging import Merging
from gateway.core.retry import RetryPolicy, step_ms
from gateway.delivery.parcel import Parcel, parcels
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Lease, Release, Settlement, Spool
from gateway.telemetry.log import get_logger

LONGEST_SLEEP_SECONDS: Final = 60.0
"""A wall clock that is set forward is noticed within this."""
SHORTEST_SLEEP_SECONDS: Final = 0.01
"""What is due and yet not leased (a clock set back a little) is not asked for more often than this."""
SPOOL_PAUSE_SECONDS: Final = 1.0
"""A spool that cannot be written now (disk full) is asked again after this."""
SETTLE_SECONDS: Final = 10.0
"""A settlement is one group commit, milliseconds; a disk that hangs longer must not hold up a shutdown."""

_log = get_logger("delivery")


class LeaseLoop:
    """Hands the deliveries of one target, oldest first, to at most `hands` takers at a time.

    With `merging`, what waits for a free hand is put together; what finds one goes at once.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        target: str,
        hands: int,
        policy: RetryPolicy,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        merging: Merging | None = None,
    ) -> None:
        self._spool = spool
        self._target = target
        self._hands = self._free = hands
        self._policy = policy
        self._now_ms = now_ms
        self._random = random
        self._merging = merging
        self._something_new = trio.Event()
        self._stopping = trio.Event()

    def wake(self) -> None:
        """Look again."""
        self._something_new.set()

    def adopt(self, *, hands: int, policy: RetryPolicy, merging: Merging | None) -> None:
        """Lease by other settings from the next look on. Takers at work finish, though they be too many."""
        self._free += hands - self._hands
        self._hands = hands
        self._policy = policy
        self._merging = merging
        self.wake()

    def stop(self) -> None:
        """Lease no more; `run` returns when the last taker has returned."""
        self._stopping.set()
        self.wake()

    async def run(self, take: Callable[[Parcel], Awaitable[None]]) -> None:
        """Lease until stopped; `take` settles what it is given.

        Raises:
            SpoolBrokenError: the spool has failed for good.
        """
        async with trio.open_nursery() as nursery:
            while not self._stopping.is_set():
                self._something_new = trio.Event()
                if self._free <= 0:
                    await self._something_new.wait()
                elif found := await self._lease():
                    for parcel in found:
                        self._free -= 1
                        nursery.start_soon(self._hand_over, take, parcel)
                else:
                    await self._sleep()

    async def _lease(self) -> tuple[Parcel, ...]:
        now_ms, jitter = self._now_ms(), self._random()

        def next_due_ms(attempt: int) -> int:
            return now_ms + step_ms(self._policy, attempt=attempt, jitter=jitter)

        try:
            leases = await self._spool.lease(
                self._target,
                now_ms=now_ms,
                limit=self._free,
                next_due_ms=next_due_ms,
                merging=self._merging,
            )
        except SpoolUnavailableError as error:
            _log.error("lease_failed", target=self._target, error=error.message)
            with trio.move_on_after(SPOOL_PAUSE_SECONDS):
                await self._stopping.wait()
            return ()
        if not self._stopping.is_set():
            return parcels(leases)
        if leases:  # Stopped while the lease was under way: nothing of it has begun.
            await settle_together(self._spool, [(lease, Release()) for lease in leases])
        return ()

    async def _sleep(self) -> None:
        due_ms = await self._spool.next_due_ms(self._target)
        seconds = LONGEST_SLEEP_SECONDS if due_ms is None else (due_ms - self._now_ms()) / 1000
        with trio.move_on_after(min(max(seconds, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS)):
            await self._something_new.wait()

    async def _hand_over(self, take: Callable[[Parcel], Awaitable[None]], parcel: Parcel) -> None:
        try:
            await take(parcel)
        finally:
            self._free += 1
            self.wake()


async def settle(spool: Spool, lease: Lease, settlement: Settlement) -> bool:
    """End a lease; see `settle_together`."""
    return await settle_together(spool, ((lease, settlement),))


async def settle_together(spool: Spool, settled: Sequence[tuple[Lease, Settlement]]) -> bool:
    """End leases as one, however long the spool cannot be written; False where one had ended before.

    What has happened at the target is otherwise unknown after a restart, and would be done twice. Shielded
    for the one commit: a shutdown that falls between answer and settlement must not tear them apart.
    """
    first = settled[0][0]
    while True:
        try:
            with trio.move_on_after(SETTLE_SECONDS, shield=True):
                return await spool.settle_together(settled)
            _log.error("settlement_slow", target=first.target, delivery=first.delivery_id)
        except SpoolUnavailableError as error:
            _log.error(
                "settlement_failed", target=first.target, delivery=first.delivery_id, error=error.message
            )
        await trio.sleep(SPOOL_PAUSE_SECONDS)
