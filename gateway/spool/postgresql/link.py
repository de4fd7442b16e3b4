"""One connection to PostgreSQL: beside `pipeline` and `dsn` the only importer of psycopg.

Sync, on a thread of its caller's: psycopg's async side is asyncio only. Every statement has a deadline of its
own on this side, since a server that hangs, or a proxy in between, answers to no time-out of the server's.
"""

import re
import select
import struct
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.rows import TupleRow

from gateway.errors import GatewayError
from gateway.settings.secret import Secret
from gateway.spool.postgresql.dsn import check_dsn, complete
from gateway.spool.postgresql.pipeline import Pipeline, Statement
from gateway.spool.postgresql.statements import STATEMENTS
from gateway.spool.postgresql.troubles import (
    LOST,
    UNAVAILABLE_REMEDY,
    LinkHungError,
    LinkLostError,
    trouble,
)

SCHEMA_NAME: Final = "gateway"
"""The schema that everything of ours stands in."""
STATEMENT_SECONDS: Final = 20.0
"""Statements take milliseconds; a server that is alive but slow (a cold cache, a checkpoint) gets through."""
RETRY_SECONDS: Final = 1.0
"""How long a failure to connect counts: whoever asks meanwhile hears of it at once."""
IDLE_IN_TRANSACTION_SECONDS: Final = 30
"""After which the server ends a transaction whose gateway is gone: an open one keeps rows locked."""

PROBE_SECONDS: Final = 3.0
"""For one statement of the look for a pooler: where none of its connections is free, nothing is found out."""
PROBES: Final = 5
"""How often it is looked: others may come in between."""

_SESSION: Final = "; ".join(
    (
        # What is not named there comes first: pg_catalog, so that nothing in the schema stands in for it.
        f"SET search_path = {SCHEMA_NAME}, pg_temp",
        "SET lock_timeout = '10s'",
        "SET statement_timeout = '15s'",
        f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_SECONDS}s'",
        # The former came with PostgreSQL 14, the latter with 17.
        "SELECT set_config(name, '0', false) FROM pg_settings "
        "WHERE name IN ('idle_session_timeout', 'transaction_timeout')",
        "SET default_transaction_isolation = 'read committed'",
        "SET array_nulls = on",
        "SET extra_float_digits = 1",
        "SET TIME ZONE 'UTC'",
        "SET jit = off",
        "SET enable_seqscan = off",
        "SET plan_cache_mode = auto",
        "SHOW synchronous_commit",
    )
)
"""Whatever somebody has set for the user, the database or the server: how long things may last, and what a
literal means. No jit and no sequential scans: plans are made once, on tables that may be empty then and hold
millions an hour later; each of our statements has an index for what it looks for."""

_SHARED: Final = "a pooler in between gives the gateway another session for each transaction"
_SHARED_REMEDY: Final = (
    "set pool_mode = session for it in the pooler (PgBouncer), or name the server itself in spool.dsn"
)

_OF_ANOTHER_SESSION: Final = frozenset({"42P01", "26000", "42P05"})
"""SQLSTATEs that mean, behind a pooler, that it is not the session which we have set up: a table that is not
on the search path, a prepared statement that is not there, or is already."""
_FORGETTING: Final = re.compile(r"\b(?:ALTER|DROP|ROLLBACK|DISCARD|DEALLOCATE)\b")
"""After one of these psycopg may have the server forget all that is prepared."""

Result = TypeVar("Result")


class _Connection(psycopg.Connection[TupleRow]):
    """psycopg's, with a deadline for everything that it waits for."""

    patience_seconds: float | None = None
    """Where it is not that of statements."""

    def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        patience = STATEMENT_SECONDS if self.patience_seconds is None else self.patience_seconds
        return super().wait(gen, interval, patience if timeout is None else timeout)


