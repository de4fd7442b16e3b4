"""A SQLite spool is carried over to PostgreSQL: whole, once, whatever interrupts it."""

from pathlib import Path

import pytest

from gateway.core.lanes import Lane
from gateway.core.merging import Merging
from gateway.core.pausing import Pause
from gateway.errors import SpoolUnavailableError
from gateway.settings.model import Spool as SpoolSettings
from gateway.spool import leaving
from gateway.spool.contract import Appended, Done, RetryLater
from gateway.spool.history import INTERRUPTED
from gateway.spool.leaving import Page
from gateway.spool.moving import Moved, move_to_postgresql
from gateway.spool.postgresql.arrivals import Arrivals
from gateway.spool.sqlite import workers_with_files
from tests.postgresql.rig import Database
from tests.postgresql.rig import opened as opened_shared
from tests.spool.rig import HOUR_MS, NOW_MS, in_an_hour, note, now_ms, opened, record


def move(directory: Path, database: Database) -> tuple[Moved, ...]:
    settings = SpoolSettings(directory=directory, engine="postgresql", dsn=database.dsn)
    return move_to_postgresql(directory, settings, now_ms=now_ms, progress=lambda _: None)


async def fill(directory: Path) -> None:
    """Store some of everything."""
    async with opened(directory, keep_seconds=3600) as spool:
        for number in range(4):
            await spool.append(note(b"%d\x00\xff" % number, targets=("support", "audit"), lane=Lane.HIGH))
        leases = await spool.lease("support", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour)
        await spool.settle(leases[0], Done())
        await spool.settle(leases[1], RetryLater(at_ms=NOW_MS + 9000, record=record(1)))
        for number in range(3):
            await spool.append(note(b"merged %d" % number, targets=("crm",), object_="page"))
        group = await spool.lease(
            "crm", now_ms=NOW_MS, limit=1, next_due_ms=in_an_hour, merging=Merging(max_changes=9)
        )
        assert len({lease.group for lease in group}) == 1
        for number in range(3):
            await spool.append(note(b"%d" % number, targets=("erp",), order_keys=(7,)))
        await spool.set_pauses("erp", (Pause(from_ms=NOW_MS, until_ms=None, reason="lunch"),))


async def test_everything_arrives_as_it_was(tmp_path: Path, database: Database) -> None:
    database.set_clock(NOW_MS + 5 * HOUR_MS)  # that clock is another
    await fill(tmp_path)
    [moved] = move(tmp_path, database)
    assert (moved.sums.notifications, moved.sums.deliveries) == (10, 14)
    assert workers_with_files(tmp_path) == ()
    assert moved.aside.exists()
    async with opened_shared(database, keep_seconds=3600) as spool:
        assert spool.pending() == {"support": 3, "audit": 4, "crm": 3, "erp": 3}
        assert spool.pending_bytes()["support"] == 9
        assert await spool.append(note(b"0\x00\xff")) is Appended.DUPLICATE
        [kept] = await spool.kept(since_ms=0, until_ms=NOW_MS * 2, limit=9)
        assert (kept.raw, [one.target for one in kept.taken]) == (b"0\x00\xff", ["support"])
        assert await spool.oldest_kept_ms() == NOW_MS
        assert (await spool.pauses())["erp"][0].reason == "lunch"
        assert await spool.next_due_ms("support") == NOW_MS + 9000
        [retry] = await spool.lease("support", now_ms=NOW_MS + 9000, limit=9, next_due_ms=in_an_hour)
        assert (retry.raw, retry.attempt, retry.earlier) == (b"1\x00\xff", 2, (record(1),))
        later = await spool.lease("support", now_ms=NOW_MS + 2 * HOUR_MS, limit=9, next_due_ms=in_an_hour)
        assert [[one.error for one in lease.earlier] for lease in later] == [[INTERRUPTED]] * 2
        group = await spool.lease("crm", now_ms=NOW_MS + 2 * HOUR_MS, limit=1, next_due_ms=in_an_hour)
        assert [lease.raw for lease in group] == [b"merged 0", b"merged 1", b"merged 2"]
        await spool.append(note(b"3", targets=("erp",), order_keys=(7,)))
        for number in range(4):
            [lease] = await spool.lease("erp", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour)
            assert lease.raw == b"%d" % number
            await spool.settle(lease, Done())


async def test_what_was_interrupted_goes_on_and_nothing_comes_twice(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "PAGE_NOTIFICATIONS", 3)
    await fill(tmp_path)
    take, pages = Arrivals.take, 0

    def take_two(self: Arrivals, mark: str, page: Page, *, now_ms: int) -> None:
        nonlocal pages
        pages += 1
        if pages == 3:
            raise SpoolUnavailableError("the database is away")
        take(self, mark, page, now_ms=now_ms)

    monkeypatch.setattr(Arrivals, "take", take_two)
    with pytest.raises(SpoolUnavailableError):
        move(tmp_path, database)
    assert workers_with_files(tmp_path) == (0,)
    assert database.sql("SELECT notifications FROM moved") == [(6,)]
    [moved] = move(tmp_path, database)
    assert moved.sums.notifications == 10
    assert move(tmp_path, database) == ()
    async with opened_shared(database) as spool:
        assert spool.pending() == {"support": 3, "audit": 4, "crm": 3, "erp": 3}
