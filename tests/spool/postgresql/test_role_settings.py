"""What an administrator may have set for the user or the database, and a gateway meets there."""

from collections.abc import Iterator, Mapping
from typing import Final

import pytest
import trio
from structlog.testing import capture_logs

from gateway.core.pausing import Pause
from gateway.errors import GatewayError, SpoolUnavailableError
from gateway.settings.secret import Secret
from gateway.spool.contract import Appended, Done, RetryLater
from gateway.spool.history import AttemptRecord
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import check, migrate
from tests.postgresql.rig import Database, opened
from tests.spool.rig import NOW_MS, in_an_hour, note

QUIRKS: Final[Mapping[str, str]] = {
    # what is cut off
    "statement_timeout": "'300ms'",
    "lock_timeout": "'10ms'",
    "idle_in_transaction_session_timeout": "'300ms'",
    "idle_session_timeout": "'300ms'",
    "transaction_timeout": "'300ms'",
    # how transactions are
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    # what a name, a literal or a value means
    "search_path": "elsewhere, pg_catalog, public",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "bytea_output": "escape",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "extra_float_digits": "-15",
    "quote_all_identifiers": "on",
    "DateStyle": "'German, DMY'",
    "IntervalStyle": "sql_standard",
    "TimeZone": "'Pacific/Kiritimati'",
    # how it is done, and told
    "jit": "on",
    "jit_above_cost": "0",
    "plan_cache_mode": "force_generic_plan",
    "row_security": "off",
    "track_activities": "off",
    "client_min_messages": "debug1",
}
"""Of a user, each of them legal, and seen somewhere."""

AWKWARD: Final = "refus\u00e9 \u4e2d \U0001f600 \\ ' \" {NULL}"


def dsn_of(database: Database, user: str, name: str) -> Secret:
    text = database.server.dsn().replace("gateway@", f"{user}@").replace("/postgres", f"/{name}")
    return Secret(text.encode(), source="env DSN")


@pytest.fixture
def modest(database: Database) -> Iterator[Secret]:
    """Give the DSN of a user who may do nothing but make schemas in a database of somebody else's."""
    database.sql("CREATE DATABASE managed")
    database.sql("CREATE ROLE modest LOGIN; GRANT CREATE ON DATABASE managed TO modest")
    try:
        yield dsn_of(database, "modest", "managed")
    finally:
        database.sql("DROP DATABASE managed WITH (FORCE)")
        database.sql("DROP ROLE modest")


@pytest.fixture
def quirky(database: Database, modest: Secret) -> Secret:
    """Give the DSN of a user for whom everything is set otherwise, with a spool of its own."""
    # Not every server knows all of them.
    known = {name for (name,) in database.sql("SELECT name FROM pg_settings")}
    for name in QUIRKS.keys() & known:
        database.sql(f"ALTER ROLE modest SET {name} = {QUIRKS[name]}")
    migrate(modest)
    return modest


async def test_whatever_is_set_for_the_user_the_spool_keeps_what_it_is_given(
    database: Database, quirky: Secret
) -> None:
    wanted = note(b"\x00\xff\\ body", targets=("support", "audit \u00e9"), order_keys=(1, -7))
    failed = AttemptRecord(
        number=1, at_ms=NOW_MS, status=None, error=AWKWARD, duration_ms=12, response_excerpt=AWKWARD
    )
    pause = Pause(from_ms=NOW_MS, until_ms=None, reason=AWKWARD, rate_per_second=1 / 3)
    with capture_logs() as events:
        async with opened(database, dsn=quirky, keep_seconds=3600) as spool:
            assert await spool.append(wanted) is Appended.STORED
            assert await spool.append(note()) is Appended.STORED
            await trio.sleep(0.9)  # longer than a session, a transaction or a statement may last
            [lease, other] = await spool.lease(
                "support", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour, hold_ms=60_000
            )
            assert lease.raw == wanted.body.raw
            assert await spool.settle(lease, RetryLater(at_ms=NOW_MS, record=failed, group=AWKWARD))
            assert await spool.settle(other, RetryLater(at_ms=NOW_MS, record=failed))
            [again, other] = await spool.lease(
                "support", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour, hold_ms=60_000
            )
            assert [one.group for one in (again, other)] == [AWKWARD, None]
            assert again.earlier == (failed,)
            assert await spool.settle(again, Done())
            await spool.set_pauses("support", (pause,))
            assert (await spool.pauses())["support"] == (pause,)
            assert await spool.append(wanted) is Appended.DUPLICATE
            assert spool.pending() == {"support": 1, "audit \u00e9": 1}
            assert spool.room().writable
    assert [one for one in events if one["log_level"] != "info" and one["event"] != "spool_doubtful"] == []


