"""Several gateways on one database (promise 31): who gets what, what is counted, what a late one may do.

What one gateway alone is promised is held by tests/contracts.
"""

from collections import Counter
from collections.abc import Mapping

import pytest
import trio

from gateway.core.pausing import Pause, Pauses
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Appended, Done, Lease, Release, RetryLater, Spool
from gateway.spool.postgresql.spool import PostgresqlSpool, ServerRoom
from tests.postgresql.rig import Database, opened
from tests.spool.rig import HOUR_MS, NOW_MS, in_an_hour, note, record

HOLD_MS = 5000


async def take(
    spool: Spool, target: str = "support", *, now_ms: int = NOW_MS, limit: int = 100
) -> list[Lease]:
    return list(
        await spool.lease(target, now_ms=now_ms, limit=limit, next_due_ms=in_an_hour, hold_ms=HOLD_MS)
    )


async def until_pending(spool: PostgresqlSpool, wanted: dict[str, int]) -> None:
    with trio.fail_after(5):
        while spool.pending() != wanted:  # noqa: ASYNC110 - another gateway gives no event
            await trio.sleep(0.05)


async def until_bytes(spool: PostgresqlSpool, wanted: dict[str, int]) -> None:
    with trio.fail_after(5):
        while spool.pending_bytes() != wanted:  # noqa: ASYNC110 - as above
            await trio.sleep(0.05)


async def test_31_the_same_bytes_at_two_gateways_are_stored_once(database: Database) -> None:
    answers: Counter[tuple[bytes, Appended]] = Counter()

    async def append(spool: Spool, raw: bytes) -> None:
        answers[raw, await spool.append(note(raw))] += 1

    async with opened(database) as one, opened(database) as other, trio.open_nursery() as nursery:
        for number in range(300):
            for spool in (one, other) if number % 2 else (other, one):
                nursery.start_soon(append, spool, b"%d" % number)
    assert answers == {
        (b"%d" % number, answer): 1
        for number in range(300)
        for answer in (Appended.STORED, Appended.DUPLICATE)
    }


async def test_31_a_gateway_whose_clock_is_wrong_finds_duplicates_all_the_same(database: Database) -> None:
    wrong = NOW_MS + 3 * 24 * HOUR_MS
    week = 7 * 86400.0
    async with (
        opened(database, window_seconds=week) as one,
        opened(database, window_seconds=week, clock=lambda: wrong) as other,
    ):
        assert await one.append(note(b"same")) is Appended.STORED
        assert await other.append(note(b"same", at_ms=wrong)) is Appended.DUPLICATE
        assert await other.append(note(b"new", at_ms=wrong)) is Appended.STORED
        assert await one.append(note(b"new")) is Appended.DUPLICATE


async def test_31_what_one_has_accepted_any_delivers_and_nobody_twice(database: Database) -> None:
    taken: list[str] = []

    async def deliver(spool: Spool) -> None:
        while leases := await take(spool, limit=7):
            for lease in leases:
                taken.append(lease.delivery_id)
                assert await spool.settle(lease, Done())

    async with opened(database) as one, opened(database) as other:
        notes = [note() for _ in range(200)]
        for number, wanted in enumerate(notes):
            await (one if number % 3 else other).append(wanted)
        async with trio.open_nursery() as nursery:
            for spool in (one, other, one, other):
                nursery.start_soon(deliver, spool)
        assert sorted(taken) == sorted(wanted.deliveries[0].id for wanted in notes)
        await until_pending(one, {})
        await until_pending(other, {})


async def test_31_each_counts_what_the_other_stores_and_delivers(database: Database) -> None:
    async with opened(database) as one:
        await one.append(note(b"12345", targets=("support", "audit")))
        async with opened(database) as other:
            assert other.pending() == {"support": 1, "audit": 1}
            await other.append(note(b"123"))
            [lease, _] = await take(other)
            await other.settle(lease, Done())
            assert other.pending() == {"support": 1, "audit": 1}
            assert other.pending_bytes() == {"support": 3, "audit": 5}
            await until_bytes(one, {"support": 3, "audit": 5})
        await until_pending(one, {"support": 1, "audit": 1})
        await until_bytes(one, {"support": 3, "audit": 5})
    assert database.sql("SELECT writer, target, deliveries, bytes FROM tally ORDER BY target") == [
        (0, "audit", 1, 5),
        (0, "support", 1, 3),
    ]


