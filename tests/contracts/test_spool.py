"""Every promise of gateway/spool/contract.py, held against SQLite and the fake alike.

That SQLite keeps them through a real crash, a full disk and two processes is shown in tests/spool.
"""

from collections.abc import Iterable

import pytest
import trio
import trio.lowlevel
import trio.testing

from gateway.core.lanes import Lane
from gateway.core.merging import Merging, group_key
from gateway.core.pausing import Pause, Pauses
from gateway.errors import SpoolBrokenError, SpoolLockedError, SpoolUnavailableError
from gateway.spool.contract import (
    Appended,
    Buried,
    Done,
    Kept,
    KeptStates,
    Lease,
    NewDelivery,
    Notification,
    Release,
    Remembered,
    RetryLater,
    Settlement,
    Spool,
)
from gateway.spool.history import INTERRUPTED, AttemptRecord
from tests.contracts.conftest import Stand
from tests.spool.rig import HOUR_MS, NOW_MS, in_an_hour, note, record


async def take(
    spool: Spool,
    target: str = "support",
    *,
    now_ms: int = NOW_MS,
    limit: int = 100,
    merging: Merging | None = None,
) -> list[Lease]:
    return list(
        await spool.lease(target, now_ms=now_ms, limit=limit, next_due_ms=in_an_hour, merging=merging)
    )


async def take_one(spool: Spool, target: str = "support", *, now_ms: int = NOW_MS) -> Lease:
    [lease] = await take(spool, target, now_ms=now_ms)
    return lease


def bodies(leases: Iterable[Lease]) -> list[bytes]:
    return [lease.raw for lease in leases]


# -- 1, 2: stored means stored, body and deliveries together


async def test_1_what_was_stored_is_there_after_a_restart(stand: Stand) -> None:
    wanted = note(b"one", targets=("support", "audit"), selection=(0, 3))
    async with stand.open() as spool:
        assert await spool.append(wanted) is Appended.STORED
    async with stand.open() as spool:
        assert spool.pending() == {"support": 1, "audit": 1}
        lease = await take_one(spool, "audit")
    assert lease.raw == b"one"
    assert lease.delivery_id == wanted.deliveries[1].id
    assert lease.notification_id == wanted.id
    assert lease.app == "main"
    assert lease.target == "audit"
    assert lease.selection == (0, 3)
    assert lease.received_at_ms == lease.clock_started_ms == NOW_MS
    assert (lease.attempt, lease.leased_at_ms, lease.earlier) == (1, NOW_MS, ())


@pytest.mark.parametrize("selection", [None, (), (0,), (0, 1, 999)])
async def test_1_the_selection_comes_back(stand: Stand, selection: tuple[int, ...] | None) -> None:
    async with stand.open() as spool:
        await spool.append(note(selection=selection))
        assert (await take_one(spool)).selection == selection


async def test_2_all_deliveries_of_a_notification_appear_with_it(stand: Stand) -> None:
    targets = tuple(f"target-{number}" for number in range(20))
    async with stand.open() as spool:
        await spool.append(note(b"many", targets=targets))
        for target in targets:
            assert (await take_one(spool, target)).raw == b"many"