class Link:
    """A connection that is made when it is needed, and made anew when it was lost."""

    def __init__(self, dsn: Secret) -> None:
        self._dsn = dsn
        self._connection: _Connection | None = None
        self._pooled_session: int | None = None
        """The process of the server that a pooler has given us; None: there is no pooler."""
        self._pipeline: Pipeline | None = None
        self.opened = 0
        """How many connections it has had: another number, another connection."""
        self._failure: LinkLostError | None = None
        self._failed_at = float("-inf")

    def open(self) -> None:
        """Connect, unless that has been done.

        Raises:
            LinkLostError: the server cannot be reached, or refuses.
        """
        if self._connection is not None and not self._connection.closed:
            return
        failure = self._failure
        if failure is not None and time.monotonic() - self._failed_at < RETRY_SECONDS:
            raise LinkLostError(failure.message, remedy=failure.remedy)
        try:
            self._connection = self._connect()
            self.opened += 1
            self._pipeline = Pipeline(self._connection.pgconn)
        except LinkLostError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        self._failure = None

    def _connect(self) -> _Connection:
        if fault := check_dsn(self._dsn):
            # libpq would quote it, password and all.
            raise LinkLostError(f"spool.dsn {fault}", remedy="`gateway check` says what it should be")
        connection: _Connection | None = None
        try:
            connection = _Connection.connect(complete(self._dsn), autocommit=True)
            refusal = self._prepare(connection)
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            raise _ours(error, lost=True) from error
        if refusal is not None:
            connection.close()
            raise refusal
        return connection

    def _prepare(self, connection: _Connection) -> LinkLostError | None:
        """Make a session fit for us, or say why it cannot be."""
        session = self._pooled_session = _pooled_session(connection)
        if session is not None and self._is_shared(connection, session):
            return LinkLostError(_SHARED, remedy=_SHARED_REMEDY)
        if _last_rows(connection, _SESSION) == [("off",)]:
            return LinkLostError(
                "synchronous_commit is off: a crash of the database would lose what was answered 200",
                remedy="set it to on for the user of spool.dsn: ALTER ROLE ... SET synchronous_commit = on",
            )
        return None

    def _is_shared(self, connection: _Connection, session: int) -> bool:
        """Whether a pooler gives others what we take for our session, between two of our transactions.

        Another client of it begins a transaction. Poolers give out what was given back last, or longest ago:
        so it gets the process that answered us, or the next after it, and we are answered by another.
        """
        other: _Connection | None = None
        other_has_one = False
        try:
            other = _Connection.connect(complete(self._dsn), autocommit=True)
            connection.patience_seconds = other.patience_seconds = PROBE_SECONDS
            for _ in range(PROBES):
                _last_rows(other, "BEGIN; SELECT 1")
                other_has_one = True
                if not _has_session(connection, session):
                    return True
                _last_rows(other, "ROLLBACK")
                other_has_one = False
        except errors._WaitTimeout:  # noqa: SLF001 - as below
            # Either we wait for what the other has got, the only one; or all are in use, and nothing is found
            # out: the scout goes on looking.
            return other_has_one
        finally:
            connection.patience_seconds = None
            if other is not None:
                other.close()
        return False

    def keep_session(self) -> None:
        """See, behind a pooler, that the session is still ours alone. Raises as `rows`."""
        connection, session = self._connection, self._pooled_session
        if connection is None or session is None:
            return
        try:
            if _has_session(connection, session):
                return
        except psycopg.Error as error:
            self.close()
            raise _ours(error, lost=True) from error
        self.close()
        raise LinkLostError(_SHARED, remedy=_SHARED_REMEDY)

    def try_again(self) -> None:
        """Forget that it could not connect a moment ago: another one just has. From any thread."""
        self._failure = None

    def close(self) -> None:
        """Close; a transaction under way is undone by the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def rows(self, name: str, /, **bindings: object) -> list[Any]:
        """Run a named statement and return its rows, none where it gives none.

        Raises:
            LinkLostError: the connection is gone.
            SpoolUnavailableError: not now; the transaction has to be rolled back.
            SpoolBrokenError: the database is damaged, or not ours any more.
        """
        return self.execute(STATEMENTS[name], bindings)

    def execute(self, statement: str, bindings: Mapping[str, object] | None = None) -> list[Any]:
        """Run a statement in the words of SQL; without bindings, several. The last one's rows. Raises as
        `rows`."""
        connection = self._connection
        if connection is None:
            raise LinkLostError("not connected to the database", remedy=UNAVAILABLE_REMEDY)
        if bindings is None and self._pipeline is not None and _FORGETTING.search(statement):
            self._pipeline.prepared.clear()
        try:
            return _last_rows(connection, statement, bindings)
        except psycopg.Error as error:
            raise self._failed(connection, error) from error

    def in_one_go(self, first: str, name: str, /, **bindings: object) -> list[Any]:
        """Run a transaction of two statements, commit included, in one round trip; the rows of the second,
        a named one that gives integers. Raises as `rows`, and ends the connection then: what is prepared
        there is not known."""
        connection, pipeline = self._connection, self._pipeline
        if connection is None or pipeline is None:
            raise LinkLostError("not connected to the database", remedy=UNAVAILABLE_REMEDY)
        statement = _statement(name)
        steps = pipeline.transaction(first.encode(), name, statement, statement.values(bindings))
        try:
            return connection.wait(steps)
        except psycopg.Error as error:
            failure = self._failed(connection, error)
            self.close()
            raise failure from error

    def _failed(self, connection: _Connection, error: psycopg.Error) -> GatewayError:
        if self._pooled_session is not None and error.sqlstate in _OF_ANOTHER_SESSION:
            self.close()
            return LinkLostError(_SHARED, remedy=_SHARED_REMEDY)
        lost = connection.closed or connection.broken or error.sqlstate in LOST
        if lost:
            self.close()
        return _ours(error, lost=lost)

    def rollback(self) -> None:
        """Undo the transaction under way; where that fails, end the connection, which does the same."""
        if self._connection is None:
            return
        try:
            self.execute("ROLLBACK")
        except GatewayError:
            self.close()

    def wait_notice(self, seconds: float, wake: int) -> list[str]:
        """Wait for notices on the channels that are listened to, or until the descriptor `wake` can be read;
        the payloads. Raises as `rows`.
        """
        connection = self._connection
        if connection is None:
            raise LinkLostError("not connected to the database", remedy=UNAVAILABLE_REMEDY)
        try:
            # What came beside the answer to a statement is here already, and wakes nobody any more.
            if here := [one.payload for one in connection.notifies(timeout=0)]:
                return here
            waiting = select.poll()
            waiting.register(connection.fileno(), select.POLLIN)
            waiting.register(wake, select.POLLIN)
            waiting.poll(seconds * 1000)
            return [one.payload for one in connection.notifies(timeout=0)]
        except psycopg.Error as error:
            self.close()
            raise _ours(error, lost=True) from error


def _pooled_session(connection: _Connection) -> int | None:
    """Return the number of the process that works for us, where it is not the one that we connected to."""
    [(process,)] = _last_rows(connection, "SELECT pg_catalog.pg_backend_pid()")
    return None if process == connection.info.backend_pid else int(process)


def _has_session(connection: _Connection, session: int) -> bool:
    return _last_rows(connection, "SELECT pg_catalog.pg_backend_pid()") == [(session,)]


@cache
def _statement(name: str) -> Statement:
    return Statement.of(STATEMENTS[name])


def _last_rows(
    connection: _Connection, statement: str, bindings: Mapping[str, object] | None = None
) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement.encode(), bindings)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


def _ours(error: psycopg.Error, *, lost: bool) -> GatewayError:
    """Return our error for one of psycopg's."""
    if isinstance(error, errors._WaitTimeout):  # noqa: SLF001 - the deadline above has no other name
        return LinkHungError(
            f"the database: no answer within {STATEMENT_SECONDS:g} s", remedy=UNAVAILABLE_REMEDY
        )
    return trouble(error.sqlstate or "", str(error) or type(error).__name__, lost=lost)