async def test_31_one_that_was_taken_for_gone_is_among_them_again(database: Database) -> None:
    """It was cut off for longer than the others wait."""
    async with opened(database) as one, opened(database) as other:
        await until_peers(one)
        database.sql("DELETE FROM writer WHERE id = ANY(ARRAY(SELECT id FROM writer ORDER BY id LIMIT 2))")
        with trio.fail_after(5):
            while database.sql("SELECT count(*) FROM writer") != [(4,)]:  # noqa: ASYNC110 - as below
                await trio.sleep(0.05)
        await one.append(note(b"afterwards"))
        await until_peers(other)
    assert database.sql("SELECT count(*) FROM writer") == [(0,)]
    assert database.sql("SELECT sum(deliveries)::int FROM tally WHERE writer <> 0") == [(None,)]


async def test_31_the_lease_of_one_that_is_gone_ends_by_the_clock_of_the_database(database: Database) -> None:
    database.set_clock(NOW_MS)
    async with opened(database) as dead, opened(database) as other:
        await dead.append(note())
        [lease] = await dead.lease(
            "support", now_ms=NOW_MS, limit=1, next_due_ms=lambda _: NOW_MS + 1, hold_ms=HOLD_MS
        )
        # nothing is heard of it any more; the next attempt is due, and yet nobody else begins it
        assert await take(other, now_ms=NOW_MS + 1000) == []
        assert await other.next_due_ms("support") is None
        database.set_clock(NOW_MS + HOLD_MS - 1)
        assert await take(other) == []
        database.set_clock(NOW_MS + HOLD_MS)
        [again] = await take(other)
        assert (again.delivery_id, again.attempt) == (lease.delivery_id, 2)
        assert [one.error[:11] for one in again.earlier] == ["interrupted"]


@pytest.mark.parametrize(
    "late", [Done(), Release(), RetryLater(at_ms=NOW_MS, record=record(1))], ids=["done", "release", "retry"]
)
async def test_31_who_wakes_up_late_changes_nothing(
    database: Database, late: Done | Release | RetryLater
) -> None:
    database.set_clock(NOW_MS)
    async with opened(database) as asleep, opened(database) as other:
        await asleep.append(note())
        [stale] = await asleep.lease(
            "support", now_ms=NOW_MS, limit=1, next_due_ms=lambda _: NOW_MS + 1, hold_ms=HOLD_MS
        )
        database.set_clock(NOW_MS + HOLD_MS)
        [lease] = await take(other)
        assert not await asleep.settle(stale, late)
        assert await take(asleep) == []
        assert await other.settle(lease, RetryLater(at_ms=NOW_MS + 50, record=record(2)))
        assert await other.next_due_ms("support") == NOW_MS + 50
        await until_pending(asleep, {"support": 1})


async def test_31_a_late_settlement_stands_while_nobody_else_has_taken_it(database: Database) -> None:
    database.set_clock(NOW_MS)
    async with opened(database) as spool:
        await spool.append(note())
        [lease] = await take(spool)
        database.set_clock(NOW_MS + HOLD_MS + 1)
        assert await spool.settle(lease, Done())
        assert spool.pending() == {}


async def test_31_times_are_given_and_got_by_ones_own_clock(database: Database) -> None:
    database.set_clock(NOW_MS + 10 * HOUR_MS)
    behind = NOW_MS - 10 * HOUR_MS
    async with opened(database) as one, opened(database, clock=lambda: behind) as other:
        await one.append(note())
        [lease] = await take(one)
        await one.settle(lease, RetryLater(at_ms=NOW_MS + 5000, record=record(1)))
        assert await one.next_due_ms("support") == NOW_MS + 5000
        assert await other.next_due_ms("support") == behind + 5000
        assert await take(other, now_ms=behind + 4999) == []
        assert len(await take(other, now_ms=behind + 5000)) == 1


async def test_31_order_holds_over_all_gateways(database: Database) -> None:
    seen: list[int] = []

    async def deliver(spool: Spool) -> None:
        while True:
            for lease in await take(spool, limit=3):
                seen.append(int(lease.raw))
                await trio.sleep(0.001)
                await spool.settle(lease, Done())
            if len(seen) == 60:
                return
            await trio.sleep(0.01)

    async with opened(database) as one, opened(database) as other, trio.open_nursery() as nursery:
        for spool in (one, other):
            nursery.start_soon(deliver, spool)
        for number in range(60):
            spool = one if number % 2 else other
            await spool.append(note(b"%d" % number, order_keys=(1, -7) if number % 3 else (-7,)))
    assert seen == list(range(60))


