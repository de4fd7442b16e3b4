"""Gateways of two adjacent versions work on one database: it is migrated while the older one goes on."""

import pytest
import trio

from gateway.spool.contract import Appended, Done
from gateway.spool.postgresql import migrations, spool
from gateway.spool.postgresql.migrations import LATEST, MINIMUM_VERSIONS, migrate
from gateway.spool.postgresql.spool import PostgresqlSpool
from gateway.spool.postgresql.statements import MIGRATIONS
from tests.postgresql.rig import Database, opened
from tests.spool.rig import NOW_MS, in_an_hour, note


@pytest.fixture
def older(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Give a database as the version before this one has left it, and have gateways be of that version."""
    database.sql("SET client_min_messages = warning; DROP SCHEMA gateway CASCADE")
    for module in (migrations, spool):
        monkeypatch.setattr(module, "LATEST", LATEST - 1)
    monkeypatch.setattr(
        migrations,
        "MIGRATIONS",
        {number: step for number, step in MIGRATIONS.items() if number < LATEST},
    )
    migrate(database.dsn)
    assert version_of(database) == (LATEST - 1, MINIMUM_VERSIONS[LATEST - 1])
    return database


def version_of(database: Database) -> tuple[object, ...]:
    [found] = database.sql("SELECT version, minimum_version FROM schema_version")
    return found


async def deliver(one: PostgresqlSpool) -> list[bytes]:
    leases = await one.lease("support", now_ms=NOW_MS, limit=1000, next_due_ms=in_an_hour)
    for lease in leases:
        assert await one.settle(lease, Done())
    return [lease.raw for lease in leases]


@pytest.mark.skipif(LATEST == 1, reason="there is no version before the first")
async def test_a_database_is_migrated_while_an_older_gateway_goes_on(
    older: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[bytes] = []
    delivered: list[bytes] = []
    async with opened(older) as old:
        async with trio.open_nursery() as nursery:
            going, well, wanted = True, trio.Event(), 20

            async def load() -> None:
                number = 0
                while going:
                    number += 1
                    raw = b"old %d" % number
                    assert await old.append(note(raw)) is Appended.STORED
                    stored.append(raw)

            async def work() -> None:
                while going or old.pending():
                    delivered.extend(await deliver(old))
                    if len(delivered) >= wanted:
                        well.set()
                    await trio.sleep(0.01)

            nursery.start_soon(load)
            nursery.start_soon(work)
            await well.wait()
            monkeypatch.undo()
            before, steps = await trio.to_thread.run_sync(migrate, older.dsn)
            assert (before, [step.version for step in steps]) == (LATEST - 1, [LATEST])
            assert version_of(older) == (LATEST, MINIMUM_VERSIONS[LATEST])
            well, wanted = trio.Event(), len(delivered) + 20
            await well.wait()
            going = False
        async with opened(older) as new:
            # Either delivers what the other has accepted, and knows its duplicates.
            assert await new.append(note(b"by the new")) is Appended.STORED
            assert await old.append(note(b"by the new")) is Appended.DUPLICATE
            assert await old.append(note(b"by the old")) is Appended.STORED
            assert await new.append(note(b"by the old")) is Appended.DUPLICATE
            found = await deliver(old)
            assert {b"by the new", b"by the old"} <= {*found}
            assert await old.append(note(b"the last of the old")) is Appended.STORED
            assert b"the last of the old" in await deliver(new)
            delivered += found
    assert {*stored} <= {*delivered}
    assert len(delivered) == len({*delivered})


@pytest.mark.skipif(LATEST == 1, reason="there is no version before the first")
async def test_an_older_gateway_starts_on_a_database_that_is_migrated_already(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (migrations, spool):
        monkeypatch.setattr(module, "LATEST", LATEST - 1)
    async with opened(database) as old:
        assert await old.append(note(b"by the old")) is Appended.STORED


@pytest.mark.parametrize("version", [number for number in MIGRATIONS if number > 1])
def test_a_step_leaves_the_version_before_it_at_work(version: int) -> None:
    assert MINIMUM_VERSIONS[version] <= version - 1