def arrays(rows: Sequence[Sequence[object]], *names: str) -> dict[str, object]:
    """Return columns by name, as the arrays that a statement unfolds: see `array`."""
    return {name: array([row[index] for row in rows]) for index, name in enumerate(names)}


def array(values: list[Any]) -> object:
    """Return a column of one type as PostgreSQL writes an array.

    psycopg does it item by item, each quoted by a regular expression: a quarter of the CPU of a batch.
    """
    if not values:
        return "{}"
    if isinstance(values[0], bytes):
        return _ByteaArray(values)
    if None in values:
        return f"{{{','.join(map(_item, values))}}}"
    if not isinstance(values[0], str):
        return f"{{{','.join(map(str, values))}}}"
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') > 2 * (len(values) - 1):
        return f"{{{','.join(map(_item, values))}}}"
    return f'{{"{joined}"}}'


class _ByteaArray:
    """bytea[] in its binary form: dimensions, nulls, type; length, lower bound; then each with its length."""

    def __init__(self, values: list[bytes]) -> None:
        parts = [_BYTEA_ARRAY.pack(1, 0, _BYTEA, len(values), 1)]
        for value in values:
            parts += (_LENGTH.pack(len(value)), value)
        self.data = b"".join(parts)


class _ByteaArrayDumper(Dumper):
    format = Format.BINARY
    oid = psycopg.adapters.types["bytea"].array_oid

    def dump(self, obj: _ByteaArray) -> bytes:
        return obj.data


_BYTEA: Final = psycopg.adapters.types["bytea"].oid
_BYTEA_ARRAY: Final = struct.Struct(">iiIii")
_LENGTH: Final = struct.Struct(">i")
psycopg.adapters.register_dumper(_ByteaArray, _ByteaArrayDumper)


def _item(value: object) -> str:
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
