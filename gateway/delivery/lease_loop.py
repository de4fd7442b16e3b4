"""Leasing what is due for one target, into a bounded number of hands.

The loop looks whenever something may have changed: a delivery was stored, a hand became free, the next one
is due. Whatever wakes it between its look and its sleep is not lost: the event is replaced before the look.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from gateway.core.lanes import order_of_turn
from gateway.core.merging import Merging
from gateway.core.retry import RetryPolicy, step_ms
from gateway.delivery.gate import Gate
from gateway.delivery.parcel import Parcel, line_fields, parcels
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import HOLD_MS, Lease, Release, Settlement, Spool
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
    """Hands the deliveries of one target, lane by lane and oldest first, to at most `hands` takers at a time.

    `gate` may let fewer out, or none: then nothing is leased, and so nothing counts as an attempt.
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
        hold_ms: int = HOLD_MS,
        gate: Gate | None = None,
        caught_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`caught_up` is called where attempts start at a rate, and nothing that is due waits any more."""
        self._spool = spool
        self._target = target
        self._hands = hands
        self._under_way = 0
        self._turn = 0
        self._gate = gate
        self._caught_up = caught_up
        self._policy = policy
        self._now_ms = now_ms
        self._random = random
        self._merging = merging
        self._hold_ms = hold_ms
        self._something_new = trio.Event()
        self._stopping = trio.Event()

    def wake(self) -> None:
        """Look again."""
        self._something_new.set()

    def adopt(self, *, hands: int, policy: RetryPolicy, merging: Merging | None, hold_ms: int) -> None:
        """Lease by other settings from the next look on. Takers at work finish, though they be too many."""
        self._hands = hands
        self._policy = policy
        self._merging = merging
        self._hold_ms = hold_ms
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
                startable = self._startable()
                if startable <= 0:
                    await self._wait_startable()
                elif found := await self._lease(startable):
                    for parcel in found:
                        self._under_way += 1
                        if self._gate is not None:
                            self._gate.start(parcel)
                        nursery.start_soon(self._hand_over, take, parcel)
                else:
                    if self._caught_up is not None and self._gate is not None and self._gate.paced:
                        await self._caught_up()
                    await self._sleep()

    def _has_hands(self) -> bool:
        return self._under_way < self._hands

    def _startable(self) -> int:
        free = self._hands - self._under_way
        return free if self._gate is None else min(free, self._gate.startable(self._under_way))

    async def _wait_startable(self) -> None:
        """Wait for something new, or for the time of the next attempt: a probe, or the end of a pause."""
        seconds = self._gate.startable_in_seconds() if self._gate is not None and self._has_hands() else None
        # A wall clock that is set forward ends a pause, too.
        with trio.move_on_after(
            LONGEST_SLEEP_SECONDS if seconds is None else min(seconds, LONGEST_SLEEP_SECONDS)
        ):
            await self._something_new.wait()

    async def _lease(self, limit: int) -> tuple[Parcel, ...]:
        now_ms, jitter = self._now_ms(), self._random()

        def next_due_ms(attempt: int) -> int:
            return now_ms + step_ms(self._policy, attempt=attempt, jitter=jitter)

        try:
            leases = await self._spool.lease(
                self._target,
                now_ms=now_ms,
                limit=limit,
                next_due_ms=next_due_ms,
                merging=self._merging,
                lanes=order_of_turn(self._turn),
                hold_ms=self._hold_ms,
            )
        except SpoolUnavailableError as error:
            _log.error("lease_failed", target=self._target, error=error.message)
            with trio.move_on_after(SPOOL_PAUSE_SECONDS):
                await self._stopping.wait()
            return ()
        self._turn += bool(leases)
        found = parcels(leases)
        # Stopped, or the breaker opened, while the lease was under way: nothing of the rest has begun.
        startable = 0 if self._stopping.is_set() else max(0, self._startable())
        if rest := [lease for parcel in found[startable:] for lease in parcel.members]:
            await settle_together(self._spool, [(lease, Release()) for lease in rest])
        return found[:startable]

    async def _sleep(self) -> None:
        try:
            due_ms = await self._spool.next_due_ms(self._target)
        except SpoolUnavailableError as error:  # the next look tells more
            _log.error("lease_failed", target=self._target, error=error.message)
            due_ms = self._now_ms() + round(SPOOL_PAUSE_SECONDS * 1000)
        seconds = LONGEST_SLEEP_SECONDS if due_ms is None else (due_ms - self._now_ms()) / 1000
        with trio.move_on_after(min(max(seconds, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS)):
            await self._something_new.wait()

    async def _hand_over(self, take: Callable[[Parcel], Awaitable[None]], parcel: Parcel) -> None:
        try:
            await take(parcel)
        finally:
            if self._gate is not None:
                self._gate.end(parcel)
            self._under_way -= 1
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
            _log.error("settlement_slow", **line_fields(first))
        except SpoolUnavailableError as error:
            _log.error("settlement_failed", **line_fields(first), error=error.message)
        await trio.sleep(SPOOL_PAUSE_SECONDS)
