"""The spool of a gateway that does not run: the files of all workers (`listen.workers`), with the lock.

Commands that work on the spool themselves do it here, all with the same look: what waits may lie in the file
of any worker, of those that `listen.workers` no longer asks for, too.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from gateway.cli.state_owner import refuse_another_user
from gateway.clock import unix_ms

if TYPE_CHECKING:
    from gateway.settings.model import Settings
    from gateway.spool.contract import Spool


@asynccontextmanager
async def open_stopped_spool(settings: "Settings") -> AsyncIterator[dict[int, "Spool"]]:
    """Hold the spool directory, and open every file there is: by the number of its worker, 0 always first.

    Raises:
        UsageError: it belongs to another user.
        SpoolLockedError, SpoolUnavailableError, SpoolBrokenError: as `open_sqlite_spool`.
    """
    from gateway.spool.lock import DirectoryLock
    from gateway.spool.sqlite import SqliteOptions, open_worker_spool, workers_with_files
    from gateway.telemetry.metrics import Metrics

    directory, options = settings.spool.directory, SqliteOptions.of(settings.spool)
    refuse_another_user(directory)
    with DirectoryLock(directory):
        async with AsyncExitStack() as files:
            yield {
                number: await files.enter_async_context(
                    open_worker_spool(directory, number, options, metrics=Metrics(), now_ms=unix_ms)
                )
                for number in sorted({0, *workers_with_files(directory)})
            }
