"""Opening and closing one spool file; the boundary at which the errors of apsw become ours.

A new file is built under a temporary name, closed, synced and renamed: so an existing file that is empty, or
that has a log (WAL) but no main file, is damage and never taken for a fresh start.
"""

import os
import time
from pathlib import Path

import apsw

from gateway.errors import GatewayError, SpoolBrokenError, SpoolLockedError, SpoolUnavailableError
from gateway.private_file import sync_directory
from gateway.spool.lock import FILE_MODE, make_directory
from gateway.spool.log_frames import commits_behind
from gateway.spool.sql import MIGRATIONS, SCHEMA

FILE_NAME = "spool.sqlite"
SCHEMA_VERSION = 9
FIRST_SCHEMA_VERSION = 1
APPLICATION_ID = 0x4D574753
"""ASCII "MWGS"."""
PAGE_BYTES = 4096
"""SQLite's default, which none of our files has left; larger ones are multiples of it."""
PROBE_SECONDS = 0.5
"""How long `quick_check` may read at open: enough for some hundred MiB; of a larger file it sees a part. A
restart delivers the sooner."""
PROBE_STEPS = 10_000
"""Virtual machine steps between two looks at the clock, well under a millisecond each."""
STATEMENTS_KEPT = 256
"""Prepared statements: each of ours, and those with rows of their own in ten sizes."""
CACHE_KIB = 32 * 1024
"""Page cache: holds the inner pages of every tree at 20 million keys."""

_PERSISTENT: dict[str, str | int] = {"auto_vacuum": 2}
_OF_CONNECTION: dict[str, str | int] = {"locking_mode": "exclusive", "journal_mode": "wal", "synchronous": 2}
"""Read back after they are set. Exclusive: no second opener by way of another program, and no shared memory
file, whose growth on a full disk would be a SIGBUS."""

_MEANING: dict[type[apsw.Error], tuple[type[GatewayError], str]] = {
    apsw.FullError: (SpoolUnavailableError, "the disk is full"),
    apsw.NoMemError: (SpoolUnavailableError, "memory is exhausted"),
    apsw.BusyError: (SpoolLockedError, "another program has the spool file open"),
    apsw.LockedError: (SpoolLockedError, "another program has the spool file open"),
    apsw.CorruptError: (SpoolBrokenError, "the spool file is damaged"),
    apsw.NotADBError: (SpoolBrokenError, "the spool file is damaged: it is not a database"),
    apsw.IOError: (SpoolBrokenError, "the disk failed"),
}
_REMEDY = {
    SpoolUnavailableError: "free some space; nothing has to be restarted",
    SpoolLockedError: "close that program",
    SpoolBrokenError: "check the disk, keep a copy of the spool directory, then restore it or set it aside",
}


def translate(error: apsw.Error, file: Path) -> GatewayError:
    """Return our error for one of apsw's."""
    kind, text = _MEANING.get(type(error), (SpoolBrokenError, "the database failed"))
    code = getattr(error, "extendedresult", 0)
    return kind(f"{text}: {file}: {error} (SQLite {code})", remedy=_REMEDY[kind])


def damaged(file: Path, what: str) -> SpoolBrokenError:
    """Return the error for a file that is not as it was left."""
    return SpoolBrokenError(f"the spool file is damaged: {file}: {what}", remedy=_REMEDY[SpoolBrokenError])


def wal_of(file: Path) -> Path:
    """Return the path of a file's log."""
    return file.with_name(file.name + "-wal")


