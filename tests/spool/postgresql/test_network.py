"""What the network between a gateway and its database may do to it: hang, lose, be slow."""

import time
from collections.abc import Callable
from functools import partial

import pytest
import trio

from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Appended, Done
from gateway.spool.postgresql import link
from tests.postgresql.proxy import proxy
from tests.postgresql.rig import Database, opened
from tests.spool.rig import NOW_MS, in_an_hour, note


async def test_a_network_that_hangs_is_503_after_the_deadline_and_goes_on_by_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        proxy(database.server.port) as between,
        opened(database, dsn=between.dsn) as cut_off,
        opened(database) as other,
    ):
        assert await cut_off.append(note(b"before")) is Appended.STORED
        [lease] = await cut_off.lease(
            "support", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour, hold_ms=60_000
        )
        monkeypatch.setattr(link, "STATEMENT_SECONDS", 0.3)
        between.hang()
        started = time.monotonic()
        with pytest.raises(SpoolUnavailableError, match=r"no answer within 0\.3 s"):
            await cut_off.append(note(b"during"))
        assert time.monotonic() - started < 5
        assert not cut_off.room().writable
        monkeypatch.setattr(link, "STATEMENT_SECONDS", 5.0)
        assert await other.append(note(b"during")) is Appended.STORED
        between.go()
        with trio.fail_after(10):
            while not cut_off.room().writable:  # noqa: ASYNC110 - it finds out by itself
                await trio.sleep(0.05)
        assert await cut_off.append(note(b"during")) is Appended.DUPLICATE
        assert await cut_off.settle(lease, Done()), "nobody else had it meanwhile"
        assert [one.raw for one in await other.lease(
            "support", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour
        )] == [b"during"]  # fmt: skip


async def test_a_slow_database_makes_acknowledgements_slow_and_loses_none(database: Database) -> None:
    async with proxy(database.server.port) as between, opened(database, dsn=between.dsn) as spool:
        between.delay_seconds = 0.05
        answers: list[Appended] = []

        async def append(number: int) -> None:
            answers.append(await spool.append(note(b"%d" % number)))

        started = time.monotonic()
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(append, number)
        assert time.monotonic() - started > 0.2
        assert answers == [Appended.STORED] * 100
        between.delay_seconds = 0
        assert len(await spool.lease("support", now_ms=NOW_MS, limit=200, next_due_ms=in_an_hour)) == 100


async def test_who_only_looks_can_stop_waiting_for_a_network_that_hangs(database: Database) -> None:
    async with proxy(database.server.port) as between, opened(database, dsn=between.dsn) as spool:
        await spool.append(note(b"before"))
        assert spool.letters is not None
        between.hang()
        started = time.monotonic()
        for look in (
            spool.oldest_received_ms,
            spool.oldest_clock_ms,
            spool.oldest_kept_ms,
            spool.pauses,
            spool.letters.counts,
            partial(spool.next_due_ms, "support"),
            partial(spool.trace, "0" * 32),
            partial(spool.mentions, [b"before"]),
        ):
            with trio.move_on_after(0.05) as patience:
                await look()
            assert patience.cancelled_caught
        assert time.monotonic() - started < 5
        between.go()
        assert await spool.oldest_received_ms() == {"support": NOW_MS}, "who asks again is answered"


async def test_what_a_commit_did_whose_answer_was_lost_is_counted(database: Database) -> None:
    async with proxy(database.server.port) as between, opened(database, dsn=between.dsn) as spool:
        for number in range(2):
            await spool.append(note(b"before %d" % number))
        told: list[frozenset[str]] = []
        spool.on_ready(told.append)
        answers: list[Appended] = []

        async def append() -> None:
            answers.append(await spool.append(note(b"during")))

        async with trio.open_nursery() as nursery:
            database.sql("BEGIN; LOCK TABLE delivery")  # whoever stores waits for us
            nursery.start_soon(append)
            await until(lambda: bool(database.sql("SELECT 1 FROM pg_locks WHERE NOT granted")))
            between.hang()
            database.sql("ROLLBACK")
            await until(lambda: database.sql("SELECT count(*) FROM delivery") == [(3,)])
            between.cut()
            between.go()
        # Done again, as Meta would.
        assert answers == [Appended.DUPLICATE]
        assert (spool.pending(), spool.pending_bytes()) == ({"support": 3}, {"support": 22})
        assert frozenset({"support"}) in told


async def test_a_transaction_that_its_connection_left_open_holds_up_no_lease(database: Database) -> None:
    async with opened(database) as spool:
        for number in range(2):
            await spool.append(note(b"%d" % number))
        [first] = await spool.lease("support", now_ms=NOW_MS, limit=1, next_due_ms=in_an_hour)
        assert await spool.settle(first, Done())
        database.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'meta-webhook-gateway' AND pid <> pg_backend_pid()"
        )
        database.sql("BEGIN; SELECT FROM tally FOR UPDATE")  # the accounts stay locked by that
        with trio.fail_after(5):
            [second] = await spool.lease("support", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour)
        database.sql("ROLLBACK")
        assert await spool.settle(second, Done())
        assert await spool.append(note(b"afterwards")) is Appended.STORED
        assert spool.pending() == {"support": 1}


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(15):
        while not holds():  # noqa: ASYNC110 - another process gives no event
            await trio.sleep(0.02)
