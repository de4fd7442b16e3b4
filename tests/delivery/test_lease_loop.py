"""Leasing on Trio's mock clock: nothing is late, nothing is forgotten, nothing spins."""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.clock import unix_ms
from gateway.core.merging import Merging
from gateway.core.retry import RetryPolicy
from gateway.delivery import lease_loop
from gateway.delivery.lease_loop import LeaseLoop, settle, settle_together
from gateway.delivery.parcel import Parcel
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import HOLD_MS, Done, Lease, RetryLater, Settlement
from gateway.spool.history import AttemptRecord
from gateway.spool.memory import MemorySpool, open_memory_spool
from gateway.spool.memory_state import MemoryState
from gateway.spool.sqlite import SqliteSpool
from tests.delivery.rig import EPOCH_MS, notification
from tests.spool.rig import disk, note, opened


def now_ms() -> int:
    return EPOCH_MS + round(trio.current_time() * 1000)


class Rig:
    """A loop over a spool in memory that notes when it takes what."""

    def __init__(self, spool: MemorySpool, hands: int = 2) -> None:
        self.spool = spool
        self.taken: list[tuple[int, int]] = []
        """Milliseconds since the start, attempt."""
        self.started = trio.current_time()
        self.busy_seconds = 0.0
        self.retry_after_ms: int | None = None
        self.loop = LeaseLoop(
            spool=spool,
            target="support",
            hands=hands,
            policy=RetryPolicy(schedule_seconds=(5.0,), give_up_after_seconds=1e9),
            now_ms=now_ms,
            random=lambda: 0.5,
        )
        spool.on_ready(lambda _: self.loop.wake())

    async def take(self, parcel: Parcel) -> bool:
        lease = parcel.first
        self.taken.append((round((trio.current_time() - self.started) * 1000), lease.attempt))
        await trio.sleep(self.busy_seconds)
        settlement: Settlement = Done()
        if self.retry_after_ms is not None:
            record = AttemptRecord(
                number=lease.attempt, at_ms=0, status=503, error="", duration_ms=0, response_excerpt=""
            )
            settlement = RetryLater(at_ms=now_ms() + self.retry_after_ms, record=record)
        await settle(self.spool, lease, settlement)
        return isinstance(settlement, Done)


@asynccontextmanager
async def looping(state: MemoryState, *, hands: int = 2) -> AsyncIterator[Rig]:
    async with open_memory_spool(state) as spool, trio.open_nursery() as nursery:
        rig = Rig(spool, hands)
        nursery.start_soon(rig.loop.run, rig.take)
        yield rig
        rig.loop.stop()


async def test_what_is_stored_is_taken_at_once(autojump_clock: MockClock) -> None:
    async with looping(MemoryState()) as rig:
        await trio.sleep(1000)
        await rig.spool.append(notification(b"{}", "support"))
        await trio.sleep(1)
    assert rig.taken == [(1_000_000, 1)]


async def test_a_retry_is_taken_when_it_is_due(autojump_clock: MockClock) -> None:
    async with looping(MemoryState()) as rig:
        rig.retry_after_ms = 200_000  # beyond the longest sleep
        await rig.spool.append(notification(b"{}", "support"))
        await trio.sleep(450)
    assert rig.taken == [(0, 1), (200_000, 2), (400_000, 3)]


async def test_no_more_than_its_hands(autojump_clock: MockClock) -> None:
    async with looping(MemoryState(), hands=3) as rig:
        rig.busy_seconds = 10
        for number in range(7):
            await rig.spool.append(notification(b"%d" % number, "support", number=number))
        await trio.sleep(100)
    assert [at for at, _ in rig.taken] == [0, 0, 0, 10_000, 10_000, 10_000, 20_000]


async def test_a_spool_that_is_full_is_asked_once_a_second(autojump_clock: MockClock) -> None:
    state = MemoryState()
    asked = 0

    class FullSpool(MemorySpool):
        async def lease(self, *args: object, **kwargs: object) -> tuple[Lease, ...]:
            nonlocal asked
            asked += 1
            raise SpoolUnavailableError("disk full")

    async with open_memory_spool(state) as real:
        await real.append(notification(b"{}", "support"))
        spool = FullSpool(state, real._limits)
        rig = Rig(spool)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.loop.run, rig.take)
            await trio.sleep(10.5)
            rig.loop.stop()
    assert 10 <= asked <= 11


