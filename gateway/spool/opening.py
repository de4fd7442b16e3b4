"""Which spool the settings ask for, opened: the one place where the engine is chosen."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import trio

from gateway.errors import UsageError
from gateway.settings.model import Spool as SpoolSettings
from gateway.spool.contract import Spool
from gateway.spool.exchange import Exchange
from gateway.spool.letters import LetterIndex
from gateway.spool.lock import DirectoryLock
from gateway.spool.sqlite import SqliteOptions, open_worker_spool, workers_with_files
from gateway.telemetry.metrics import Metrics

SOLE_WORKER = 0
"""The number of a worker that is alone."""


def is_shared(settings: SpoolSettings) -> bool:
    """Whether other gateways may have the spool open, too."""
    return settings.engine == "postgresql"


def place_of_spool(settings: SpoolSettings) -> str:
    """Name where the spool is, without secrets.

    Raises:
        UsageError: what the engine needs is not installed.
    """
    if settings.engine != "postgresql" or settings.dsn is None:
        return str(settings.directory)
    try:
        from gateway.spool.postgresql.dsn import place_of
    except ImportError as error:
        raise not_installed(error) from error
    return place_of(settings.dsn)


@asynccontextmanager
async def open_spool(
    settings: SpoolSettings, *, metrics: Metrics, now_ms: Callable[[], int]
) -> AsyncIterator[Spool]:
    """Lock the spool directory, which is this gateway's own with any engine, and open the spool.

    `now_ms` gives Unix time, from any thread.

    Raises:
        SpoolLockedError: another process holds the directory.
        SpoolUnavailableError: it cannot be opened now.
        SpoolBrokenError: it is damaged, foreign, or of a newer version.
        UsageError: what the engine needs is not installed.
    """
    with DirectoryLock(settings.directory):
        async with open_locked_spool(settings, SOLE_WORKER, metrics=metrics, now_ms=now_ms) as spool:
            yield spool


def open_locked_spool(
    settings: SpoolSettings, worker: int, *, metrics: Metrics, now_ms: Callable[[], int]
) -> AbstractAsyncContextManager[Spool]:
    """Open the spool of one worker; who calls holds the directory, or is the child of who does. Raises as
    `open_spool`."""
    if is_shared(settings):
        return _open_shared(settings, metrics=metrics, now_ms=now_ms)
    options = SqliteOptions.of(settings)
    return open_worker_spool(settings.directory, worker, options, metrics=metrics, now_ms=now_ms)


@asynccontextmanager
async def open_exchange(
    settings: SpoolSettings, *, is_visitor: bool = False
) -> AsyncIterator[Exchange | None]:
    """Take part in what the gateways on one database ask each other; None where the spool is nobody else's.

    `is_visitor`: only to ask, unseen. It does not wait for the database.

    Raises:
        UsageError: what the engine needs is not installed.
    """
    if not is_shared(settings) or settings.dsn is None:
        yield None
        return
    try:
        from gateway.spool.postgresql.exchange import open_exchange as open_shared
    except ImportError as error:
        raise not_installed(error) from error
    directory = await trio.to_thread.run_sync(settings.directory.absolute)
    async with open_shared(settings.dsn, directory, is_visitor=is_visitor) as exchange:
        yield exchange


def files_of_workers(settings: SpoolSettings) -> tuple[int, ...]:
    """Return the numbers of the workers with a file of their own; none where the spool is shared."""
    return () if is_shared(settings) else workers_with_files(settings.directory)


def _open_shared(
    settings: SpoolSettings, *, metrics: Metrics, now_ms: Callable[[], int]
) -> AbstractAsyncContextManager[Spool]:
    try:
        from gateway.spool.postgresql.spool import PostgresqlOptions, open_postgresql_spool
    except ImportError as error:
        raise not_installed(error) from error
    return open_postgresql_spool(PostgresqlOptions.of(settings), metrics=metrics, now_ms=now_ms)


@contextmanager
def open_letters(settings: SpoolSettings) -> Iterator[LetterIndex]:
    """Open the index of dead letters that gateways share, beside whoever has the spool open. For a command:
    it blocks.

    Raises:
        SpoolUnavailableError: it cannot be reached, or not worked with.
        UsageError: what the engine needs is not installed.
    """
    try:
        from gateway.spool.postgresql.letter_reading import letters_on
        from gateway.spool.postgresql.link import Link
    except ImportError as error:
        raise not_installed(error) from error
    if settings.dsn is None:
        raise TypeError("a spool that nobody shares has no index")
    link = Link(settings.dsn)
    try:
        yield letters_on(link, settings.dsn)
    finally:
        link.close()


def not_installed(error: ImportError) -> UsageError:
    """Return the error for an engine whose extra is not there."""
    return UsageError(
        f"spool.engine is postgresql, and its driver cannot be loaded ({error})",
        remedy="pip install 'meta-webhook-gateway[postgresql]'",
    )
