"""The spool of a gateway that does not run: the files of all workers (`listen.workers`), with the lock.

Commands that work on the spool themselves do it here, all with the same look: what waits may lie in the file
of any worker, of those that `listen.workers` no longer asks for, too.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from gateway.cli.output import err
from gateway.cli.state_owner import refuse_another_user
from gateway.clock import unix_ms

if TYPE_CHECKING:
    from gateway.settings.model import Settings
    from gateway.settings.model import Spool as SpoolSettings
    from gateway.spool.contract import Spool


def spool_with_dsn(settings: "SpoolSettings") -> "SpoolSettings":
    """Return the settings of the spool with the only secret among them, where they were loaded without.

    Raises:
        UsageError: it is not to be had.
    """
    from gateway.settings.secret import read_again

    if settings.dsn is None or settings.engine != "postgresql":
        return settings
    return settings.model_copy(update={"dsn": read_again(settings.dsn, os.environ)})


@asynccontextmanager
async def open_stopped_spool(settings: "Settings") -> AsyncIterator[dict[int, "Spool"]]:
    """Hold the spool directory, and open every file there is: by the number of its worker, 0 always first.

    Raises:
        UsageError: it belongs to another user.
        SpoolLockedError, SpoolUnavailableError, SpoolBrokenError: as `open_spool`.
    """
    from gateway.spool.lock import DirectoryLock
    from gateway.spool.opening import SOLE_WORKER, files_of_workers, is_shared, open_locked_spool
    from gateway.spool.succession import left_behind
    from gateway.telemetry.log import configure_logging
    from gateway.telemetry.metrics import Metrics

    spool = spool_with_dsn(settings.spool)
    if is_shared(spool):
        # What a command prints is its result; what the connections have to say is the gateway's log's.
        configure_logging(level="error", json=False)
    directory = spool.directory
    refuse_another_user(directory)
    if left := left_behind(spool):
        err(f"remark: {left.message}; {left.remedy}")
    with DirectoryLock(directory):
        async with AsyncExitStack() as files:
            yield {
                number: await files.enter_async_context(
                    open_locked_spool(spool, number, metrics=Metrics(), now_ms=unix_ms)
                )
                for number in sorted({SOLE_WORKER, *files_of_workers(spool)})
            }
