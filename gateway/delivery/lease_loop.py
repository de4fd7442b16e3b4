"""Leasing what is due for one target, into a bounded number of hands.

The loop looks whenever something may have changed: a delivery was stored, a hand became free, the next one
is due. Whatever wakes it between its look and its sleep is not lost: the event is replaced before the look.

While nothing is due, the free hands are offered to the spool: what is stored then is leased with it, and
comes by itself (promise 32 of the spool). Until the spool says that something else is due, a hand that is
free again is offered again, and nothing is asked.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import trio

from gateway.core.lanes import order_of_turn
from gateway.core.merging import Merging
from gateway.core.retry import RetryPolicy, step_ms
from gateway.delivery.gate import Gate
from gateway.delivery.parcel import Parcel, line_fields, parcels
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import HOLD_MS, Handed, Lease, Offer, Release, Settlement, Spool
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
        self._handed = Handed()
        self._received = 0
        """Attempts that came by an offer."""
        self._offered: Offer | None = None
        """The offer that stands."""
        self._has_offered = False
        """Some offer has been taken."""
        self._is_quiet = False
        """Nothing was due; what is stored finds the free hands, or the spool says that something is due."""
        self._surplus: list[Lease] = []
        """Came by an offer, and finds no hand: it goes back."""
        self._begin: Callable[[Parcel], None] | None = None
        """Starts an attempt; while `run` runs."""

    def wake(self) -> None:
        """Look again."""
        self._is_quiet = False
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

    async def run(self, take: Callable[[Parcel], Awaitable[bool]]) -> None:
        """Lease until stopped; `take` settles what it is given, and says whether none of it waits any more.

        Raises:
            SpoolBrokenError: the spool has failed for good.
        """
        async with trio.open_nursery() as nursery:

            def begin(parcel: Parcel) -> None:
                self._under_way += 1
                if self._gate is not None:
                    self._gate.start(parcel)
                nursery.start_soon(self._hand_over, take, parcel)

            self._begin = begin
            try:
                while not self._stopping.is_set():
                    self._something_new = trio.Event()
                    self._is_quiet = False
                    self._withdraw()
                    await self._give_back()
                    startable = self._startable()
                    if startable <= 0:
                        await self._wait_startable()
                    elif found := await self._lease(startable):
                        for parcel in found:
                            begin(parcel)
                    else:
                        if self._caught_up is not None and self._gate is not None and self._gate.paced:
                            await self._caught_up()
                        await self._sleep()
            finally:
                self._begin = None
                self._withdraw()
            if self._has_offered:
                await self._give_back_the_last()

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

    # -- offers

    def _offer(self, startable: int) -> None:
        """Offer hands for what is stored next; nothing else is due.

        Where deliveries are put together, one hand, while nothing is under way: what one commit has stored
        would else go before what the next one stores, and twice as many requests cost more than is saved.
        """
        if self._merging is not None:
            startable = min(startable, 1 - self._under_way)
        if startable <= 0:
            self._withdraw()
            return
        policy, jitter = self._policy, self._random()

        def next_due_ms(now_ms: int, attempt: int) -> int:
            return now_ms + step_ms(policy, attempt=attempt, jitter=jitter)

        offer = Offer(
            target=self._target,
            handed=self._handed,
            until=self._received + startable,
            now_ms=self._now_ms,
            next_due_ms=next_due_ms,
            take=self._take_fresh,
            merging=self._merging,
        )
        if self._spool.offer(offer):
            self._offered, self._has_offered = offer, True

    def _withdraw(self) -> None:
        if self._offered is not None:
            self._spool.offer(replace(self._offered, until=0))
            self._offered = None

    def _take_fresh(self, leases: tuple[Lease, ...]) -> None:
        """Begin what came by an offer; on the Trio thread."""
        for parcel in parcels(leases):
            self._received += 1
            if self._begin is not None and not self._stopping.is_set() and self._startable() > 0:
                self._begin(parcel)
            else:
                self._surplus += parcel.members
                self.wake()

    async def _give_back(self) -> None:
        """Return what found no hand."""
        while surplus := self._surplus:
            self._surplus = []
            await settle_together(self._spool, [(lease, Release()) for lease in surplus])

    async def _give_back_the_last(self) -> None:
        """Return what was leased while the offer was withdrawn."""
        with suppress(SpoolUnavailableError):  # it has closed: what was under way has come
            await self._spool.next_due_ms(self._target)
        await self._give_back()

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
        if not self._something_new.is_set() and not (self._gate is not None and self._gate.paced):
            self._offer(self._startable())
            self._is_quiet = self._has_offered
        with trio.move_on_after(min(max(seconds, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS)):
            await self._something_new.wait()

    async def _hand_over(self, take: Callable[[Parcel], Awaitable[bool]], parcel: Parcel) -> None:
        is_gone = False
        try:
            is_gone = await take(parcel)
        finally:
            if self._gate is not None:
                self._gate.end(parcel)
            self._under_way -= 1
            if is_gone and self._is_quiet and (startable := self._startable()) > 0:
                self._offer(startable)
            else:
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
