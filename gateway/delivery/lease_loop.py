"""Leasing what is due for one target, into a bounded number of hands.

The loop looks whenever something may have changed: a delivery was stored, a hand became free, the next one
is due. Whatever wakes it between its look and its sleep is not lost: the event is replaced before the look.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gateway.core.retry import RetryPolicy, step_ms
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
    """Hands the deliveries of one target, oldest first, to at most `hands` takers at a time."""

    def __init__(
        self,
        *,
        spool: Spool,
        target: str,
        hands: int,
        policy: RetryPolicy,
        now_ms: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._target = target
        self._free = hands
        self._policy = policy
        self._now_ms = now_ms
        self._random = random
        self._something_new = trio.Event()
        self._stopping = trio.Event()

    def wake(self) -> None:
        """Look again."""
        self._something_new.set()

    def stop(self) -> None:
        """Lease no more; `run` returns when the last taker has returned."""
        self._stopping.set()
        self.wake()

    async def run(self, take: Callable[[Lease], Awaitable[None]]) -> None:
        """Lease until stopped; `take` settles what it is given.

        Raises:
            SpoolBrokenError: the spool has failed for good.
        """
        async with trio.open_nursery() as nursery:
            while not self._stopping.is_set():
                self._something_new = trio.Event()
                if self._free == 0:
                    await self._something_new.wait()
                elif leases := await self._lease():
                    for lease in leases:
                        self._free -= 1
                        nursery.start_soon(self._hand_over, take, lease)
                else:
                    await self._sleep()

    async def _lease(self) -> tuple[Lease, ...]:
        now_ms, jitter = self._now_ms(), self._random()

        def next_due_ms(attempt: int) -> int:
            return now_ms + step_ms(self._policy, attempt=attempt, jitter=jitter)

        try:
            leases = await self._spool.lease(
                self._target, now_ms=now_ms, limit=self._free, next_due_ms=next_due_ms
            )
        except SpoolUnavailableError as error:
            _log.error("lease_failed", target=self._target, error=error.message)
            with trio.move_on_after(SPOOL_PAUSE_SECONDS):
                await self._stopping.wait()
            return ()
        if not self._stopping.is_set():
            return leases
        # Stopped while the lease was under way: nothing of it has begun.
        for lease in leases:
            await settle(self._spool, lease, Release())
        return ()

    async def _sleep(self) -> None:
        due_ms = await self._spool.next_due_ms(self._target)
        seconds = LONGEST_SLEEP_SECONDS if due_ms is None else (due_ms - self._now_ms()) / 1000
        with trio.move_on_after(min(max(seconds, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS)):
            await self._something_new.wait()

    async def _hand_over(self, take: Callable[[Lease], Awaitable[None]], lease: Lease) -> None:
        try:
            await take(lease)
        finally:
            self._free += 1
            self.wake()


async def settle(spool: Spool, lease: Lease, settlement: Settlement) -> bool:
    """End a lease, however long the spool cannot be written; False where it had ended before.

    What has happened at the target is otherwise unknown after a restart, and would be done twice. Shielded
    for the one commit: a shutdown that falls between answer and settlement must not tear them apart.
    """
    while True:
        try:
            with trio.move_on_after(SETTLE_SECONDS, shield=True):
                return await spool.settle(lease, settlement)
            _log.error("settlement_slow", target=lease.target, delivery=lease.delivery_id)
        except SpoolUnavailableError as error:
            _log.error(
                "settlement_failed", target=lease.target, delivery=lease.delivery_id, error=error.message
            )
        await trio.sleep(SPOOL_PAUSE_SECONDS)
