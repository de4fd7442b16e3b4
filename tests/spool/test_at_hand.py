"""What is leased from memory, and what is leased with the transaction that stores it (promise 32)."""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import trio

from gateway.core.lanes import Lane
from gateway.core.merging import Merging
from gateway.errors import SpoolBrokenError, SpoolUnavailableError
from gateway.spool import at_hand
from gateway.spool.contract import Done, Handed, Lease, Offer, Release, RetryLater, Spool
from gateway.spool.history import INTERRUPTED
from gateway.spool.sqlite import SqliteSpool
from tests.spool.rig import HOUR_MS, NOW_MS, disk, in_an_hour, note, opened, record


class Hands:
    """Who offers, and what came."""

    def __init__(self, spool: Spool, *, merging: Merging | None = None) -> None:
        self.spool = spool
        self.came: list[tuple[str, ...]] = []
        """Ids of deliveries, as they were handed over."""
        self.leases: list[Lease] = []
        self.handed = Handed()
        self.merging = merging
        self.now_ms = NOW_MS

    def take(self, leases: tuple[Lease, ...]) -> None:
        self.came.append(tuple(lease.delivery_id for lease in leases))
        self.leases += leases

    def offer(self, until: int, *, due: Callable[[int, int], int] | None = None) -> None:
        assert self.spool.offer(
            Offer(
                target="support",
                handed=self.handed,
                until=until,
                now_ms=lambda: self.now_ms,
                next_due_ms=due or (lambda now_ms, attempt: now_ms + HOUR_MS * attempt),
                take=self.take,
                merging=self.merging,
            )
        )


def statements(spool: SqliteSpool) -> list[str]:
    """Return where what SQLite is told gathers from now on, without triggers."""
    told: list[str] = []

    def look(event: dict[str, str]) -> None:
        if not event["sql"].startswith("--"):
            told.append(event["sql"])

    spool._engine._file.connection.trace_v2(apsw.SQLITE_TRACE_STMT, look)
    return told


async def take(spool: Spool, *, limit: int = 100) -> list[str]:
    leases = await spool.lease("support", now_ms=NOW_MS, limit=limit, next_due_ms=in_an_hour)
    return [lease.delivery_id for lease in leases]


async def test_32_what_is_stored_is_leased_in_the_same_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool)
        assert await spool.next_due_ms("support") is None
        hands.offer(1)
        told = statements(spool)
        wanted = note()
        await spool.append(wanted)
        assert hands.came == [(wanted.deliveries[0].id,)]
        assert told.count("COMMIT") == 1
        assert not [one for one in told if "UPDATE delivery" in one]
        [lease] = hands.leases
        assert (lease.raw, lease.attempt, lease.earlier) == (wanted.body.raw, 1, ())
        assert await spool.next_due_ms("support") is None
        assert await take(spool) == []
    async with opened(tmp_path) as spool:  # the process ended during the attempt
        assert await spool.next_due_ms("support") == NOW_MS + HOUR_MS
        [again] = await spool.lease(
            "support", now_ms=NOW_MS + HOUR_MS, limit=1, next_due_ms=lambda attempt: NOW_MS * attempt
        )
        assert (again.attempt, [one.error for one in again.earlier]) == (2, [INTERRUPTED])


async def test_32_no_more_than_is_offered(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool)
        told: list[frozenset[str]] = []
        spool.on_ready(told.append)
        await spool.next_due_ms("support")
        hands.offer(2)
        for _ in range(2):
            await spool.append(note())
        assert told == []
        third, fourth = note(), note()
        await spool.append(third)
        await spool.append(fourth)
        assert len(hands.came) == 2
        assert told == [frozenset({"support"})] * 2
        hands.offer(3)  # older ones wait: what comes next must not overtake them
        await spool.append(note())
        assert len(hands.came) == 2
        assert await take(spool, limit=1) == [third.deliveries[0].id]
        assert await take(spool, limit=1) == [fourth.deliveries[0].id]


async def test_32_an_offer_that_is_withdrawn_takes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool)
        await spool.next_due_ms("support")
        hands.offer(1)
        hands.offer(0)
        await spool.append(note())
        assert hands.came == []
        assert len(await take(spool)) == 1


@pytest.mark.parametrize("what", ["unasked", "retry due", "released", "restored"])
async def test_32_nothing_overtakes_what_is_due(tmp_path: Path, what: str) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool)
        if what == "restored":
            await spool.next_due_ms("support")
            await spool.restore(note(), clock_started_ms=NOW_MS)
        elif what != "unasked":
            await spool.append(note())
            [lease] = await spool.lease("support", now_ms=NOW_MS, limit=1, next_due_ms=in_an_hour)
            await spool.next_due_ms("support")
            if what == "released":
                await spool.settle(lease, Release())
            else:
                await spool.settle(lease, RetryLater(at_ms=NOW_MS + 1000, record=record(1)))
                hands.now_ms = NOW_MS + 1000
        hands.offer(9)
        await spool.append(note())
        assert hands.came == []


async def test_32_what_is_due_later_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool)
        await spool.append(note())
        [lease] = await spool.lease("support", now_ms=NOW_MS, limit=1, next_due_ms=in_an_hour)
        await spool.next_due_ms("support")
        await spool.settle(lease, RetryLater(at_ms=NOW_MS + 1000, record=record(1)))
        assert await spool.next_due_ms("support") == NOW_MS + 1000
        hands.offer(9)
        await spool.append(note())
        assert len(hands.came) == 1


