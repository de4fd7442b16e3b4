"""A shared spool on a real server: emptied for a test, opened, filled up, broken."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from gateway.errors import GatewayError
from gateway.settings.secret import Secret
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import check, migrate
from gateway.spool.postgresql.spool import PostgresqlOptions, PostgresqlSpool, open_postgresql_spool
from gateway.spool.postgresql.statements import MIGRATIONS
from gateway.telemetry.metrics import Metrics
from tests.postgresql.server import Server
from tests.spool.rig import now_ms

_REFUSE = """
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no, says the test: %' , TG_ARGV[0] USING ERRCODE = TG_ARGV[0]; END $$;
"""


_TABLES = (
    *("notification", "body", "delivery", "attempt", "pause", "turn", "kept"),
    *("seen_bucket", "writer", "tally", "seen_tally", "moved"),
    *("letter", "letter_place", "fenced", "seal_key"),
    *("replica", "question", "answer"),
)
_FORGET = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT inhrelid::regclass FROM pg_inherits
        WHERE inhparent IN ('seen'::regclass, 'body'::regclass) LOOP
        EXECUTE 'DROP TABLE ' || name;
    END LOOP;
END $$
"""
"""Buckets are not counted anew while their partitions are there."""


class Database:
    """The database of a test."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.dsn = Secret(server.dsn().encode(), source="env DSN")
        self.link = Link(self.dsn)

    def clear(self) -> None:
        """Begin with an empty spool."""
        [(is_there,)] = self.sql("SELECT to_regnamespace('gateway') IS NOT NULL")
        if not is_there:
            migrate(self.dsn)
        self.set_real_clock()
        self.allow(*_TABLES)
        self.sql(";".join(f"DELETE FROM {table}" for table in _TABLES))  # noqa: S608 - our tables
        self.sql(_FORGET)

    def sql(self, text: str) -> list[tuple[object, ...]]:
        """Run statements; the rows of the last."""
        self.link.open()
        return self.link.execute(text)

    def set_clock(self, at_ms: int) -> None:
        """Have the database's clock stand still."""
        self.sql(
            "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE "
            f"AS 'SELECT {at_ms}::bigint'"
        )

    def set_real_clock(self) -> None:
        """Have it go on."""
        made = next(part for part in MIGRATIONS[1].text.split(";\n") if "FUNCTION clock_ms" in part)
        self.sql(made.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))

    def refuse(self, sqlstate: str, *tables: str) -> None:
        """Have every statement fail that writes to one of these tables."""
        self.sql(
            _REFUSE
            + ";".join(
                f"CREATE TRIGGER refusing BEFORE INSERT OR UPDATE OR DELETE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION refuse('{sqlstate}')"
                for table in tables
            )
        )

    def allow(self, *tables: str) -> None:
        """Let them be written again."""
        self.sql(";".join(f"DROP TRIGGER IF EXISTS refusing ON {table}" for table in tables))


@contextmanager
def asking_for_a_password(database: Database, user: str, password: str) -> Iterator[None]:
    """Have a superuser who is let in by a password alone."""
    database.sql(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{password}'")
    file = database.server.data / "pg_hba.conf"
    before = file.read_text()
    file.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n{before}")
    database.sql("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        file.write_text(before)
        database.sql("SELECT pg_reload_conf()")
        database.sql(f"REASSIGN OWNED BY {user} TO CURRENT_USER; DROP ROLE {user}")


@asynccontextmanager
async def opened(
    database: Database,
    *,
    window_seconds: float = 3600.0,
    duplicates_max: int = 10_000,
    keep_seconds: float = 0.0,
    clock: Callable[[], int] = now_ms,
    metrics: Metrics | None = None,
    dsn: Secret | None = None,
) -> AsyncIterator[PostgresqlSpool]:
    """Open it, as one gateway of several."""
    options = PostgresqlOptions(
        dsn=dsn or database.dsn,
        duplicates_window_seconds=window_seconds,
        duplicates_max=duplicates_max,
        keep_delivered_seconds=keep_seconds,
    )
    async with open_postgresql_spool(options, metrics=metrics or Metrics(), now_ms=clock) as spool:
        yield spool


def secret(text: str) -> Secret:
    """Return a DSN as the settings hold it."""
    return Secret(text.encode(), source="env DSN")


def refusal(dsn: Secret) -> str:
    """Return what the gateway says at its start, with the remedy."""
    link = Link(dsn)
    try:
        with pytest.raises(GatewayError) as caught:
            check(link, dsn)
    finally:
        link.close()
    assert caught.value.remedy
    return str(caught.value)