async def test_31_one_that_waits_is_told_what_another_has_stored(database: Database) -> None:
    told = trio.Event()
    async with opened(database) as one, opened(database) as other:
        await until_peers(one)
        other.on_ready(lambda targets: told.set() if "support" in targets else None)
        await one.append(note())
        with trio.fail_after(0.9):  # before the next look
            await told.wait()


async def test_31_a_pause_set_by_one_is_told_to_the_others(database: Database) -> None:
    lunch = (Pause(from_ms=NOW_MS, until_ms=None, reason="lunch"),)
    seen: list[Mapping[str, Pauses]] = []
    async with opened(database) as one, opened(database) as other:
        other.on_pauses(seen.append)
        await one.set_pauses("support", lunch)
        with trio.fail_after(5):
            while not seen or seen[-1] != {"support": lunch}:  # noqa: ASYNC110 - another gateway
                await trio.sleep(0.05)
        await one.set_pauses("support", ())
        with trio.fail_after(5):
            while seen[-1]:  # noqa: ASYNC110 - as above
                await trio.sleep(0.05)


async def test_31_of_two_who_pause_at_the_same_time_one_is_told_that_the_other_was_first(
    database: Database,
) -> None:
    done: list[bool] = []
    async with opened(database) as one, opened(database) as other:

        async def pause(spool: PostgresqlSpool, reason: str) -> None:
            mine = (Pause(from_ms=NOW_MS + len(reason), until_ms=None, reason=reason),)
            done.append(await spool.set_pauses("support", mine, former=()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pause, one, "lunch")
            nursery.start_soon(pause, other, "deploy")
        assert sorted(done) == [False, True]
        assert len((await one.pauses())["support"]) == 1


async def until_peers(spool: PostgresqlSpool) -> None:
    with trio.fail_after(5):
        while not spool._sight.peers:  # noqa: ASYNC110 - it learns of them by itself
            await trio.sleep(0.05)


def end_sessions(database: Database) -> None:
    database.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'meta-webhook-gateway' AND pid <> pg_backend_pid()"
    )


async def test_a_connection_that_died_while_it_was_idle_is_made_anew(database: Database) -> None:
    async with opened(database) as spool:
        await spool.append(note(b"before"))
        end_sessions(database)
        assert await spool.append(note(b"after")) is Appended.STORED
        assert spool.room().writable
        assert len(await take(spool)) == 2


@pytest.mark.parametrize("turns", [(), (1,)], ids=["in one round trip", "in several"])
async def test_15_a_connection_lost_in_the_middle_leaves_nothing_behind(
    database: Database, turns: tuple[int, ...]
) -> None:
    async with opened(database) as spool:
        await spool.append(note(b"before"))
        database.sql("BEGIN; LOCK TABLE delivery")  # whoever stores waits for us
        ended: list[Appended | SpoolUnavailableError] = []

        async def append() -> None:
            try:
                ended.append(await spool.append(note(b"in the middle", order_keys=turns)))
            except SpoolUnavailableError as error:
                ended.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(append)
            with trio.fail_after(5):
                while not database.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - as above
                    await trio.sleep(0.02)
            end_sessions(database)
            database.sql("ROLLBACK")
        [end] = ended
        if turns:
            assert isinstance(end, SpoolUnavailableError)
            assert await spool.append(note(b"in the middle", order_keys=turns)) is Appended.STORED
        else:  # begun anew by the gateway itself
            assert end is Appended.STORED
        assert await spool.append(note(b"in the middle")) is Appended.DUPLICATE
        assert len(await take(spool)) == 2


def test_a_failed_write_counts_for_a_while_and_an_unreachable_server_until_it_answers() -> None:
    now = 0.0
    room = ServerRoom(monotonic=lambda: now)
    assert room.now().writable
    assert room.write_failed("full")
    assert not room.write_failed("full")
    assert room.now().detail == "full"
    now = 5.0
    assert room.now().writable
    assert room.lost("no route")
    assert not room.lost("no route")
    now = 1e9
    assert room.now().detail == "no route"
    assert room.reached()
    assert not room.reached()
    assert room.now().writable
    room.failed_for_good("gone")
    assert room.now().detail == "gone"


def test_each_reason_why_a_server_does_not_answer_is_told_once_an_outage_and_not_without_end() -> None:
    room = ServerRoom()
    assert room.lost("connection lost")
    assert room.lost("no trust"), "what comes after the first reason may be the one that counts"
    assert not room.lost("connection lost")
    assert [room.lost(str(number)) for number in range(20)].count(True) == 6
    assert room.reached()
    assert room.lost("no trust")
