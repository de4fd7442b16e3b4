"""One connection to PostgreSQL, and its errors made ours: the only importer of psycopg.

Sync, on a thread of its caller's: psycopg's async side is asyncio only. Every statement has a deadline of its
own on this side, since a server that hangs, or a proxy in between, answers to no time-out of the server's.
"""

import re
import select
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError
from gateway.settings.secret import Secret
from gateway.spool.postgresql.statements import STATEMENTS

SCHEMA_NAME: Final = "gateway"
"""The schema that everything of ours stands in."""
CONNECT_SECONDS: Final = 5
"""For each host of the DSN in turn: a dead one must not keep us from the next."""
STATEMENT_SECONDS: Final = 20.0
"""Statements take milliseconds; a server that is alive but slow (a cold cache, a checkpoint) gets through."""
RETRY_SECONDS: Final = 1.0
"""How long a failure to connect counts: whoever asks meanwhile hears of it at once."""
IDLE_IN_TRANSACTION_SECONDS: Final = 30
"""After which the server ends a transaction whose gateway is gone: an open one keeps rows locked."""

_DEFAULTS: Final[Mapping[str, str]] = {
    "application_name": "meta-webhook-gateway",
    "connect_timeout": str(CONNECT_SECONDS),
    "target_session_attrs": "read-write",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""What of the connection we state where the DSN does not. read-write: of several hosts, the primary."""
_SESSION: Final = (
    # What is not named there comes first: pg_catalog, so that nothing in the schema stands in for it.
    f"SET search_path = {SCHEMA_NAME}, pg_temp; SET lock_timeout = '10s'; SET statement_timeout = '15s'; "
    f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_SECONDS}s'; SET TIME ZONE 'UTC'; "
    "SET default_transaction_isolation = 'read committed'; SET jit = off; SET enable_seqscan = off; "
    "SHOW synchronous_commit"
)
"""No jit and no sequential scans: plans are made once, on tables that may be empty then and hold millions an
hour later; each of our statements has an index for what it looks for."""

_BROKEN: Final = {
    "58030": "the disk of the database failed",
    "XX001": "the database is damaged",
    "XX002": "an index of the database is damaged",
    "42P01": "a table of the spool is missing",
    "42703": "a column of the spool is missing",
}
"""SQLSTATEs after which nothing may be tried again."""
_REMEDIES: Final = {
    "53100": ("the disk of the database is full", "free some space there; nothing has to be restarted"),
    "28P01": ("the password is wrong", "correct spool.dsn"),
    "28000": ("the database refuses this user", "correct spool.dsn, or the server's pg_hba.conf"),
    "3D000": ("there is no such database", "create it, or correct spool.dsn"),
    "42501": (
        "the user has not the rights it needs",
        "let it own the schema `gateway`: run `gateway spool migrate` as the same user",
    ),
    "25006": ("the server is read-only, a standby", "name the primary in spool.dsn, or all hosts"),
    "53300": ("the server takes no more connections", "raise max_connections; each gateway needs four"),
}
_BROKEN_REMEDY: Final = "look at the server's log, and restore the database where it is needed"
_UNAVAILABLE_REMEDY: Final = "see that the server runs and can be reached; nothing has to be restarted"

_SPLIT_PASSWORD: Final = re.compile(r"postgres(?:ql)?://[^?]*[@/][^?]*@")
"""Of a URI: an @ after another, or after the slash that ends the hosts."""

Result = TypeVar("Result")


class _Connection(psycopg.Connection[TupleRow]):
    """psycopg's, with a deadline for everything that it waits for."""

    def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        return super().wait(gen, interval, STATEMENT_SECONDS if timeout is None else timeout)


class LinkLostError(SpoolUnavailableError):
    """The connection is gone, or was never made; what a commit that was under way has done is not known."""


class LinkHungError(LinkLostError):
    """The server, or the network on the way there, gave no answer in time."""


class ContendedError(SpoolUnavailableError):
    """Another transaction was in the way; the whole of this one may be tried again at once."""


class Link:
    """A connection that is made when it is needed, and made anew when it was lost."""

    def __init__(self, dsn: Secret) -> None:
        self._dsn = dsn
        self._connection: _Connection | None = None
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
        except LinkLostError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        self._failure = None

    def _connect(self) -> _Connection:
        if fault := check_dsn(self._dsn):
            # libpq would quote it, password and all.
            raise LinkLostError(f"spool.dsn {fault}", remedy="`gateway check` says what it should be")
        try:
            connection = _Connection.connect(_conninfo(self._dsn), autocommit=True)
            synchronous = _last_rows(connection, _SESSION)[0][0]
        except psycopg.Error as error:
            raise _ours(error, lost=True) from error
        if synchronous == "off":
            connection.close()
            raise LinkLostError(
                "synchronous_commit is off: a crash of the database would lose what was answered 200",
                remedy="set it to on for the user of spool.dsn: ALTER ROLE ... SET synchronous_commit = on",
            )
        return connection

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
            raise LinkLostError("not connected to the database", remedy=_UNAVAILABLE_REMEDY)
        try:
            return _last_rows(connection, statement, bindings)
        except psycopg.Error as error:
            lost = connection.closed or connection.broken or isinstance(error, _LOST)
            if lost:
                self.close()
            raise _ours(error, lost=lost) from error

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
            raise LinkLostError("not connected to the database", remedy=_UNAVAILABLE_REMEDY)
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


def _last_rows(
    connection: _Connection, statement: str, bindings: Mapping[str, object] | None = None
) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement.encode(), bindings)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


