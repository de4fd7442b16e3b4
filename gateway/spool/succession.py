"""What lies in a spool directory, or in a database, of a gateway that ran on that directory with another
engine: nobody here delivers it. `check` tells it, the log, and `/readyz` for as long as the gateway runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import SpoolUnavailableError
from gateway.settings.model import Spool as SpoolSettings
from gateway.spool.lock import FILE_MODE

MARK: Final = "shared"
"""A file: who ran here last kept what waits in a database, and not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """What is there, and what to do about it."""

    message: str
    remedy: str


def left_behind(settings: SpoolSettings) -> LeftBehind | None:
    """Look at what a gateway with another engine has left; None also where this user may not look."""
    look = _left_in_files if _is_shared(settings) else _left_in_database
    try:
        return look(settings.directory)
    except OSError:  # nor could a gateway run there: others tell of that
        return None


def _is_shared(settings: SpoolSettings) -> bool:
    """As `gateway.spool.opening`, which loads an engine: `check` has no other use for it."""
    return settings.engine == "postgresql"


def _left_in_files(directory: Path) -> LeftBehind | None:
    from gateway.spool.sqlite import workers_with_files

    files = workers_with_files(directory)
    if not files:
        return None
    named = ", ".join(str(directory / str(number)) for number in files)
    return LeftBehind(
        message=f"engine sqlite has left its files in {named}: what waits there nobody delivers",
        remedy=f"stop the gateway and run: gateway spool move --from sqlite:{directory} --to postgresql",
    )


def _left_in_database(directory: Path) -> LeftBehind | None:
    if not (directory / MARK).exists():
        return None
    return LeftBehind(
        message=f"the gateway of {directory} ran with spool.engine postgresql: what waits in that database"
        " only gateways that use it deliver",
        remedy="where there is none any more, go back to postgresql until nothing waits (gateway status)",
    )


def succeed(settings: SpoolSettings) -> LeftBehind | None:
    """Look at what is left, and note whom a later gateway succeeds; who calls holds the directory.

    So what is left in a database is told by the first gateway after, and not by the next.

    Raises:
        SpoolUnavailableError: the directory cannot be written.
    """
    left, mark = left_behind(settings), settings.directory / MARK
    try:
        if _is_shared(settings):
            mark.touch(mode=FILE_MODE)
        else:
            mark.unlink(missing_ok=True)
    except OSError as error:
        raise SpoolUnavailableError(
            f"the spool directory {settings.directory} cannot be written: {error.strerror}",
            remedy="let the gateway's user write there",
        ) from error
    return left