def open_database(directory: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open the spool file of a directory, created if there is none; the caller holds the lock.

    Raises:
        SpoolUnavailableError: it cannot be created, or not written.
        SpoolLockedError: another program has the file open.
        SpoolBrokenError: it is damaged, of another program, or of a newer version; it has not been touched.
    """
    file = directory / FILE_NAME
    try:
        make_directory(directory)
        if not file.exists():
            _create(file, vfs)
        if file.stat().st_size == 0:
            raise damaged(file, "it is empty")
        if not os.access(file, os.W_OK) or not os.access(directory, os.W_OK):
            raise SpoolUnavailableError(
                f"{file} cannot be written", remedy="let the gateway's user write there"
            )
    except OSError as error:
        raise SpoolUnavailableError(
            f"{file} cannot be opened: {error.strerror}", remedy="let the gateway's user read and write there"
        ) from error
    except apsw.Error as error:
        raise translate(error, file) from error
    return _open(file, vfs)


def _check_length(file: Path) -> None:
    """See that a file ends with a whole page. SQLite would take what is missing of the last one for zeros."""
    wal = wal_of(file)
    if wal.exists() and wal.stat().st_size:
        return  # a checkpoint may have been cut off in the middle of a page, which the log has
    if (size := file.stat().st_size) % PAGE_BYTES:
        raise damaged(file, f"it is cut short: {size} bytes are not whole pages of {PAGE_BYTES}")


def close_database(connection: apsw.Connection, *, clean: bool) -> None:
    """Close; where the spool is sound, after a checkpoint. A failed one must not write another byte."""
    if clean:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    connection.close(force=True)


def _create(file: Path, vfs: str | None) -> None:
    wal = wal_of(file)
    if wal.exists() and wal.stat().st_size:
        raise damaged(file, f"it is missing, but {wal.name} is there")
    new = file.with_name("new-" + file.name)
    for leftover in (new, wal_of(new)):
        leftover.unlink(missing_ok=True)
    # SQLite gives its log the mode of the main file.
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    connection = apsw.Connection(str(new), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    try:
        _configure(connection, new, {**_PERSISTENT, **_OF_CONNECTION})
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SCHEMA)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", SCHEMA_VERSION)
        connection.execute("COMMIT")
    except BaseException:
        close_database(connection, clean=False)
        raise
    close_database(connection, clean=True)
    new.rename(file)
    sync_directory(file.parent)


def _open(file: Path, vfs: str | None) -> apsw.Connection:
    try:
        connection = apsw.Connection(
            str(file), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs, statementcachesize=STATEMENTS_KEPT
        )
    except apsw.Error as error:
        raise translate(error, file) from error
    try:
        # Before anything else: whatever goes wrong from here on, closing writes nothing.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.pragma("locking_mode", "exclusive")
        _recognise(connection, file)
        _check_length(file)
        _configure(connection, file, _OF_CONNECTION)
        connection.pragma("cache_size", -CACHE_KIB)
        connection.pragma("foreign_keys", "off")
        # Else SQLite plans a statement anew when what is bound to a limit or a range differs from the last
        # time: a tenth of the writer's instructions, for nothing, since there are no statistics (ANALYZE).
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.wal_autocheckpoint(0)
        _check_log(connection, file)
        _probe(connection, file)
        _migrate(connection)
    except apsw.Error as error:
        close_database(connection, clean=False)
        raise translate(error, file) from error
    except BaseException:
        close_database(connection, clean=False)
        raise
    return connection


def _recognise(connection: apsw.Connection, file: Path) -> None:
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    if application != APPLICATION_ID:
        raise SpoolBrokenError(
            f"{file} is not a spool of this gateway", remedy="set it aside, or choose another spool.directory"
        )
    if version > SCHEMA_VERSION:
        raise SpoolBrokenError(
            f"{file} was written by a newer gateway (schema {version}; this one knows {SCHEMA_VERSION})",
            remedy="run that version, or drain the spool with it first",
        )
    if version < FIRST_SCHEMA_VERSION:
        raise damaged(file, f"there has never been a schema {version}")
    if connection.pragma("auto_vacuum") != _PERSISTENT["auto_vacuum"]:
        raise damaged(file, "auto_vacuum is not incremental")


def _migrate(connection: apsw.Connection) -> None:
    """Bring the file of an older gateway up to date: whole, or not at all."""
    version = connection.pragma("user_version")
    if version == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for step in range(version + 1, SCHEMA_VERSION + 1):
        connection.execute(MIGRATIONS[f"to_{step}"])
    connection.pragma("user_version", SCHEMA_VERSION)
    connection.execute("COMMIT")


def _configure(connection: apsw.Connection, file: Path, pragmas: dict[str, str | int]) -> None:
    for name, value in pragmas.items():
        connection.pragma(name, value)
        found = connection.pragma(name)
        if found != value:
            raise SpoolUnavailableError(
                f"{file}: SQLite does not take {name} = {value} (it says {found})",
                remedy="keep the spool on a local file system",
            )


def _check_log(connection: apsw.Connection, file: Path) -> None:
    """Look for commits behind the place where SQLite stops to read the log.

    Each commit is synced before the next begins, so that a power failure leaves parts of one. Several of them
    mean that the log was damaged before them; SQLite would go on without a word, and write over them.
    """
    good, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    lost = commits_behind(wal_of(file), good, page_bytes=connection.pragma("page_size"))
    if lost > 1:
        raise damaged(file, f"its log is not as it was written; {lost} commits follow on the damage")


def _probe(connection: apsw.Connection, file: Path) -> None:
    """Look for damage in the structure, for a bounded time (a body is checked at its lease)."""
    deadline = time.monotonic() + PROBE_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, PROBE_STEPS)
    try:
        found = connection.pragma("quick_check", 1)
    except apsw.InterruptError:
        found = "ok"
    finally:
        connection.set_progress_handler(None)
    if found != "ok":
        raise damaged(file, str(found))
