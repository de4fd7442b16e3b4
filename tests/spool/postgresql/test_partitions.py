"""Upkeep of partitions: what holds nothing any more goes, and nothing else does."""

from gateway.spool.contract import Appended, Done
from gateway.spool.postgresql.partitions import Days, look_after_partitions
from gateway.spool.postgresql.session import DAY_MS
from tests.postgresql.rig import Database, opened
from tests.spool.rig import NOW_MS, note

DAY = NOW_MS // DAY_MS


def partitions(database: Database, parent: str) -> list[int]:
    found = database.link.rows("partitions")
    return sorted(int(name.partition("_")[2]) for of, name, _ in found if of == parent)


def look_after(database: Database) -> None:
    look_after_partitions(database.link, Days())


async def test_a_day_past_goes_when_nothing_of_it_is_left(database: Database) -> None:
    for day in (DAY, DAY + 1, DAY + 2):
        database.set_clock(day * DAY_MS)
        async with opened(database) as spool:
            if day == DAY + 1:
                await spool.append(note(b"waits"))
            else:
                await spool.restore(note(targets=("gone",)), clock_started_ms=0)
                [lease] = await spool.lease(
                    "gone", now_ms=NOW_MS, limit=9, next_due_ms=lambda _: NOW_MS, hold_ms=1000
                )
                await spool.settle(lease, Done())
    assert partitions(database, "body") == [DAY, DAY + 1, DAY + 2]
    look_after(database)
    assert partitions(database, "body") == [DAY + 1, DAY + 2, DAY + 3], "tomorrow's is there in time"
    database.set_clock((DAY + 9) * DAY_MS)
    look_after(database)
    assert DAY + 1 in partitions(database, "body"), "something waits there"
    assert DAY + 3 not in partitions(database, "body")


async def test_a_forgotten_part_of_the_window_goes_and_the_others_stay(database: Database) -> None:
    database.set_clock(NOW_MS)
    async with opened(database, duplicates_max=16) as spool:
        for number in range(30):
            await spool.append(note(b"%d" % number))
        before = partitions(database, "seen")
        look_after(database)
        after = partitions(database, "seen")
        assert len(before) == 15
        assert after == before[-len(after) :]
        assert len(after) == 8
        assert await spool.append(note(b"29")) is Appended.DUPLICATE


async def test_what_an_interrupted_upkeep_has_left_is_cleared_away(database: Database) -> None:
    database.set_clock(NOW_MS)
    async with opened(database) as spool:
        await spool.append(note(b"one"))
    database.sql("CREATE TABLE body_7 (LIKE body)")
    database.sql("CREATE TABLE seen_999 (LIKE seen)")
    look_after(database)
    assert partitions(database, "body") == [DAY, DAY + 1]
    assert partitions(database, "seen") == [1]