def test_whatever_is_set_for_the_user_no_plan_is_made_for_all_that_is_asked(quirky: Secret) -> None:
    """Of what is due it would walk through all that waits."""
    link = Link(quirky)
    link.open()
    try:
        assert link.execute("SHOW plan_cache_mode") == [("auto",)]
    finally:
        link.close()


async def test_whatever_is_set_for_the_user_a_lock_is_waited_for(database: Database, quirky: Secret) -> None:
    holder = Link(quirky)
    holder.open()
    async with opened(database, dsn=quirky) as spool:
        await spool.append(note())
        holder.execute("BEGIN; LOCK TABLE delivery IN EXCLUSIVE MODE")
        async with trio.open_nursery() as nursery:

            async def let_go() -> None:
                await trio.sleep(0.5)  # longer than the user's time-outs
                await trio.to_thread.run_sync(holder.rollback)

            nursery.start_soon(let_go)
            assert await spool.append(note()) is Appended.STORED
    holder.close()


def migrated_by(dsn: Secret) -> None:
    """Make the spool as this user, and see that a gateway of this user can work with it."""
    migrate(dsn)
    link = Link(dsn)
    check(link, dsn)
    link.close()


def test_a_user_who_may_make_no_schema_is_told_what_to_ask_for(database: Database, modest: Secret) -> None:
    database.sql("REVOKE CREATE ON DATABASE managed FROM modest")
    with pytest.raises(GatewayError) as caught:
        migrate(modest)
    assert "may not make a schema" in caught.value.message
    assert "GRANT CREATE ON DATABASE managed TO modest" in caught.value.remedy
    assert "CREATE SCHEMA gateway AUTHORIZATION modest" in caught.value.remedy


@pytest.mark.parametrize(
    "made",
    [
        "CREATE SCHEMA gateway AUTHORIZATION modest",
        "CREATE SCHEMA gateway; GRANT USAGE, CREATE ON SCHEMA gateway TO modest",
    ],
    ids=["for the user", "and the user let in"],
)
def test_a_schema_that_an_administrator_has_made_beforehand_will_do(
    database: Database, modest: Secret, made: str
) -> None:
    database.sql("REVOKE CREATE ON DATABASE managed FROM modest")
    administrator = Link(dsn_of(database, "gateway", "managed"))
    administrator.open()
    administrator.execute(made)
    administrator.close()
    migrated_by(modest)


def test_a_user_who_acts_as_another_makes_it_for_that_one(database: Database, modest: Secret) -> None:
    database.sql("CREATE ROLE keeper; GRANT keeper TO modest; GRANT CREATE ON DATABASE managed TO keeper")
    database.sql("ALTER ROLE modest SET role = keeper")
    try:
        migrated_by(modest)
        link = Link(modest)
        link.open()
        assert link.execute("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'gateway'") == [
            ("keeper",)
        ]
        link.close()
    finally:
        database.sql("REVOKE CREATE ON DATABASE managed FROM keeper; ALTER ROLE modest RESET role")
        owner = Link(dsn_of(database, "gateway", "managed"))
        owner.open()
        owner.execute("DROP SCHEMA gateway CASCADE")
        owner.close()
        database.sql("DROP ROLE keeper")


async def test_a_server_without_a_connection_to_spare_is_503_until_there_is_one(
    database: Database, modest: Secret
) -> None:
    migrate(modest)
    async with opened(database, dsn=modest) as spool:
        assert await spool.append(note()) is Appended.STORED
        database.sql("ALTER ROLE modest CONNECTION LIMIT 0")
        with pytest.raises(GatewayError) as caught:
            async with opened(database, dsn=modest):
                pass
        assert "too many connections" in caught.value.message
        assert "CONNECTION LIMIT" in caught.value.remedy
        database.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'modest'")
        with trio.fail_after(10):
            while spool.room().writable:  # noqa: ASYNC110 - it finds out by itself
                await trio.sleep(0.05)
        with pytest.raises(SpoolUnavailableError, match="too many connections"):
            await spool.append(note())
        database.sql("ALTER ROLE modest CONNECTION LIMIT -1")
        with trio.fail_after(10):
            while not spool.room().writable:  # noqa: ASYNC110 - as above
                await trio.sleep(0.05)
        assert await spool.append(note()) is Appended.STORED