async def test_a_settlement_is_repeated_until_the_spool_takes_it(autojump_clock: MockClock) -> None:
    """The target has it: forgetting that would deliver it twice."""
    state = MemoryState()
    async with open_memory_spool(state) as spool:
        await spool.append(notification(b"{}", "support"))
        (lease,) = await spool.lease("support", now_ms=now_ms(), limit=1, next_due_ms=lambda _: 0)
        tries = 0

        class Reluctant:
            async def settle_together(self, settled: Sequence[tuple[Lease, Settlement]]) -> bool:
                nonlocal tries
                tries += 1
                if tries < 4:
                    raise SpoolUnavailableError("disk full")
                return await spool.settle_together(settled)

        assert await settle(Reluctant(), lease, Done())  # type: ignore[arg-type]  # it settles, and that is all
        assert tries == 4
        assert spool.pending() == {}


async def test_a_settlement_under_way_survives_cancellation(autojump_clock: MockClock) -> None:
    done = False

    class Slow:
        async def settle_together(self, settled: Sequence[tuple[Lease, Settlement]]) -> bool:
            nonlocal done
            await trio.sleep(2)
            done = True
            return True

    with trio.move_on_after(1):
        await settle(Slow(), None, Done())  # type: ignore[arg-type]  # neither is looked at
    assert done


async def test_what_was_leased_as_the_loop_stopped_is_released(autojump_clock: MockClock) -> None:
    state = MemoryState()
    async with open_memory_spool(state) as spool:
        await spool.append(notification(b"{}", "support"))

        class SlowSpool(MemorySpool):
            async def lease(self, *args: object, **kwargs: object) -> tuple[Lease, ...]:
                leases = await super().lease(*args, **kwargs)  # type: ignore[arg-type]  # passed through
                await trio.sleep(1)
                return leases

        slow = SlowSpool(state, spool._limits)
        rig = Rig(slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.loop.run, rig.take)
            await trio.sleep(0.5)
            rig.loop.stop()
        assert rig.taken == []
        (lease,) = await slow.lease("support", now_ms=now_ms(), limit=1, next_due_ms=lambda _: 0)
        assert lease.attempt == 1


async def test_a_clock_that_was_set_back_does_not_make_it_spin(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool says that something is due, and yet gives nothing."""
    asked = 0
    async with open_memory_spool(MemoryState()) as real:

        class OddSpool(MemorySpool):
            async def lease(self, *args: object, **kwargs: object) -> tuple[Lease, ...]:
                nonlocal asked
                asked += 1
                await trio.lowlevel.checkpoint()
                return ()

            async def next_due_ms(self, target: str) -> int | None:
                return 0

        rig = Rig(OddSpool(MemoryState(), real._limits))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.loop.run, rig.take)
            await trio.sleep(1)
            rig.loop.stop()
    assert asked <= 1 + 1 / lease_loop.SHORTEST_SLEEP_SECONDS


async def test_a_database_that_is_away_for_a_while_is_asked_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of it fails: what to lease, or when to look again."""
    async with looping(MemoryState()) as rig:
        there = {"lease": rig.spool.lease, "next_due_ms": rig.spool.next_due_ms}

        async def away(*_: object, **__: object) -> tuple[Lease, ...]:
            await trio.lowlevel.checkpoint()
            raise SpoolUnavailableError("the database is away")

        for name, real in there.items():
            monkeypatch.setattr(rig.spool, name, away)
            rig.loop.wake()
            await trio.sleep(30)
            monkeypatch.setattr(rig.spool, name, real)
            await trio.sleep(2)
            await rig.spool.append(notification(name.encode(), "support"))
            await trio.sleep(1)
    assert len(rig.taken) == 2


# -- offers


class Courier:
    """A loop on the real spool, whose attempts last until they are let go."""

    def __init__(self, spool: SqliteSpool, *, hands: int = 2, merging: Merging | None = None) -> None:
        self.spool = spool
        self.taken: list[int] = []
        """How many deliveries each attempt was for."""
        self.attempts: list[int] = []
        """The number of each."""
        self.under_way = self.most = 0
        self.free = trio.Event()
        self.asked: list[str] = []
        self.loop = LeaseLoop(
            spool=self,  # type: ignore[arg-type]  # what the loop uses of it
            target="support",
            hands=hands,
            policy=RetryPolicy(schedule_seconds=(5.0,), give_up_after_seconds=1e9),
            now_ms=unix_ms,
            random=lambda: 0.5,
            merging=merging,
        )
        spool.on_ready(lambda _: self.loop.wake())

    def __getattr__(self, name: str) -> object:
        self.asked.append(name)
        return getattr(self.spool, name)

    async def take(self, parcel: Parcel) -> bool:
        self.taken.append(len(parcel.members))
        self.attempts.append(parcel.first.attempt)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.free.wait()
        await settle_together(self.spool, [(lease, Done()) for lease in parcel.members])
        self.under_way -= 1
        return True

    async def delivered(self) -> None:
        """Wait until nothing waits, and the loop has seen it."""
        with trio.fail_after(5):
            while self.spool.pending():  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.01)
        await wait_all_tasks_blocked(0.02)

    async def append(self, *numbers: int) -> None:
        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(self.spool.append, note(b"%d" % number, object_="page"))