_LOST: Final = (
    errors._WaitTimeout,  # noqa: SLF001 - the deadline above has no other name
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
)
"""Errors after which the connection is of no use: its server is going, hangs, or is no primary any more."""


_CONTENDED: Final = (
    errors.DuplicateTable,
    errors.DuplicateObject,
    errors.UniqueViolation,
    errors.DeadlockDetected,
    errors.SerializationFailure,
)
"""Errors after which the same transaction may do better."""


def _conninfo(dsn: Secret) -> str:
    text = dsn.reveal().decode()
    return make_conninfo(text, **{key: _DEFAULTS[key] for key in _DEFAULTS.keys() - conninfo_to_dict(text)})


def check_dsn(dsn: Secret) -> str:
    """Return what is wrong with a DSN, not telling what it says; empty where it can be read."""
    try:
        text = dsn.reveal().decode()
        conninfo_to_dict(text)
        if _SPLIT_PASSWORD.match(text):
            # What follows the sign would be taken for the host, and told wherever that is told.
            return "has an unescaped @ or / in its user or password: write %40, %2F"
    except (psycopg.Error, UnicodeDecodeError):
        return "is not a connection string of PostgreSQL"
    return ""


def place_of(dsn: Secret) -> str:
    """Name the server and the database of a DSN, without its secrets."""
    if check_dsn(dsn):
        return "the database"
    parts = conninfo_to_dict(dsn.reveal().decode())
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{parts.get('dbname') or 'the database'} on {host}{port}"


def _ours(error: psycopg.Error, *, lost: bool) -> GatewayError:
    """Return our error for one of psycopg's. Its words may quote a DSN only where that could not be read."""
    state = error.sqlstate or ""
    # The first line; what follows (DETAIL, CONTEXT) may quote rows.
    words = (str(error).splitlines() or [type(error).__name__])[0]
    if state in _BROKEN:
        return SpoolBrokenError(f"{_BROKEN[state]}: {words} ({state})", remedy=_BROKEN_REMEDY)
    text, remedy = _REMEDIES.get(state, ("", _UNAVAILABLE_REMEDY))
    if isinstance(error, errors._WaitTimeout):  # noqa: SLF001 - as above
        return LinkHungError(
            f"the database: no answer within {STATEMENT_SECONDS:g} s", remedy=_UNAVAILABLE_REMEDY
        )
    if isinstance(error, _CONTENDED):
        return ContendedError(f"the database: {words} ({state})", remedy=remedy)
    kind = LinkLostError if lost else SpoolUnavailableError
    where = f" ({state})" if state else ""
    return kind(f"the database: {text or words}{where}", remedy=remedy)


def arrays(rows: Sequence[Sequence[object]], *names: str) -> dict[str, object]:
    """Return columns by name, as the arrays that a statement unfolds: see `array`."""
    return {name: array([row[index] for row in rows]) for index, name in enumerate(names)}


def array(values: list[Any]) -> object:
    """Return a column of one type as PostgreSQL writes an array; bytes as they are.

    psycopg does it item by item, each quoted by a regular expression: a quarter of the CPU of a batch.
    """
    if not values or isinstance(values[0], bytes):
        return values
    if None in values:
        return f"{{{','.join(map(_item, values))}}}"
    if not isinstance(values[0], str):
        return f"{{{','.join(map(str, values))}}}"
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') > 2 * (len(values) - 1):
        return f"{{{','.join(map(_item, values))}}}"
    return f'{{"{joined}"}}'


def _item(value: object) -> str:
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
