"""Carrying a SQLite spool over to PostgreSQL: what `gateway spool move` does.

Everything goes over: what waits and what is kept, attempts, groups, turns, pauses, and the keys of the
duplicates window. It may be interrupted and repeated. A file is set aside when the database has of it as many
notifications and deliveries as it holds, with the same sum of checksums, read back from there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import SpoolBrokenError
from gateway.settings.model import Spool as SpoolSettings
from gateway.spool.duplicates import Limits
from gateway.spool.leaving import LeavingFile, Sums
from gateway.spool.lock import DirectoryLock
from gateway.spool.opening import not_installed
from gateway.spool.sqlite import workers_with_files

if TYPE_CHECKING:
    from gateway.spool.postgresql.arrivals import Arrivals


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One file that is over."""

    file: Path
    aside: Path
    """What it is called now."""
    sums: Sums


def move_to_postgresql(
    directory: Path, settings: SpoolSettings, *, now_ms: Callable[[], int], progress: Callable[[int], None]
) -> tuple[Moved, ...]:
    """Carry over every file of a spool directory. `progress` is told how many notifications have gone.

    Raises:
        GatewayError: the directory is in use, or one of the two databases cannot be worked with; what has
            gone is noted, and the next call goes on there.
    """
    try:
        from gateway.spool.postgresql.arrivals import Arrivals
    except ImportError as error:
        raise not_installed(error) from error
    if settings.dsn is None:
        raise TypeError("there is no spool.dsn")
    limits = Limits(
        window_ms=round(settings.duplicates_window_seconds * 1000), max_keys=settings.duplicates_max
    )
    with DirectoryLock(directory):
        arrivals = Arrivals(settings.dsn)
        try:
            return tuple(
                _move(LeavingFile(directory / str(worker)), arrivals, limits, now_ms, progress)
                for worker in workers_with_files(directory)
            )
        finally:
            arrivals.close()


def _move(
    leaving: LeavingFile,
    arrivals: "Arrivals",
    limits: Limits,
    now_ms: Callable[[], int],
    progress: Callable[[int], None],
) -> Moved:
    try:
        wanted = leaving.sums()
        # Keys first: what Meta repeats meanwhile is known there.
        for digests in leaving.keys() if limits.enabled else ():
            arrivals.take_keys(digests, limits=limits, now_ms=now_ms())
        arrivals.take_pauses(leaving.pauses)
        after, _ = arrivals.so_far(leaving.mark)
        for page in leaving.pages(after):
            arrivals.take(leaving.mark, page, now_ms=now_ms())
            progress(len(page.notifications))
        _demand_all(leaving.file, wanted, arrivals.so_far(leaving.mark)[1])
    except BaseException:
        leaving.close()
        raise
    return Moved(file=leaving.file, aside=leaving.set_aside(), sums=wanted)


def _demand_all(file: Path, wanted: Sums, came: Sums) -> None:
    if came != wanted:
        raise SpoolBrokenError(
            f"{file} holds {wanted}, and {came} have come",
            remedy="keep the file, and report it: nothing of it has been removed",
        )