@asynccontextmanager
async def couriering(
    directory: Path, *, hands: int = 2, merging: Merging | None = None
) -> AsyncIterator[Courier]:
    async with opened(directory) as spool, trio.open_nursery() as nursery:
        courier = Courier(spool, hands=hands, merging=merging)
        nursery.start_soon(courier.loop.run, courier.take)
        await wait_all_tasks_blocked(0.05)
        yield courier
        courier.free.set()
        courier.loop.stop()


async def test_what_is_stored_comes_with_its_lease(tmp_path: Path) -> None:
    """Nothing is asked of the spool for it, also when its hand is free again."""
    async with couriering(tmp_path) as courier:
        courier.free.set()
        courier.asked.clear()
        for number in range(5):
            await courier.append(number)
            await courier.delivered()
        assert courier.taken == [1] * 5
        assert set(courier.asked) == {"offer"}


async def test_an_offer_is_no_more_than_the_hands(tmp_path: Path) -> None:
    async with couriering(tmp_path, hands=3) as courier:
        await courier.append(*range(8))
        await wait_all_tasks_blocked(0.05)
        assert courier.taken == [1] * 3
        courier.free.set()
        await courier.delivered()
        assert courier.taken == [1] * 8


async def test_what_is_merged_waits_for_more_while_something_is_under_way(tmp_path: Path) -> None:
    async with couriering(tmp_path, hands=1, merging=Merging(max_changes=100)) as courier:
        await courier.append(0)
        await wait_all_tasks_blocked(0.02)
        await courier.append(1, 2)
        await courier.append(3)
        await wait_all_tasks_blocked(0.02)
        courier.free.set()
        await courier.delivered()
        assert courier.taken == [1, 3]


@asynccontextmanager
async def storing(
    directory: Path, *, hands: int, number: int
) -> AsyncIterator[tuple[Courier, threading.Event]]:
    """Give a loop while so much is stored, leased for its hands already: it comes once the event is set."""
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go.wait(10)

    with disk() as slow:
        async with opened(directory, vfs=slow.name) as spool, trio.open_nursery() as nursery:
            courier = Courier(spool, hands=hands)
            nursery.start_soon(courier.loop.run, courier.take)
            while "offer" not in courier.asked:  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.001)
            slow.while_syncing = hold
            nursery.start_soon(courier.append, *range(number))
            assert await trio.to_thread.run_sync(begun.wait, 10)
            try:
                yield courier, go
            finally:
                go.set()
            courier.free.set()
            courier.loop.stop()


async def test_what_comes_while_it_stops_is_not_attempted(tmp_path: Path) -> None:
    """Neither counted as an attempt, nor held."""
    async with storing(tmp_path, hands=2, number=2) as (courier, _):
        courier.loop.stop()
    assert courier.taken == []
    async with opened(tmp_path) as spool:
        leases = await spool.lease("support", now_ms=unix_ms(), limit=3, next_due_ms=lambda _: 0)
    assert [(lease.attempt, lease.earlier) for lease in leases] == [(1, ())] * 2


async def test_what_comes_as_hands_become_fewer_waits_for_one(tmp_path: Path) -> None:
    """A reload between the offer and what it took."""
    async with storing(tmp_path, hands=3, number=3) as (courier, go):
        policy = RetryPolicy(schedule_seconds=(5.0,), give_up_after_seconds=1e9)
        courier.loop.adopt(hands=1, policy=policy, merging=None, hold_ms=HOLD_MS)
        go.set()
        courier.free.set()
        with trio.fail_after(5):
            while len(courier.attempts) < 3:  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.01)
    assert courier.attempts == [1, 1, 1]
    assert courier.most == 1


async def test_a_failed_attempt_is_made_again_when_it_is_due(tmp_path: Path) -> None:
    """Though the loop has gone to sleep since: it looks when an attempt ends and was not taken."""
    async with opened(tmp_path) as spool, trio.open_nursery() as nursery:
        numbers: list[int] = []
        loop = Courier(spool).loop

        async def take(parcel: Parcel) -> bool:
            lease = parcel.first
            numbers.append(lease.attempt)
            if lease.attempt == 3:
                await settle(spool, lease, Done())
                return True
            record = AttemptRecord(
                number=lease.attempt, at_ms=0, status=503, error="", duration_ms=0, response_excerpt=""
            )
            await settle(spool, lease, RetryLater(at_ms=unix_ms() + 50, record=record))
            return False

        nursery.start_soon(loop.run, take)
        await wait_all_tasks_blocked(0.05)
        await spool.append(note())
        with trio.fail_after(5):
            while spool.pending():  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.01)
        loop.stop()
    assert numbers == [1, 2, 3]