async def test_32_what_is_stored_together_goes_together(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool, merging=Merging(max_changes=3))
        await spool.next_due_ms("support")
        hands.offer(9)
        many = [note(object_="page", lane=Lane(place % 2)) for place in range(8)]
        async with trio.open_nursery() as nursery:
            for one in many:
                nursery.start_soon(spool.append, one)
        groups = [lease.group or lease.delivery_id for lease in hands.leases]
        assert [groups.count(group) for group in dict.fromkeys(groups)] == [3, 1, 3, 1]
        assert hands.handed.attempts == 4
        assert await spool.settle_together([(lease, Done()) for lease in hands.leases])
        assert spool.pending() == {}


async def test_32_what_waits_for_another_is_left_to_wait(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool)
        await spool.next_due_ms("support")
        hands.offer(9)
        first, second = note(order_keys=(1,)), note(order_keys=(1,))
        await spool.append(first)
        await spool.append(second)
        assert hands.came == []
        assert await take(spool) == [first.deliveries[0].id]


async def test_32_what_cannot_be_stored_is_leased_to_nobody(tmp_path: Path) -> None:
    with disk() as faulty:
        async with opened(tmp_path, vfs=faulty.name) as spool:
            hands = Hands(spool)
            await spool.next_due_ms("support")
            hands.offer(1)
            faulty.error, faulty.failing = apsw.SQLITE_FULL, frozenset({"write"})
            with pytest.raises(SpoolUnavailableError):
                await spool.append(note())
            assert (hands.came, hands.handed.attempts) == ([], 0)
            faulty.failing = frozenset()
            await spool.append(note())
            assert (len(hands.came), hands.handed.attempts) == (1, 1)


async def test_32_a_time_that_cannot_be_told_leaves_it_to_the_next_lease(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool)
        await spool.next_due_ms("support")
        hands.offer(1, due=lambda _, attempt: 1 // (attempt - 1))
        wanted = note()
        await spool.append(wanted)
        assert hands.came == []
        with pytest.raises(ZeroDivisionError):
            await spool.lease("support", now_ms=NOW_MS, limit=1, next_due_ms=lambda n: 1 // (n - 1))
        assert await take(spool) == [wanted.deliveries[0].id]


async def test_what_is_known_to_be_due_is_leased_without_a_look(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await spool.next_due_ms("support")
        first, second = note(), note()
        await spool.append(first)
        await spool.append(second)
        told = statements(spool)
        assert await take(spool) == [one.deliveries[0].id for one in (first, second)]
        assert await spool.next_due_ms("support") is None
        assert await take(spool) == []
        [statement] = [one for one in told if one not in ("BEGIN IMMEDIATE", "COMMIT")]
        assert "UPDATE delivery" in statement


async def test_a_backlog_is_read_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds no more than some commits of a target."""
    monkeypatch.setattr(at_hand, "MAX_STORED", 3)
    async with opened(tmp_path) as spool:
        await spool.next_due_ms("support")
        many = [note() for _ in range(5)]
        for one in many:
            await spool.append(one)
        assert not spool._engine._at_hand._known
        assert await take(spool) == [one.deliveries[0].id for one in many]


async def test_what_is_leased_as_the_oldest_is_leased_to_nobody_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        hands = Hands(spool)
        await spool.next_due_ms("support")
        await spool.append(note())
        [oldest] = await spool.lease_oldest("support", now_ms=NOW_MS, clock_started_by_ms=NOW_MS, limit=1)
        assert await take(spool) == []
        assert await spool.next_due_ms("support") is None
        hands.offer(1)
        await spool.append(note())
        assert len(hands.came) == 1
        await spool.settle(oldest, Release())
        assert await take(spool) == [oldest.delivery_id]


async def test_what_was_accepted_first_goes_first_whenever_it_was_stored(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await spool.next_due_ms("support")
        later, earlier = note(at_ms=NOW_MS), note(at_ms=NOW_MS - 5)
        await spool.append(later)
        await spool.append(earlier)
        assert await take(spool) == [one.deliveries[0].id for one in (earlier, later)]


@pytest.mark.parametrize("which", ["at hand", "in the file", "the oldest"])
async def test_15_what_is_tried_again_leases_nothing_that_was_not_stored(tmp_path: Path, which: str) -> None:
    """The disk is full as the batch commits: the lease is done without what comes in."""
    with disk() as faulty:
        async with opened(tmp_path, vfs=faulty.name) as spool:
            if which == "at hand":
                await spool.next_due_ms("support")
            wanted, found = note(), [""]

            async def store() -> None:
                with pytest.raises(SpoolUnavailableError):
                    await spool.append(wanted)

            async def lease() -> None:
                found[:] = (
                    [
                        one.delivery_id
                        for one in await spool.lease_oldest(
                            "support", now_ms=NOW_MS, clock_started_by_ms=NOW_MS, limit=1
                        )
                    ]
                    if which == "the oldest"
                    else await take(spool)
                )

            faulty.error, faulty.failing = apsw.SQLITE_FULL, frozenset({"write"})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store)
                nursery.start_soon(lease)
            faulty.failing = frozenset()
            assert found == []
            await spool.append(wanted)
            assert await take(spool) == [wanted.deliveries[0].id]


async def test_16_a_file_that_is_lost_during_a_commit_hands_nothing_over(tmp_path: Path) -> None:
    """Its callers hear that nothing was stored; so nothing of it is to be sent."""
    with disk() as lost:
        async with opened(tmp_path, vfs=lost.name) as spool:
            hands = Hands(spool)
            await spool.next_due_ms("support")
            hands.offer(1)
            lost.while_syncing = lambda: spool._writer.leave(SpoolBrokenError("gone"))
            with pytest.raises(SpoolBrokenError, match="gone"):
                await spool.append(note())
            assert hands.came == []
            assert spool.pending() == {}