async def test_2_nothing_of_what_was_refused_appears(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        stand.fill()
        with pytest.raises(SpoolUnavailableError):
            await spool.append(note(targets=("support", "audit")))
        stand.empty()
        assert spool.pending() == {"support": 1}
    async with stand.open() as spool:
        assert spool.pending() == {"support": 1}
        assert await take(spool, "audit") == []


@pytest.mark.parametrize(
    "object_", ["a\x00b", "", "\u65e5\u672c", "x" * 100_000], ids=["NUL", "", "far", "long"]
)
async def test_2_whatever_object_is_signed_is_stored_and_holds_up_nobody(stand: Stand, object_: str) -> None:
    async with stand.open() as spool:
        odd, plain = note(object_=object_), note(object_="page")
        found: list[Appended] = []

        async def append(one: Notification) -> None:
            found.append(await spool.append(one))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(append, odd)
            nursery.start_soon(append, plain)
        assert found == [Appended.STORED] * 2
        leased = await take(spool)
        assert set(bodies(leased)) == {odd.body.raw, plain.body.raw}


async def test_2_a_notification_without_deliveries_is_remembered_and_no_more(stand: Stand) -> None:
    async with stand.open() as spool:
        assert await spool.append(note(b"dropped", targets=())) is Appended.STORED
        assert await spool.append(note(b"dropped")) is Appended.DUPLICATE
        assert spool.pending() == {}


# -- 3, 4: the duplicates window


async def test_3_the_same_bytes_are_stored_once(stand: Stand) -> None:
    async with stand.open() as spool:
        assert await spool.append(note(b"same")) is Appended.STORED
        assert await spool.append(note(b"same", at_ms=NOW_MS + HOUR_MS - 1)) is Appended.DUPLICATE
        assert bodies(await take(spool)) == [b"same"]


async def test_3_the_same_bytes_of_another_app_are_another_notification(stand: Stand) -> None:
    async with stand.open() as spool:
        assert await spool.append(note(b"same", app="one")) is Appended.STORED
        assert await spool.append(note(b"same", app="two")) is Appended.STORED
        assert await spool.append(note(b"ame", app="ones")) is Appended.STORED
        assert spool.pending() == {"support": 3}


async def test_3_a_delivered_notification_is_still_known(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note(b"same"))
        await spool.settle(await take_one(spool), Done())
        assert await spool.append(note(b"same")) is Appended.DUPLICATE


async def test_3_of_the_same_bytes_at_the_same_time_one_is_stored(stand: Stand) -> None:
    answers: list[Appended] = []

    async def append(spool: Spool) -> None:
        answers.append(await spool.append(note(b"same")))

    async with stand.open() as spool:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(append, spool)
        assert sorted(answer.value for answer in answers) == ["duplicate"] * 49 + ["stored"]
        assert spool.pending() == {"support": 1}


async def test_3_what_failed_leaves_no_trace_in_the_window(stand: Stand) -> None:
    async with stand.open() as spool:
        stand.fill()
        with pytest.raises(SpoolUnavailableError):
            await spool.append(note(b"again"))
        stand.empty()
        assert await spool.append(note(b"again")) is Appended.STORED


async def test_3_the_same_bytes_at_the_same_time_all_fail_when_the_first_does(stand: Stand) -> None:
    refused = 0

    async def append(spool: Spool) -> None:
        nonlocal refused
        with pytest.raises(SpoolUnavailableError):
            await spool.append(note(b"same"))
        refused += 1

    async with stand.open() as spool:
        stand.fill()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(append, spool)
    assert refused == 20


async def test_4_the_window_outlives_a_restart(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note(b"same"))
    async with stand.open() as spool:
        assert await spool.append(note(b"same")) is Appended.DUPLICATE


async def test_4_bytes_are_forgotten_after_the_window(stand: Stand) -> None:
    async with stand.open(window_seconds=80) as spool:
        await spool.append(note(b"same", at_ms=NOW_MS))
        assert await spool.append(note(b"same", at_ms=NOW_MS + 79_999)) is Appended.DUPLICATE
        assert await spool.append(note(b"same", at_ms=NOW_MS + 90_000)) is Appended.STORED
        assert await spool.append(note(b"same", at_ms=NOW_MS + 91_000)) is Appended.DUPLICATE


async def test_4_beyond_the_number_the_oldest_are_forgotten_first(stand: Stand) -> None:
    async with stand.open(duplicates_max=5) as spool:
        for number in range(12):
            await spool.append(note(b"%d" % number, at_ms=NOW_MS + number))
        for number in range(7, 12):
            assert await spool.append(note(b"%d" % number, at_ms=NOW_MS + 20)) is Appended.DUPLICATE
        assert await spool.append(note(b"6", at_ms=NOW_MS + 20)) is Appended.STORED


async def test_4_it_says_how_far_back_it_reaches_over_restarts_too(stand: Stand) -> None:
    async with stand.open(window_seconds=80, duplicates_max=40) as spool:
        assert spool.remembered(NOW_MS) == Remembered(keys=0, since_ms=None)
        await spool.append(note(b"first", at_ms=NOW_MS))
    async with stand.open(window_seconds=80, duplicates_max=40) as spool:
        assert spool.remembered(NOW_MS + 5000) == Remembered(keys=1, since_ms=NOW_MS)
        for number in range(60):
            await spool.append(note(b"%d" % number, at_ms=NOW_MS + 1000 + number))
        bounded = spool.remembered(NOW_MS + 2000)
    assert 40 * 7 / 8 < bounded.keys <= 40, "what is too much may go by eighths"
    assert bounded.since_ms is not None
    assert NOW_MS + 1000 + 20 < bounded.since_ms < NOW_MS + 1000 + 60


@pytest.mark.parametrize(("seconds", "number"), [(0, 10), (10, 0)])
async def test_4_a_window_of_nothing_knows_no_duplicates(stand: Stand, seconds: float, number: int) -> None:
    async with stand.open(window_seconds=seconds, duplicates_max=number) as spool:
        assert await spool.append(note(b"same")) is Appended.STORED
        assert await spool.append(note(b"same")) is Appended.STORED
        assert spool.pending() == {"support": 2}


# -- 5, 6: leases


async def test_5_the_oldest_acceptance_comes_first(stand: Stand) -> None:
    async with stand.open() as spool:
        for raw, at_ms in ((b"second", NOW_MS - 20), (b"third", NOW_MS - 10), (b"first", NOW_MS - 30)):
            await spool.append(note(raw, at_ms=at_ms))
        first = await take(spool, limit=2)
        assert bodies(first) == [b"first", b"second"]
        assert bodies(await take(spool)) == [b"third"]


async def test_5_lanes_go_in_the_order_that_is_asked_for(stand: Stand) -> None:
    async with stand.open() as spool:
        for number, lane in enumerate((2, 1, 0, 2, 0)):
            await spool.append(note(b"%d" % number, at_ms=NOW_MS + number, lane=Lane(lane)))
        assert await spool.next_due_ms("support") == 0
        leases = await take(spool)
        assert bodies(leases) == [b"2", b"4", b"1", b"0", b"3"]
        await spool.settle_together([(lease, Release()) for lease in leases])
        turned = await spool.lease(
            "support", now_ms=NOW_MS, limit=3, next_due_ms=in_an_hour, lanes=tuple(reversed(Lane))
        )
        assert bodies(turned) == [b"0", b"3", b"1"]
        for lease in turned:
            await spool.settle(lease, RetryLater(at_ms=NOW_MS + 5, record=record(lease.attempt)))
    async with stand.open() as spool:
        assert bodies(await take(spool, limit=2)) == [b"2", b"4"]
        assert await spool.next_due_ms("support") == NOW_MS + 5
        assert bodies(await take(spool, now_ms=NOW_MS + 5)) == [b"1", b"0", b"3"]


async def test_5_a_retry_that_is_due_goes_before_what_came_later(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note(b"old", at_ms=NOW_MS - 50))
        await spool.settle(await take_one(spool), RetryLater(at_ms=NOW_MS + 5, record=record(1)))
        await spool.append(note(b"new", at_ms=NOW_MS - 10))
        await spool.append(note(b"newer", at_ms=NOW_MS - 5))
        assert bodies(await take(spool, now_ms=NOW_MS + 4, limit=1)) == [b"new"]
        assert bodies(await take(spool, now_ms=NOW_MS + 5, limit=1)) == [b"old"]
        assert bodies(await take(spool, now_ms=NOW_MS + 5)) == [b"newer"]


async def test_5_nobody_else_gets_what_is_leased(stand: Stand) -> None:
    async with stand.open() as spool:
        for _ in range(10):
            await spool.append(note())
        taken: list[Lease] = []

        async def take_some() -> None:
            taken.extend(await take(spool, limit=3))

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(take_some)
        assert len({lease.delivery_id for lease in taken}) == len(taken) == 10
        # not even when the time of the next attempt has come while this one still runs
        assert await take(spool, now_ms=NOW_MS + 2 * HOUR_MS) == []


async def test_5_a_target_gets_its_own_only(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note(b"one", targets=("support",)))
        await spool.append(note(b"two", targets=("audit",)))
        assert bodies(await take(spool, "audit")) == [b"two"]
        assert await take(spool, "nobody") == []


async def test_5_a_new_delivery_is_due_whatever_the_clock_says(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note(b"from the future", at_ms=NOW_MS + 10 * HOUR_MS))
        assert bodies(await take(spool)) == [b"from the future"]


async def test_5_no_more_than_the_limit(stand: Stand) -> None:
    async with stand.open() as spool:
        for _ in range(5):
            await spool.append(note())
        assert await take(spool, limit=0) == []
        assert len(await take(spool, limit=4)) == 4


async def test_6_number_and_next_time_are_kept_before_the_attempt(stand: Stand) -> None:
    asked: list[int] = []

    def next_due_ms(attempt: int) -> int:
        asked.append(attempt)
        return NOW_MS + 77

    async with stand.open() as spool:
        await spool.append(note())
        [lease] = await spool.lease("support", now_ms=NOW_MS, limit=1, next_due_ms=next_due_ms)
        assert lease.attempt == 1
    assert asked == [1]
    async with stand.open() as spool:
        assert await spool.next_due_ms("support") == NOW_MS + 77
        assert await take(spool, now_ms=NOW_MS + 76) == []
        assert (await take_one(spool, now_ms=NOW_MS + 77)).attempt == 2


async def test_6_an_error_in_the_schedule_reaches_its_caller_and_leases_nothing(stand: Stand) -> None:
    def broken_schedule(attempt: int) -> int:
        raise ZeroDivisionError(attempt)

    async with stand.open() as spool:
        await spool.append(note())
        with pytest.raises(ZeroDivisionError):
            await spool.lease("support", now_ms=NOW_MS, limit=1, next_due_ms=broken_schedule)
        assert (await take_one(spool)).attempt == 1


# -- 7 to 10: settlements


@pytest.mark.parametrize(
    "second",
    [Done(), Buried(), Release(), RetryLater(at_ms=NOW_MS, record=record(1))],
    ids=lambda settlement: type(settlement).__name__,
)
async def test_7_a_second_settlement_changes_nothing(stand: Stand, second: Settlement) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        lease = await take_one(spool)
        assert await spool.settle(lease, RetryLater(at_ms=NOW_MS + 9, record=record(1)))
        assert not await spool.settle(lease, second)
        assert spool.pending() == {"support": 1}
        assert await spool.next_due_ms("support") == NOW_MS + 9
        again = await take_one(spool, now_ms=NOW_MS + 9)
        assert not await spool.settle(lease, second)
        assert await spool.settle(again, Done())


async def test_7_of_settlements_at_the_same_time_one_counts(stand: Stand) -> None:
    ended: list[bool] = []
    async with stand.open() as spool:
        await spool.append(note())
        lease = await take_one(spool)

        async def settle() -> None:
            ended.append(await spool.settle(lease, Done()))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(settle)
        assert ended.count(True) == 1
        assert spool.pending() == {}


async def test_7_a_lease_from_before_a_restart_settles_nothing(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        old = await take_one(spool)
    async with stand.open() as spool:
        new = await take_one(spool, now_ms=NOW_MS + 2 * HOUR_MS)
        assert not await spool.settle(old, Done())
        assert spool.pending() == {"support": 1}
        assert await spool.settle(new, Done())


async def test_7_the_record_of_another_attempt_is_a_mistake(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        lease = await take_one(spool)
        with pytest.raises(ValueError, match="attempt 2 for attempt 1"):
            await spool.settle(lease, RetryLater(at_ms=NOW_MS, record=record(2)))
        assert await spool.settle(lease, Done())


@pytest.mark.parametrize("ending", [Done(), Buried()], ids=["done", "buried"])
async def test_8_what_is_done_is_gone_and_the_body_with_the_last(stand: Stand, ending: Done | Buried) -> None:
    raw = b"x" * 300_000
    async with stand.open() as spool:
        empty = spool.size_bytes()
        await spool.append(note(raw, targets=("support", "audit")))
        await spool.settle(await take_one(spool, "support"), ending)
        assert spool.pending() == {"audit": 1}
        assert await take(spool, "support", now_ms=NOW_MS + 9 * HOUR_MS) == []
        lease = await take_one(spool, "audit")
        assert lease.raw == raw
        await spool.settle(lease, ending)
        assert spool.pending() == {}
        assert await spool.oldest_received_ms() == {}
        assert await spool.next_due_ms("audit") is None
        # the room of a removed body is used again: many of them do not add up
        for number in range(30):
            await spool.append(note(raw + bytes([number])))
            await spool.settle(await take_one(spool), ending)
    async with stand.open() as spool:
        assert spool.pending() == {}
        assert spool.size_bytes() - empty < 4 * len(raw)


async def test_9_a_retry_keeps_the_record_and_the_stated_time(stand: Stand) -> None:
    first = record(1, status=503)
    second = AttemptRecord(
        number=2,
        at_ms=NOW_MS + 10,
        status=None,
        error="timed out\0\ud800",
        duration_ms=10_000,
        response_excerpt="",
    )
    async with stand.open() as spool:
        await spool.append(note())
        await spool.settle(await take_one(spool), RetryLater(at_ms=NOW_MS + 10, record=first))
        assert await spool.next_due_ms("support") == NOW_MS + 10
        assert await take(spool, now_ms=NOW_MS + 9) == []
        lease = await take_one(spool, now_ms=NOW_MS + 10)
        assert lease.earlier == (first,)
        await spool.settle(lease, RetryLater(at_ms=NOW_MS + 20, record=second))
    async with stand.open() as spool:
        lease = await take_one(spool, now_ms=NOW_MS + 20)
        assert lease.attempt == 3
        assert [found.number for found in lease.earlier] == [1, 2]
        assert lease.earlier[0] == first
        assert lease.earlier[1].error.startswith("timed out\0")
        assert await spool.settle(lease, Done())


async def test_9_records_stay_with_their_own_delivery(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note(targets=("support", "audit")))
        await spool.append(note(targets=("support", "audit")))
        for target, status in (("support", 500), ("audit", 502)):
            for lease in await take(spool, target):
                await spool.settle(lease, RetryLater(at_ms=NOW_MS, record=record(1, status=status)))
        for target, status in (("support", 500), ("audit", 502)):
            leases = await take(spool, target)
            assert [[found.status for found in lease.earlier] for lease in leases] == [[status], [status]]


async def test_10_a_release_undoes_the_lease(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        assert await spool.settle(await take_one(spool), Release())
        due_ms = await spool.next_due_ms("support")
        assert due_ms is not None
        assert due_ms <= NOW_MS
        lease = await take_one(spool)
        assert (lease.attempt, lease.earlier) == (1, ())
        await spool.settle(lease, RetryLater(at_ms=NOW_MS, record=record(1)))
        await spool.settle(await take_one(spool), Release())
    async with stand.open() as spool:
        lease = await take_one(spool)
        assert lease.attempt == 2
        assert lease.earlier == (record(1),)


# -- 11: restarts


async def test_11_after_a_restart_an_attempt_under_way_is_on_record(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        await take_one(spool)
    async with stand.open() as spool:
        assert spool.pending() == {"support": 1}
        assert await take(spool) == []
        lease = await take_one(spool, now_ms=NOW_MS + HOUR_MS + 1)
        interrupted = AttemptRecord(
            number=1, at_ms=NOW_MS, status=None, error=INTERRUPTED, duration_ms=0, response_excerpt=""
        )
        assert lease.attempt == 2
        assert lease.earlier == (interrupted,)
        await spool.settle(lease, RetryLater(at_ms=NOW_MS + 5 * HOUR_MS, record=record(2)))
    async with stand.open() as spool:
        lease = await take_one(spool, now_ms=NOW_MS + 5 * HOUR_MS)
        assert lease.earlier == (interrupted, record(2))


async def test_11_a_release_keeps_the_record_of_an_earlier_interruption(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        await take_one(spool)
    async with stand.open() as spool:
        await spool.settle(await take_one(spool, now_ms=NOW_MS + 2 * HOUR_MS), Release())
        lease = await take_one(spool, now_ms=NOW_MS + 2 * HOUR_MS)
        assert lease.attempt == 2
        assert [found.error for found in lease.earlier] == [INTERRUPTED]


# -- 12: restore


async def test_12_restore_adds_under_the_old_id_with_a_fresh_clock(stand: Stand) -> None:
    dead = note(b"dead", targets=("support", "audit"), at_ms=NOW_MS - HOUR_MS)
    async with stand.open() as spool:
        await spool.append(dead)
        lease = await take_one(spool)
        await spool.settle(lease, RetryLater(at_ms=NOW_MS, record=record(1)))
        await spool.settle(await take_one(spool), Buried())
        # the other delivery is still pending
        assert await spool.restore(dead, clock_started_ms=NOW_MS + 1) == {dead.deliveries[0].id}
        assert await spool.restore(dead, clock_started_ms=NOW_MS + 2) == frozenset()
        assert spool.pending() == {"support": 1, "audit": 1}
    async with stand.open() as spool:
        again = await take_one(spool)
        assert again.delivery_id == lease.delivery_id
        assert again.notification_id == dead.id
        assert (again.attempt, again.earlier) == (1, ())
        assert again.received_at_ms == NOW_MS - HOUR_MS
        assert again.clock_started_ms == NOW_MS + 1
        assert again.raw == b"dead"
        await spool.settle(again, Done())
        assert (await take_one(spool, "audit")).raw == b"dead"


async def test_12_an_id_that_is_leased_is_pending(stand: Stand) -> None:
    dead = note()
    async with stand.open() as spool:
        await spool.append(dead)
        await take_one(spool)
        assert await spool.restore(dead, clock_started_ms=NOW_MS) == frozenset()


async def test_12_restores_at_the_same_time_add_once(stand: Stand) -> None:
    dead = note(targets=("support", "audit"))
    added: list[str] = []
    async with stand.open() as spool:

        async def restore() -> None:
            added.extend(await spool.restore(dead, clock_started_ms=NOW_MS))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(restore)
        assert sorted(added) == sorted(delivery.id for delivery in dead.deliveries)
        assert spool.pending() == {"support": 1, "audit": 1}


async def test_12_restore_neither_asks_nor_fills_the_window(stand: Stand) -> None:
    async with stand.open() as spool:
        assert await spool.restore(note(b"same"), clock_started_ms=NOW_MS)
        assert await spool.append(note(b"same")) is Appended.STORED
        assert await spool.restore(note(b"same"), clock_started_ms=NOW_MS)
        assert spool.pending() == {"support": 3}


# -- 13: bytes


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0", bytes(range(256)) * 5, b"\xff\xfe{\0}\xc3\x28", b'{"a": "\\u0000"}', b"z" * 3 * 1024**2],
    ids=["empty", "nul", "all", "invalid", "json", "3 MiB"],
)
async def test_13_bytes_come_back_as_they_went_in(stand: Stand, raw: bytes) -> None:
    async with stand.open() as spool:
        await spool.append(note(b"before"))
        await spool.append(note(raw))
        await spool.append(note(b"after"))
    async with stand.open() as spool:
        assert bodies(await take(spool)) == [b"before", raw, b"after"]


@pytest.mark.parametrize("text", ["", "a\0b", "\ud800", "line\nbreak"])
async def test_13_a_name_that_cannot_be_kept_is_refused_and_harms_nobody(stand: Stand, text: str) -> None:
    async with stand.open() as spool:
        with pytest.raises(ValueError, match="not printable"):
            await spool.append(note(targets=(text,)))
        with pytest.raises(ValueError, match="not printable"):
            await spool.restore(
                note(app=text) if text != "\ud800" else note(targets=(text,)), clock_started_ms=0
            )
        assert await spool.append(note(targets=("größe 😀",))) is Appended.STORED
        assert (await take_one(spool, "größe 😀")).target == "größe 😀"


async def test_13_a_time_that_cannot_be_kept_is_refused(stand: Stand) -> None:
    async with stand.open() as spool:
        with pytest.raises(ValueError, match="out of range"):
            await spool.restore(note(at_ms=2**63), clock_started_ms=0)


# -- 14: counts


async def test_14_counts_cover_leased_and_forgotten_targets(stand: Stand) -> None:
    async with stand.open() as spool:
        for number in range(3):
            await spool.append(note(targets=("support", "lost"), at_ms=NOW_MS + number))
        await take(spool, "support", limit=2)
        assert spool.pending() == {"support": 3, "lost": 3}
        assert await spool.oldest_received_ms() == {"support": NOW_MS, "lost": NOW_MS}
    async with stand.open() as spool:
        assert spool.pending() == {"support": 3, "lost": 3}
        await spool.settle((await take(spool, "lost"))[0], Done())
        assert spool.pending() == {"support": 3, "lost": 2}
        assert await spool.oldest_received_ms() == {"support": NOW_MS, "lost": NOW_MS + 1}


async def test_14_bytes_are_those_of_whole_notifications(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note(b"12345", targets=("support", "audit")))
        await spool.append(note(b"123"))
        assert spool.pending_bytes() == {"support": 8, "audit": 5}
        first, _ = await take(spool)
        await spool.settle(first, Done())
    async with stand.open() as spool:
        assert spool.pending_bytes() == {"support": 3, "audit": 5}
        await spool.settle(await take_one(spool, "audit"), Buried())
        assert spool.pending_bytes() == {"support": 3}


async def test_14_next_due_is_of_what_nobody_holds(stand: Stand) -> None:
    async with stand.open() as spool:
        assert await spool.next_due_ms("support") is None
        for _ in range(3):
            await spool.append(note())
        first, second, third = await take(spool)
        assert await spool.next_due_ms("support") is None
        await spool.settle(first, RetryLater(at_ms=NOW_MS + 30, record=record(1)))
        await spool.settle(second, RetryLater(at_ms=NOW_MS + 20, record=record(1)))
        assert await spool.next_due_ms("support") == NOW_MS + 20
        await spool.settle(third, Release())
        assert await spool.next_due_ms("support") == 0


async def test_14_those_who_ask_are_told_what_became_due(stand: Stand) -> None:
    told: list[frozenset[str]] = []
    async with stand.open() as spool:
        spool.on_ready(told.append)
        dead = note(targets=("support", "audit"))
        await spool.append(dead)
        assert told.pop() == {"support", "audit"}
        await spool.append(note(targets=()))
        await spool.settle(await take_one(spool, "audit"), Release())
        assert told == [frozenset({"audit"})]
        await spool.settle(await take_one(spool, "audit"), RetryLater(at_ms=NOW_MS, record=record(1)))
        await spool.settle(await take_one(spool, "audit"), Buried())
        assert told == [frozenset({"audit"})]
        await spool.restore(dead, clock_started_ms=NOW_MS)
        assert told == [frozenset({"audit"}), frozenset({"audit"})]


# -- 15, 16: a full disk, a failed disk


async def test_15_without_room_nothing_is_stored_and_later_it_is(stand: Stand) -> None:
    wanted = note(b"wanted")
    async with stand.open() as spool:
        await spool.append(note(b"before"))
        assert spool.room().writable
        stand.fill()
        for _ in range(3):
            with pytest.raises(SpoolUnavailableError):
                await spool.append(wanted)
            with pytest.raises(SpoolUnavailableError):
                await spool.restore(wanted, clock_started_ms=NOW_MS)
        room = spool.room()
        assert not room.writable
        assert "full" in room.detail
        assert spool.pending() == {"support": 1}
        stand.empty()
        assert await spool.append(wanted) is Appended.STORED
        assert spool.room().writable
        assert bodies(await take(spool)) == [b"before", b"wanted"]


async def test_16_after_a_failure_of_the_disk_every_call_fails(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        lease = await take_one(spool)
        with trio.move_on_after(0.01) as waiting:
            await spool.wait_broken()
        assert waiting.cancelled_caught
        stand.fail()
        with pytest.raises(SpoolBrokenError):
            await spool.append(note())
        with trio.fail_after(5):
            await spool.wait_broken()
        stand.empty()
        with pytest.raises(SpoolBrokenError):
            await spool.append(note())
        with pytest.raises(SpoolBrokenError):
            await spool.restore(note(), clock_started_ms=NOW_MS)
        with pytest.raises(SpoolBrokenError):
            await take(spool)
        with pytest.raises(SpoolBrokenError):
            await spool.settle(lease, Done())
        with pytest.raises(SpoolBrokenError):
            await spool.next_due_ms("support")
        with pytest.raises(SpoolBrokenError):
            await spool.oldest_received_ms()
        assert not spool.room().writable
        assert spool.pending() == {"support": 1}


async def test_16_all_who_wait_hear_of_the_failure(stand: Stand) -> None:
    heard = 0

    async def append(spool: Spool) -> None:
        nonlocal heard
        with pytest.raises(SpoolBrokenError):
            await spool.append(note())
        heard += 1

    async with stand.open() as spool:
        stand.fail()
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(append, spool)
    assert heard == 100


# -- 17, 18


async def test_17_a_second_opener_is_refused(sole_stand: Stand) -> None:
    async with sole_stand.open() as spool:
        with pytest.raises(SpoolLockedError):
            async with sole_stand.open():
                pytest.fail("opened twice")
        assert await spool.append(note()) is Appended.STORED
    async with sole_stand.open() as spool:
        assert spool.pending() == {"support": 1}


async def test_18_a_cancelled_append_is_whole_or_not_at_all(stand: Stand) -> None:
    answered: dict[bytes, Appended] = {}

    async def append(spool: Spool, raw: bytes, scope: trio.CancelScope) -> None:
        with scope:
            answered[raw] = await spool.append(note(raw, targets=("support", "audit")))

    async with stand.open() as spool, trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(40)]
        for number, scope in enumerate(scopes):
            nursery.start_soon(append, spool, b"%d" % number, scope)
            if number % 3 == 0:
                scope.cancel()  # before it has begun
        await trio.lowlevel.checkpoint()
        for number, scope in enumerate(scopes):
            if number % 3 == 1:
                scope.cancel()  # under way
    async with stand.open() as spool:
        support, audit = await take(spool, "support"), await take(spool, "audit")
        assert bodies(support) == bodies(audit)
        # an answer was given for all that is there, and what was cancelled before it began is not
        assert set(bodies(support)) == set(answered)
        assert not set(answered) & {b"%d" % number for number in range(0, 40, 3)}
        assert set(answered) >= {b"%d" % number for number in range(2, 40, 3)}


async def test_18_a_cancelled_settlement_is_whole_or_not_at_all(stand: Stand) -> None:
    async with stand.open() as spool:
        for _ in range(2):
            await spool.append(note())
        early, late = await take(spool)
        with trio.CancelScope() as scope:
            scope.cancel()
            await spool.settle(early, Done())
        assert scope.cancelled_caught
        assert spool.pending() == {"support": 2}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spool.settle, late, Done())
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert spool.pending() == {"support": 1}
        assert await spool.settle(early, Done())


async def test_a_closed_spool_says_so(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
    with pytest.raises(SpoolUnavailableError, match="closed"):
        await spool.append(note())


async def test_every_call_is_a_checkpoint(stand: Stand) -> None:
    async with stand.open() as spool:
        with trio.testing.assert_checkpoints():
            await spool.append(note())
        with trio.testing.assert_checkpoints():
            lease = await take_one(spool)
        with trio.testing.assert_checkpoints():
            await spool.settle(lease, Done())
        with trio.testing.assert_checkpoints():
            await spool.settle(lease, Done())
        with trio.testing.assert_checkpoints():
            await spool.next_due_ms("support")
        with trio.testing.assert_checkpoints():
            await spool.oldest_received_ms()


# -- 19 to 21: groups

TEN = Merging(max_changes=10)


async def store(spool: Spool, *changes: int, object_: str | None = "page") -> list[str]:
    """Append deliveries with so many changes each; returns their ids, oldest first."""
    wanted = [
        note(at_ms=NOW_MS + place, changes=count, object_=object_) for place, count in enumerate(changes)
    ]
    for one in wanted:
        await spool.append(one)
    return [one.deliveries[0].id for one in wanted]


def members(leases: Iterable[Lease]) -> list[tuple[str | None, str]]:
    return [(lease.group, lease.delivery_id) for lease in leases]


def again_at(at_ms: int, leases: Iterable[Lease]) -> list[tuple[Lease, Settlement]]:
    """Settle a group that goes again as it is."""
    return [
        (lease, RetryLater(at_ms=at_ms, record=record(lease.attempt), group=lease.group)) for lease in leases
    ]


async def test_19_what_waits_is_leased_in_groups(stand: Stand) -> None:
    async with stand.open() as spool:
        ids = await store(spool, 4, 4, 4, 11, 1, 1)
        first, second = group_key(ids[0], 2), group_key(ids[4], 2)
        assert members(await take(spool, merging=TEN)) == [
            (first, ids[0]),
            (first, ids[1]),
            (None, ids[2]),
            (None, ids[3]),
            (second, ids[4]),
            (second, ids[5]),
        ]


async def test_19_the_limit_counts_attempts(stand: Stand) -> None:
    async with stand.open() as spool:
        ids = await store(spool, 5, 5, 5, 5, 5)
        assert [lease.delivery_id for lease in await take(spool, merging=TEN, limit=2)] == ids[:4]
        assert members(await take(spool, merging=TEN, limit=2)) == [(None, ids[4])]


async def test_19_bytes_are_bounded_too(stand: Stand) -> None:
    async with stand.open() as spool:
        for number in range(3):
            await spool.append(note(b"%d" % number * 40, object_="page"))
        groups = [lease.group for lease in await take(spool, merging=Merging(max_changes=10, max_bytes=80))]
        assert groups[0] == groups[1] is not None
        assert groups[2] is None


async def test_19_a_group_is_of_one_lane_and_stays_whole(stand: Stand) -> None:
    async with stand.open() as spool:
        for lane in (2, 0, 2, 0):
            await spool.append(note(object_="page", lane=Lane(lane)))
        leases = await take(spool, merging=TEN)
        assert leases[0].group == leases[1].group != leases[2].group == leases[3].group
        await spool.settle_together(again_at(NOW_MS + 9, leases))
    async with stand.open() as spool:
        again = await take(spool, now_ms=NOW_MS + 9, merging=TEN)
        assert members(again) == members(leases)


@pytest.mark.parametrize("object_", ["page", None])
async def test_19_without_merging_and_without_an_object_each_goes_alone(
    stand: Stand, object_: str | None
) -> None:
    async with stand.open() as spool:
        ids = await store(spool, 1, 1, object_=object_)
        merging = None if object_ else TEN
        assert members(await take(spool, merging=merging)) == [(None, ids[0]), (None, ids[1])]


async def test_19_what_was_attempted_alone_stays_alone(stand: Stand) -> None:
    async with stand.open() as spool:
        ids = await store(spool, 1)
        await spool.settle(await take_one(spool), RetryLater(at_ms=NOW_MS, record=record(1)))
        ids += await store(spool, 1, 1)
        leases = await take(spool, merging=TEN)
    assert sorted(members(leases), key=str) == sorted(
        [(None, ids[0]), *((group_key(ids[1], 2), one) for one in ids[1:])], key=str
    )


async def test_20_a_group_outlives_a_restart_and_takes_nobody_in(stand: Stand) -> None:
    async with stand.open() as spool:
        ids = await store(spool, 1, 1, 1)
        before = members(await take(spool, merging=TEN))
        assert {key for key, _ in before} == {group_key(ids[0], 3)}
    async with stand.open() as spool:
        # even where merging has been switched off meanwhile, and only one row could be looked at
        again = await take(spool, now_ms=in_an_hour(1), limit=1)
        assert members(again) == before
        assert [(lease.attempt, [one.error for one in lease.earlier]) for lease in again] == [
            (2, [INTERRUPTED])
        ] * 3
        later = await store(spool, 1)
        assert members(await take(spool, merging=TEN)) == [(None, later[0])]


async def test_20_a_group_that_failed_goes_again_as_it_was(stand: Stand) -> None:
    async with stand.open() as spool:
        await store(spool, 1, 1, 1)
        leases = await take(spool, merging=TEN)
        assert await spool.settle_together(again_at(NOW_MS + 9, leases))
        later = note(at_ms=NOW_MS + 5, object_="page")
        await spool.append(later)
        again = await take(spool, now_ms=NOW_MS + 9, merging=TEN)
        assert members(again) == [*members(leases), (None, later.deliveries[0].id)]
        assert [lease.earlier for lease in again[:3]] == [(record(1),)] * 3


async def test_20_members_go_where_the_settlement_sends_them(stand: Stand) -> None:
    async with stand.open() as spool:
        ids = await store(spool, 1, 1, 1, 1, 1)
        leases = await take(spool, merging=TEN)
        keys = ["one", "one", "two", "two", None]
        await spool.settle_together(
            [
                (lease, RetryLater(at_ms=NOW_MS + 1, record=record(1), group=key))
                for lease, key in zip(leases, keys, strict=True)
            ]
        )
    async with stand.open() as spool:
        again = await take(spool, now_ms=NOW_MS + 1, merging=TEN)
        assert members(again) == list(zip(keys, ids, strict=True))


async def test_20_a_group_larger_than_the_slice_of_overdue_retries_is_still_whole(stand: Stand) -> None:
    async with stand.open() as spool:
        await store(spool, *[1] * 1200)
        leases = await take(spool, merging=Merging(max_changes=3000), limit=1)
        assert len({lease.group for lease in leases}) == 1
        assert len(leases) == 1200
        await spool.settle_together(again_at(NOW_MS + 1, leases))
    async with stand.open() as spool:
        assert members(await take(spool, now_ms=NOW_MS + 1, limit=1)) == members(leases)


async def test_20_a_held_group_is_not_due(stand: Stand) -> None:
    async with stand.open() as spool:
        await store(spool, 1, 1)
        leases = await take(spool, merging=TEN)
        assert await take(spool, now_ms=NOW_MS + 2 * HOUR_MS) == []
        assert await spool.next_due_ms("support") is None
        await spool.settle_together([(lease, Done()) for lease in leases])
        assert spool.pending() == {}


async def test_20_a_released_group_is_due_at_once(stand: Stand) -> None:
    async with stand.open() as spool:
        await store(spool, 1, 1)
        await spool.settle_together([(lease, Release()) for lease in await take(spool, merging=TEN)])
        await store(spool, 1)  # the group was never sent: it may go with others, too
        leases = await take(spool, merging=TEN)
        assert [(lease.attempt, lease.group) for lease in leases] == [(1, leases[0].group)] * 3
        await spool.settle_together(again_at(NOW_MS + 9, leases))
        await spool.settle_together([(lease, Release()) for lease in await take(spool, now_ms=NOW_MS + 9)])
    async with stand.open() as spool:
        again = await take(spool)
        assert members(again) == members(leases)
        assert [lease.attempt for lease in again] == [2, 2, 2]


async def test_21_several_leases_end_as_one(stand: Stand) -> None:
    async with stand.open() as spool:
        ids = await store(spool, 1, 1, 1)
        one, two, three = await take(spool, merging=TEN)
        assert await spool.settle_together(
            [(one, Done()), (two, Buried()), (three, RetryLater(at_ms=NOW_MS, record=record(1)))]
        )
        assert not await spool.settle_together([(one, Done()), (two, Done())])
        assert spool.pending() == {"support": 1}
    async with stand.open() as spool:
        assert members(await take(spool)) == [(None, ids[2])]


async def test_21_one_that_has_ended_keeps_no_other_from_ending(stand: Stand) -> None:
    async with stand.open() as spool:
        await store(spool, 1, 1)
        one, two = await take(spool, merging=TEN)
        assert await spool.settle(one, Done())
        assert not await spool.settle_together([(one, Done()), (two, Done())])
        assert spool.pending() == {}


async def test_21_a_group_that_would_come_apart_is_a_mistake(stand: Stand) -> None:
    async with stand.open() as spool:
        await store(spool, 1, 1)
        leases = await take(spool, merging=TEN)
        apart: list[tuple[Lease, Settlement]] = [
            (lease, RetryLater(at_ms=NOW_MS + place, record=record(1), group="one"))
            for place, lease in enumerate(leases)
        ]
        with pytest.raises(ValueError, match="one time"):
            await spool.settle_together(apart)
        assert await spool.settle_together([(lease, Done()) for lease in leases])


# -- 22: the oldest, without an attempt


async def take_oldest(spool: Spool, *, by_ms: int = NOW_MS, limit: int = 100) -> list[Lease]:
    return list(
        await spool.lease_oldest("support", now_ms=NOW_MS + 1, clock_started_by_ms=by_ms, limit=limit)
    )


async def test_22_the_oldest_are_leased_due_or_not(stand: Stand) -> None:
    async with stand.open() as spool:
        for at_ms in (NOW_MS + 1, NOW_MS - 5, NOW_MS):
            await spool.append(note(b"%d" % (at_ms - NOW_MS), at_ms=at_ms))
        first = (await take(spool, limit=1))[0]
        assert first.raw == b"-5"
        assert bodies(await take_oldest(spool)) == [b"0"]
    async with stand.open() as spool:
        leases = await take_oldest(spool, limit=2)
        assert bodies(leases) == [b"-5", b"0"]
        assert [(lease.attempt, lease.attempting) for lease in leases] == [(1, False), (0, False)]
        assert [record.error for record in leases[0].earlier] == [INTERRUPTED]
        assert await take_oldest(spool) == []
        assert bodies(await take_oldest(spool, by_ms=NOW_MS + 1)) == [b"1"]
        assert await spool.settle_together([(lease, Buried()) for lease in leases])
        assert spool.pending() == {"support": 1}


async def test_22_a_release_changes_nothing(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        failed = await take_one(spool)
        await spool.settle(failed, RetryLater(at_ms=NOW_MS + 50, record=record(1)))
        [lease] = await take_oldest(spool)
        assert (lease.attempt, lease.earlier) == (1, (record(1),))
        assert await spool.settle(lease, Release())
        assert await spool.next_due_ms("support") == NOW_MS + 50
        again = await take_one(spool, now_ms=NOW_MS + 50)
        assert (again.attempt, again.earlier) == (2, (record(1),))


async def test_22_an_interrupted_attempt_is_on_record_once(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        await take_one(spool)
    async with stand.open() as spool:
        [lease] = await take_oldest(spool)
        await spool.settle(lease, Release())
        again = await take_one(spool, now_ms=NOW_MS + 2 * HOUR_MS)
        assert [one.error for one in again.earlier] == [INTERRUPTED]


async def test_22_the_clock_of_a_replay_counts_from_the_replay(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.restore(note(b"replayed", at_ms=NOW_MS - 9), clock_started_ms=NOW_MS + 5)
        await spool.append(note(b"new"))
        assert await spool.oldest_clock_ms() == {"support": NOW_MS}
        assert bodies(await take_oldest(spool, by_ms=NOW_MS + 4)) == [b"new"]
        assert bodies(await take_oldest(spool, by_ms=NOW_MS + 5)) == [b"replayed"]
        await spool.restore(note(targets=("audit",), at_ms=NOW_MS - 9), clock_started_ms=NOW_MS + 5)
        assert await spool.oldest_clock_ms() == {"support": NOW_MS, "audit": NOW_MS + 5}


async def test_22_a_group_comes_whole_and_who_leaves_it_goes_alone(stand: Stand) -> None:
    async with stand.open() as spool:
        await store(spool, 1, 1, 1)
        group = await take(spool, merging=TEN)
        await spool.settle_together(again_at(NOW_MS + 9, group))
        leases = await take_oldest(spool, limit=1)
        assert members(leases) == members(group)
        await spool.settle_together([(lease, Release()) for lease in leases])
        assert members(await take(spool, now_ms=NOW_MS + 9)) == members(group)
    async with stand.open() as spool:
        leases = await take_oldest(spool, limit=1)
        assert members(leases) == members(group)
        await spool.settle_together(
            [(leases[0], Buried()), *((lease, Release(alone=True)) for lease in leases[1:])]
        )
        alone = await take(spool, merging=TEN)
        assert members(alone) == [(None, name) for _, name in members(group)[1:]]


async def test_22_a_retry_without_an_attempt_is_a_mistake(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note())
        [lease] = await take_oldest(spool)
        with pytest.raises(ValueError, match="without an attempt"):
            await spool.settle(lease, RetryLater(at_ms=NOW_MS, record=record(0)))


# -- 23: pauses


LUNCH = (
    Pause(from_ms=NOW_MS - 900, until_ms=NOW_MS - 800, reason="lunch"),
    Pause(from_ms=NOW_MS - 800, until_ms=NOW_MS, rate_per_second=2.5),
    Pause(from_ms=NOW_MS, until_ms=None, reason="Zürich déploie"),
)


async def test_23_pauses_come_back_after_a_restart(stand: Stand) -> None:
    async with stand.open() as spool:
        assert await spool.pauses() == {}
        await spool.set_pauses("support", LUNCH)
        await spool.set_pauses("audit", LUNCH[:1])
        assert await spool.pauses() == {"audit": LUNCH[:1], "support": LUNCH}
    async with stand.open() as spool:
        await spool.set_pauses("audit", ())
        await spool.set_pauses("support", LUNCH[1:])
        assert await spool.pauses() == {"support": LUNCH[1:]}
        assert spool.pending() == {}


async def test_23_pauses_that_are_others_than_thought_stay(stand: Stand) -> None:
    async with stand.open() as spool:
        assert await spool.set_pauses("support", LUNCH[:1], former=())
        assert not await spool.set_pauses("support", LUNCH, former=())
        assert not await spool.set_pauses("audit", LUNCH, former=LUNCH[:1])
        assert await spool.pauses() == {"support": LUNCH[:1]}
        assert await spool.set_pauses("support", LUNCH, former=LUNCH[:1])
        assert await spool.set_pauses("support", (), former=LUNCH)
        assert await spool.pauses() == {}


async def test_23_without_room_the_old_ones_stay(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.set_pauses("support", LUNCH[:1])
        stand.fill()
        with pytest.raises(SpoolUnavailableError):
            await spool.set_pauses("support", LUNCH)
        stand.empty()
        assert await spool.pauses() == {"support": LUNCH[:1]}


@pytest.mark.parametrize(
    ("target", "pauses"),
    [
        ("", LUNCH),
        ("support", LUNCH[::-1]),
        ("support", (Pause(from_ms=5, until_ms=4),)),
        ("support", (Pause(from_ms=5, until_ms=None), Pause(from_ms=6, until_ms=7))),
        ("support", (Pause(from_ms=5, until_ms=None, reason="\x1b[2J"),)),
    ],
)
async def test_23_what_cannot_be_kept_is_a_mistake(stand: Stand, target: str, pauses: Pauses) -> None:
    async with stand.open() as spool:
        with pytest.raises(ValueError, match=r"pauses|a name"):
            await spool.set_pauses(target, pauses)
        assert await spool.pauses() == {}


# -- 24: order


async def store_ordered(spool: Spool, *keys: tuple[int, ...], target: str = "support") -> None:
    for number, some in enumerate(keys):
        # accepted by a clock that goes back: order is that of storing
        await spool.append(note(b"%d" % number, targets=(target,), at_ms=NOW_MS - number, order_keys=some))


def in_order(leases: Iterable[Lease]) -> list[int]:
    return sorted(int(lease.raw) for lease in leases)


async def test_24_who_shares_a_key_waits_for_the_earlier_and_nobody_else_does(stand: Stand) -> None:
    async with stand.open() as spool:
        await store_ordered(spool, (1,), (2,), (1,), (), (3,), (2, 3), (1, 2))
        first = await take(spool)
        assert in_order(first) == [0, 1, 3, 4]
        assert await take(spool, now_ms=1 << 52) == []
        assert await spool.next_due_ms("support") is None
        by_number = {int(lease.raw): lease for lease in first}
        await spool.settle(by_number[1], Done())
        assert await take(spool, now_ms=1 << 52) == [], "5 waits for 4, 6 for 2"
        await spool.settle_together([(by_number[0], Done()), (by_number[4], Buried())])
        assert await spool.next_due_ms("support") == 0
    async with stand.open() as spool:
        again = await take(spool)
        assert in_order(again) == [2, 5], "3 was under way as the spool was closed: due in an hour"
        await spool.settle_together([(lease, Done()) for lease in again])
        assert in_order(await take(spool)) == [6]


async def test_24_who_is_held_as_its_turn_comes_is_leased_to_nobody_else(stand: Stand) -> None:
    async with stand.open() as spool:
        await store_ordered(spool, (1,), (1,))
        first = await take_one(spool)
        [held] = await take_oldest(spool)  # it waits for the first, and is about to be given up
        await spool.settle(first, Done())
        assert await take(spool) == []
        assert await spool.settle(held, Buried())
        assert spool.pending() == {}


async def test_24_a_retry_and_a_release_keep_their_turn(stand: Stand) -> None:
    async with stand.open() as spool:
        await store_ordered(spool, (1,), (1,))
        lease = await take_one(spool)
        await spool.settle(lease, RetryLater(at_ms=NOW_MS + 9, record=record(1)))
        assert await take(spool) == []
        assert await spool.next_due_ms("support") == NOW_MS + 9
        again = await take_one(spool, now_ms=NOW_MS + 9)
        assert again.attempt == 2
        await spool.settle(again, Release())
        assert in_order(await take(spool)) == [0]


async def test_24_targets_do_not_wait_for_each_other(stand: Stand) -> None:
    async with stand.open() as spool:
        for number in range(2):
            await spool.append(note(b"%d" % number, targets=("support", "audit"), order_keys=(7,)))
        await spool.settle(await take_one(spool, "audit"), Done())
        assert (await take_one(spool, "audit")).raw == b"1"
        assert (await take_one(spool)).raw == b"0"


async def test_24_those_who_ask_are_told_who_may_follow(stand: Stand) -> None:
    told: list[frozenset[str]] = []
    async with stand.open() as spool:
        await store_ordered(spool, (1,), (1,))
        lease = await take_one(spool)
        spool.on_ready(told.append)
        await spool.settle(lease, Done())
        assert told == [frozenset({"support"})]


async def test_24_what_is_restored_goes_to_the_end(stand: Stand) -> None:
    async with stand.open() as spool:
        await store_ordered(spool, (1,), (1,))
        await spool.restore(note(b"9", at_ms=NOW_MS - 99, order_keys=(1,)), clock_started_ms=NOW_MS)
        seen = []
        for _ in range(3):
            lease = await take_one(spool)
            seen.append(int(lease.raw))
            await spool.settle(lease, Done())
        assert seen == [0, 1, 9]


async def test_24_merged_ones_hold_up_those_who_come_after_any_of_them(stand: Stand) -> None:
    async with stand.open() as spool:
        for number, key in enumerate((1, 2, 1, 3)):
            await spool.append(note(b"%d" % number, object_="page", order_keys=(key,)))
        group = await take(spool, merging=TEN)
        assert in_order(group) == [0, 1, 3]
        await spool.settle_together(again_at(NOW_MS + 9, group))
        assert await take(spool, merging=TEN) == []
        again = await take(spool, now_ms=NOW_MS + 9, merging=TEN)
        assert members(again) == members(group)
        await spool.settle_together([(lease, Done()) for lease in again])
        assert in_order(await take(spool)) == [2]


async def test_24_the_oldest_may_be_given_up_though_they_wait(stand: Stand) -> None:
    async with stand.open() as spool:
        await store_ordered(spool, (1,), (1,), (1,))
        head = await take_one(spool)
        waiting = await take_oldest(spool)
        assert in_order(waiting) == [1, 2]
        await spool.settle_together([(waiting[0], Release()), (waiting[1], Buried())])
        assert await take(spool, now_ms=1 << 52) == []
        await spool.settle(head, Done())
        assert in_order(await take(spool)) in ([1], [2])


# -- 25: bytes that have changed


async def test_25_bytes_that_have_changed_are_leased_as_damaged_and_hold_up_nobody(stand: Stand) -> None:
    notes = [
        note(b"%d is a body of some length" % number, targets=("support", "audit")) for number in range(3)
    ]
    async with stand.open() as spool:
        for one in notes:
            await spool.append(one)
    changed = stand.damage(notes[1])
    async with stand.open() as spool:
        for target in ("support", "audit"):
            leases = await take(spool, target)
            assert [lease.damaged for lease in leases] == [False, True, False]
            assert bodies(leases) == [notes[0].body.raw, changed, notes[2].body.raw]
            await spool.settle_together([(lease, Buried()) for lease in leases])
        assert spool.pending() == {}
        assert await spool.append(note(b"goes on")) is Appended.STORED


async def test_25_what_is_damaged_stays_so_after_a_release_and_without_an_attempt(stand: Stand) -> None:
    kept = note(b"a body of some length")
    async with stand.open() as spool:
        await spool.append(kept)
    changed = stand.damage(kept)
    async with stand.open() as spool:
        await spool.settle(await take_one(spool), Release())
        [lease] = await take_oldest(spool)
        assert (lease.damaged, lease.raw) == (True, changed)


async def test_25_a_group_comes_whole_with_its_damaged_member(stand: Stand) -> None:
    notes = [note(b"%d is a body of some length" % number, object_="page") for number in range(3)]
    async with stand.open() as spool:
        for one in notes:
            await spool.append(one)
        before = await take(spool, merging=TEN)
        assert len({lease.group for lease in before}) == 1
        await spool.settle_together(again_at(NOW_MS + 9, before))
    stand.damage(notes[1])
    async with stand.open() as spool:
        after = await take(spool, now_ms=NOW_MS + 9, merging=TEN)
        assert members(after) == members(before)
        assert [lease.damaged for lease in after] == [False, True, False]


# -- 26 to 28: what was delivered is kept


async def kept_of(spool: Spool, *, limit: int = 100) -> list[Kept]:
    return list(await spool.kept(since_ms=0, until_ms=NOW_MS * 2, limit=limit))


async def deliver_all(spool: Spool, *targets: str) -> None:
    for target in targets:
        for lease in await take(spool, target, now_ms=NOW_MS * 2, limit=1000):
            assert await spool.settle(lease, Done())


async def test_26_what_was_delivered_is_kept_with_its_bytes_over_restarts(stand: Stand) -> None:
    wanted = note(b"\x00one", targets=("support", "audit"), selection=(0, 3), changes=2, lane=Lane.HIGH)
    async with stand.open(keep_seconds=60) as spool:
        await spool.append(wanted)
        assert await kept_of(spool) == []
        await deliver_all(spool, "support", "audit")
        assert spool.pending() == {}
        assert await spool.oldest_kept_ms() == NOW_MS
    async with stand.open(keep_seconds=60, at_ms=NOW_MS + 59_000) as spool:
        (kept,) = await kept_of(spool)
        assert (kept.notification_id, kept.app, kept.raw) == (wanted.id, "main", b"\x00one")
        assert kept.received_at_ms == NOW_MS
        assert sorted(kept.taken, key=lambda new: new.target) == sorted(
            wanted.deliveries, key=lambda new: new.target
        )
        ids = [new.id for new in wanted.deliveries]
        assert await spool.kept_states([*ids, "nobody"]) == KeptStates(kept=frozenset(ids))


async def test_26_it_goes_after_its_time_and_nothing_that_waits_goes_with_it(stand: Stand) -> None:
    async with stand.open(keep_seconds=60) as spool:
        await spool.append(note(b"one", targets=("support", "audit")))
        await deliver_all(spool, "support")
    for keep_seconds, later_ms in ((60.0, 60_000), (0.0, 0)):
        async with stand.open(keep_seconds=keep_seconds, at_ms=NOW_MS + later_ms) as spool:
            with trio.fail_after(5):
                while await kept_of(spool):  # noqa: ASYNC110 - upkeep has no event
                    await trio.sleep(0.4)
            assert await spool.oldest_kept_ms() is None
    async with stand.open() as spool:
        assert (await take_one(spool, "audit")).raw == b"one"


@pytest.mark.parametrize("settlement", [Buried(), Release()])
async def test_26_nothing_else_is_kept_and_nothing_without_the_setting(
    stand: Stand, settlement: Settlement
) -> None:
    async with stand.open(keep_seconds=60) as spool:
        await spool.append(note(b"dead"))
        await spool.settle(await take_one(spool), settlement)
        assert await kept_of(spool) == []
    async with stand.open() as spool:
        await spool.append(note(b"taken"))
        await deliver_all(spool, "support")
        assert await kept_of(spool) == []
        assert spool.pending() == {}


async def test_27_pages_give_each_notification_once_in_order_of_acceptance(stand: Stand) -> None:
    async with stand.open(keep_seconds=60) as spool:
        for number in (5, 1, 4, 2, 3, 3):
            await spool.append(note(targets=("support", "audit"), at_ms=NOW_MS + number))
        await deliver_all(spool, "support", "audit")
        after, seen = None, []
        while page := await spool.kept(since_ms=NOW_MS + 2, until_ms=NOW_MS + 4, after=after, limit=2):
            assert len(page) <= 2
            seen += [kept.received_at_ms - NOW_MS for kept in page]
            after = page[-1].place
        assert seen == [2, 3, 3, 4]


async def test_28_what_is_kept_waits_again_under_its_id_with_a_fresh_clock(stand: Stand) -> None:
    async with stand.open(keep_seconds=60) as spool:
        await spool.append(note(b"one", selection=(1,)))
        await deliver_all(spool, "support")
        (kept,) = await kept_of(spool)
        (mine,) = kept.taken
        assert await spool.send_again([(kept, mine)], clock_started_ms=NOW_MS + 9) == {mine.id}
        assert await kept_of(spool) == []
        assert await spool.kept_states([mine.id]) == KeptStates(waiting=frozenset({mine.id}))
        assert await spool.send_again([(kept, mine)], clock_started_ms=NOW_MS + 9) == frozenset()
        assert (spool.pending(), spool.pending_bytes()) == ({"support": 1}, {"support": 3})
    async with stand.open(keep_seconds=60) as spool:
        lease = await take_one(spool)
        assert (lease.delivery_id, lease.raw, lease.selection) == (mine.id, b"one", (1,))
        assert (lease.attempt, lease.earlier, lease.clock_started_ms) == (1, (), NOW_MS + 9)
        await spool.settle(lease, Done())
        assert [one.taken for one in await kept_of(spool)] == [(mine,)]


async def test_28_another_target_gets_it_and_the_others_lose_nothing(stand: Stand) -> None:
    async with stand.open(keep_seconds=60) as spool:
        await spool.append(note(b"one", targets=("support", "audit", "late")))
        await deliver_all(spool, "support", "audit")
        (kept,) = await kept_of(spool)
        new = [NewDelivery(id=f"new-{name}", target=name, selection=None) for name in ("crm", "erp")]
        wanted = [(kept, one) for one in (*new, new[0])]
        assert await spool.send_again(wanted, clock_started_ms=NOW_MS) == {"new-crm", "new-erp"}
        assert spool.pending() == {"late": 1, "crm": 1, "erp": 1}
        for target in ("late", "crm", "erp"):
            lease = await take_one(spool, target)
            await spool.settle(lease, RetryLater(at_ms=NOW_MS, record=record(1)))
            again = await take_one(spool, target)
            assert (again.raw, again.earlier) == (b"one", (record(1),))
            await spool.settle(again, Done())
        assert [len(one.taken) for one in await kept_of(spool)] == [5]


async def test_28_what_is_gone_is_left_out(stand: Stand) -> None:
    async with stand.open(keep_seconds=60) as spool:
        await spool.append(note(b"one"))
        await deliver_all(spool, "support")
        (kept,) = await kept_of(spool)
    async with stand.open() as spool:
        with trio.fail_after(5):
            while await kept_of(spool):  # noqa: ASYNC110 - upkeep has no event
                await trio.sleep(0.4)
        await spool.append(note(b"another"))
        assert await spool.send_again([(kept, kept.taken[0])], clock_started_ms=NOW_MS) == frozenset()
        assert spool.pending() == {"support": 1}


async def test_28_without_room_nothing_is_added(stand: Stand) -> None:
    async with stand.open(keep_seconds=60) as spool:
        await spool.append(note(b"one"))
        await deliver_all(spool, "support")
        (kept,) = await kept_of(spool)
        stand.fill()
        with pytest.raises(SpoolUnavailableError):
            await spool.send_again([(kept, kept.taken[0])], clock_started_ms=NOW_MS)
        stand.empty()
        assert spool.pending() == {}
        assert len(await kept_of(spool)) == 1


async def test_28_with_order_it_stands_where_it_stood(stand: Stand) -> None:
    async with stand.open(keep_seconds=60) as spool:
        await store_ordered(spool, (1,), (2,), (1, 2))
        for _ in range(2):
            await deliver_all(spool, "support")
        kept = sorted(await kept_of(spool), key=lambda one: one.raw or b"")
        assert [one.raw for one in kept] == [b"0", b"1", b"2"]
        await spool.append(note(b"3", at_ms=NOW_MS + 9, order_keys=(2,)))
        await spool.append(note(b"4", at_ms=NOW_MS + 9, order_keys=(1,)))
        await spool.append(note(b"5", at_ms=NOW_MS + 9, order_keys=(3,)))
        again = [
            (one, NewDelivery(id=f"again-{number}", target="support", selection=None, order_keys=keys))
            for number, (one, keys) in enumerate(zip(kept[1:], [(2,), (1, 2)], strict=True))
        ]
        assert len(await spool.send_again(again, clock_started_ms=NOW_MS)) == 2
        for expected in ([1, 5], [2], [3, 4]):
            leases = await take(spool)
            assert in_order(leases) == expected
            assert await take(spool, now_ms=1 << 52) == []
            await spool.settle_together([(lease, Done()) for lease in leases])


# -- 29: what would be due later is made due


async def wait_an_hour(spool: Spool, *raws: bytes, target: str = "support") -> None:
    """Store these, and have each fail once; the first is due again first."""
    for number, raw in enumerate(raws):
        await spool.append(note(raw, targets=(target,), at_ms=NOW_MS + number))
    for number, lease in enumerate(await take(spool, target)):
        later = RetryLater(at_ms=NOW_MS + HOUR_MS + number, record=record(1))
        await spool.settle(lease, later)


async def test_29_what_waits_for_its_next_attempt_is_made_due_the_latest_first(stand: Stand) -> None:
    async with stand.open() as spool:
        await wait_an_hour(spool, b"one", b"two", b"three")
        await wait_an_hour(spool, b"other", target="audit")
        told: list[frozenset[str]] = []
        spool.on_ready(told.append)
        assert await take(spool) == []
        assert await spool.hasten("support", now_ms=NOW_MS + 9, limit=2) == 2
        assert told == [{"support"}]
        assert await spool.next_due_ms("support") == NOW_MS + 9
    async with stand.open() as spool:
        due = await take(spool, now_ms=NOW_MS + 9)
        assert bodies(due) == [b"two", b"three"]
        assert [(lease.attempt, lease.earlier) for lease in due] == [(2, (record(1),))] * 2
        assert await spool.hasten("support", now_ms=NOW_MS + 9, limit=2) == 1
        assert await spool.hasten("support", now_ms=NOW_MS + 9, limit=2) == 0
        assert bodies(await take(spool, now_ms=NOW_MS + 9)) == [b"one"]
        assert await take(spool, "audit", now_ms=NOW_MS + 9) == []


async def test_29_what_somebody_holds_is_left_alone(stand: Stand) -> None:
    async with stand.open() as spool:
        await spool.append(note(b"held"))
        lease = await take_one(spool)
        assert await spool.hasten("support", now_ms=NOW_MS, limit=9) == 0
        assert await take(spool) == []
        await spool.settle(lease, RetryLater(at_ms=NOW_MS + HOUR_MS, record=record(1)))
        assert await take(spool) == []


async def test_29_a_group_stays_whole_though_it_is_more_than_was_asked_for(stand: Stand) -> None:
    async with stand.open() as spool:
        for number in range(3):
            await spool.append(note(b"%d" % number, object_="o"))
        group = await take(spool, merging=Merging(max_changes=10))
        key = group[0].group
        assert key is not None
        again = RetryLater(at_ms=NOW_MS + HOUR_MS, record=record(1), group=key)
        await spool.settle_together([(lease, again) for lease in group])
        assert await spool.hasten("support", now_ms=NOW_MS, limit=1) == 3
        assert [lease.group for lease in await take(spool, limit=1)] == [key] * 3


async def test_29_what_waits_for_another_goes_on_waiting(stand: Stand) -> None:
    async with stand.open() as spool:
        await store_ordered(spool, (1,), (1,))
        first = await take_one(spool)
        await spool.settle(first, RetryLater(at_ms=NOW_MS + HOUR_MS, record=record(1)))
        assert await spool.hasten("support", now_ms=NOW_MS, limit=9) == 1
        assert in_order([await take_one(spool)]) == [0]


# -- 30: following one, and looking for one


async def test_30_what_waits_is_traced_with_its_attempts(stand: Stand) -> None:
    wanted = note(b"one", targets=("support", "audit"))
    async with stand.open() as spool:
        await spool.append(note(b"another"))
        await spool.append(wanted)
        [_, lease] = await take(spool)
        await spool.settle(lease, RetryLater(at_ms=NOW_MS + 9000, record=record(1)))
    async with stand.open() as spool:
        found = await spool.trace(wanted.id)
        assert found is not None
        assert (found.id, found.app, found.received_at_ms, found.size_bytes) == (wanted.id, "main", NOW_MS, 3)
        support, audit = found.deliveries
        assert (support.id, support.target, support.attempt) == (wanted.deliveries[0].id, "support", 1)
        assert (support.due_ms, support.under_way_ms, support.attempts) == (NOW_MS + 9000, None, (record(1),))
        assert (audit.target, audit.attempt, audit.due_ms, audit.attempts) == ("audit", 0, 0, ())
        assert await take(spool, "audit")
        found = await spool.trace(wanted.id)
        assert found is not None
        assert [one.under_way_ms for one in found.deliveries] == [None, NOW_MS]


async def test_30_of_what_is_delivered_only_what_is_kept_is_traced(stand: Stand) -> None:
    wanted = note(targets=("support", "audit"))
    async with stand.open() as spool:
        await spool.append(wanted)
        for target in ("support", "audit"):
            await spool.settle(await take_one(spool, target), Done())
        assert await spool.trace(wanted.id) is None
        assert await spool.trace("f" * 32) is None


async def test_30_what_is_kept_says_when_it_was_delivered(stand: Stand) -> None:
    wanted = note(targets=("support", "audit"))
    async with stand.open(keep_seconds=3600) as spool:
        await spool.append(wanted)
        await spool.settle(await take_one(spool), Done())
        found = await spool.trace(wanted.id)
        assert found is not None
        [kept] = [one for one in found.deliveries if one.delivered_ms is not None]
        assert (kept.target, kept.due_ms, kept.attempts) == ("support", None, ())
        assert len(found.deliveries) == 2


async def test_30_what_waits_for_another_says_so(stand: Stand) -> None:
    second = note(order_keys=(7,))
    async with stand.open() as spool:
        await spool.append(note(order_keys=(7,)))
        await spool.append(second)
        found = await spool.trace(second.id)
        assert found is not None
        assert [(one.waits_for_another, one.due_ms) for one in found.deliveries] == [(True, None)]


async def mentioning(spool: Spool, *needles: bytes) -> tuple[list[str], int]:
    """Look through all bodies, slice by slice."""
    found: list[str] = []
    bodies, before = 0, None
    while True:
        page = await spool.mentions(needles, before=before)
        found += page.notifications
        bodies += page.bodies
        if (before := page.before) is None:
            return found, bodies


async def test_30_bodies_are_looked_through_the_latest_first(stand: Stand) -> None:
    stored = [
        note(raw) for raw in (b"a wamid.A b", b"a wamid.B b", b"x wamid.A \x00\xff", b"wamid.A/=", b"none")
    ]
    async with stand.open() as spool:
        for one in stored:
            await spool.append(one)
        assert await mentioning(spool, b"wamid.A") == ([stored[3].id, stored[2].id, stored[0].id], 5)
        assert await mentioning(spool, b"wamid.B", b"A/=") == ([stored[3].id, stored[1].id], 5)
        assert await mentioning(spool, b"wamid.C") == ([], 5)


async def test_30_in_an_empty_spool_nothing_is_looked_at(stand: Stand) -> None:
    async with stand.open() as spool:
        assert await mentioning(spool, b"wamid.A") == ([], 0)
