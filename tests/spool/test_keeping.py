"""What was delivered is kept on disk only while there is room for it, and forgotten under load too."""

from pathlib import Path

import trio

from gateway.spool.contract import Done
from gateway.spool.sqlite import SqliteSpool
from tests.spool.rig import NOW_MS, in_an_hour, note, opened


async def deliver(spool: SqliteSpool, number: int, *, limit: int = 1000) -> None:
    for _ in range(number):
        await spool.append(note())
    leases = await spool.lease("support", now_ms=NOW_MS, limit=limit, next_due_ms=in_an_hour)
    await spool.settle_together([(lease, Done()) for lease in leases])


async def count(spool: SqliteSpool) -> int:
    return len(await spool.kept(since_ms=0, until_ms=2**53, limit=100_000))


async def test_with_little_room_nothing_is_kept_and_what_is_there_goes(tmp_path: Path) -> None:
    async with opened(tmp_path, keep_seconds=60) as spool:
        await deliver(spool, 20)
        assert await count(spool) == 20
    async with opened(tmp_path, keep_seconds=60, min_free_bytes=2**62) as spool:
        await deliver(spool, 5)
        assert await count(spool) == 0
        assert spool.pending() == {}
    async with opened(tmp_path, keep_seconds=60) as spool:
        await deliver(spool, 5)
        assert await count(spool) == 5


async def test_under_load_the_old_goes_as_the_new_comes(tmp_path: Path) -> None:
    now_ms = NOW_MS
    async with opened(tmp_path, keep_seconds=60, clock=lambda: now_ms) as spool:
        for _ in range(6):
            await deliver(spool, 10)
            now_ms += 20_000
        assert await count(spool) == 30
        assert await spool.oldest_kept_ms() == now_ms - 60_000


async def test_what_a_former_setting_left_goes_under_load_too(tmp_path: Path) -> None:
    async with opened(tmp_path, keep_seconds=60) as spool:
        await deliver(spool, 20)
    async with opened(tmp_path) as spool:
        await deliver(spool, 1)
        assert await count(spool) == 0


async def test_a_damaged_body_is_told_and_no_other_is_hidden(tmp_path: Path) -> None:
    async with opened(tmp_path, keep_seconds=60) as spool:
        await deliver(spool, 3)
        spool._engine._file.connection.execute("UPDATE body SET raw = x'00' WHERE seq = 2")
        page = await spool.kept(since_ms=0, until_ms=2**53, limit=10)
        assert [kept.raw is None for kept in page] == [False, True, False]


async def test_a_page_is_bounded_in_bytes(tmp_path: Path) -> None:
    async with opened(tmp_path, keep_seconds=60) as spool:
        for number in range(5):
            await spool.append(note(bytes([number]) * 1_500_000))
        await deliver(spool, 0)
        page = await spool.kept(since_ms=0, until_ms=2**53, limit=100)
        assert len(page) == 2


async def test_the_body_goes_with_the_last_that_needs_it(tmp_path: Path) -> None:
    now_ms = NOW_MS
    async with opened(tmp_path, keep_seconds=60, clock=lambda: now_ms) as spool:
        await spool.append(note(targets=("support", "audit")))
        await deliver(spool, 0)
        now_ms += 61_000
        with trio.fail_after(5):
            while await count(spool):  # noqa: ASYNC110 - upkeep has no event
                await trio.sleep(0.4)

        def rows(table: str) -> int:
            query = {"body": "SELECT count(*) FROM body", "notification": "SELECT count(*) FROM notification"}
            [(number,)] = spool._engine._file.connection.execute(query[table])
            return int(number)

        assert (rows("notification"), rows("body")) == (1, 1)
        (lease,) = await spool.lease("audit", now_ms=NOW_MS, limit=1, next_due_ms=in_an_hour)
        await spool.settle(lease, Done())
        assert rows("body") == 1
        now_ms += 61_000
        with trio.fail_after(5):
            while rows("body"):  # noqa: ASYNC110 - upkeep has no event
                await trio.sleep(0.4)
        assert rows("notification") == 0
