"""The schema of a spool brought up to date, whichever engine it has: what `gateway spool migrate` does."""

from dataclasses import dataclass
from pathlib import Path

from gateway.settings.model import Spool as SpoolSettings
from gateway.spool.database import FILE_NAME, SCHEMA_VERSION, close_database, open_database
from gateway.spool.lock import DirectoryLock
from gateway.spool.opening import is_shared, not_installed
from gateway.spool.sqlite import workers_with_files

_VERSION_AT = 60
"""SQLite, "Database File Format", 1.3: the user version, four bytes, big-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What became of one database."""

    place: str
    before: int
    """Its schema; 0: there was none."""
    after: int
    steps: tuple[str, ...]
    """What was done, or would be."""


def migrate_spool(settings: SpoolSettings, *, dry_run: bool = False) -> tuple[Migrated, ...]:
    """Bring every database of the spool up to date, each in one transaction.

    Raises:
        GatewayError: it is in use (SQLite), cannot be reached, or is of a newer version.
    """
    return _migrate_shared(settings, dry_run) if is_shared(settings) else _migrate_files(settings, dry_run)


def _migrate_shared(settings: SpoolSettings, dry_run: bool) -> tuple[Migrated, ...]:
    try:
        from gateway.spool.postgresql.dsn import place_of
        from gateway.spool.postgresql.migrations import LATEST, migrate
    except ImportError as error:
        raise not_installed(error) from error
    if settings.dsn is None:
        raise TypeError("spool.engine is postgresql, and there is no spool.dsn")
    before, steps = migrate(settings.dsn, dry_run=dry_run)
    return (
        Migrated(
            place=place_of(settings.dsn),
            before=before,
            after=LATEST,
            steps=tuple(f"{step.version} ({step.name})" for step in steps),
        ),
    )


def _migrate_files(settings: SpoolSettings, dry_run: bool) -> tuple[Migrated, ...]:
    found = []
    if not settings.directory.exists():
        return ()
    with DirectoryLock(settings.directory):
        for worker in workers_with_files(settings.directory):
            directory = settings.directory / str(worker)
            before = _schema_of(directory / FILE_NAME)
            if not dry_run:
                close_database(open_database(directory), clean=True)
            found.append(
                Migrated(
                    place=str(directory / FILE_NAME),
                    before=before,
                    after=SCHEMA_VERSION,
                    steps=tuple(str(step) for step in range(before + 1, SCHEMA_VERSION + 1)),
                )
            )
    return tuple(found)


def _schema_of(file: Path) -> int:
    with file.open("rb") as opened:
        opened.seek(_VERSION_AT)
        return int.from_bytes(opened.read(4), "big")
