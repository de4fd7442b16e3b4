"""What the tests of the spool share: notifications, an opening, and a disk that fails on demand."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from gateway.core.lanes import Lane
from gateway.core.signature import VerifiedBody, sign, verify_signature
from gateway.spool.contract import NewDelivery, Notification
from gateway.spool.history import AttemptRecord
from gateway.spool.sqlite import SqliteOptions, SqliteSpool, open_sqlite_spool
from gateway.telemetry.metrics import Metrics

SECRET = b"secret"
NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
_numbers = itertools.count(1)


def body(raw: bytes, app: str = "main") -> VerifiedBody:
    """Return bytes with a good signature."""
    verified = verify_signature(
        app=app, raw=raw, header_values=[sign(SECRET, raw).encode()], secrets=[SECRET]
    )
    assert isinstance(verified, VerifiedBody)
    return verified


def note(
    raw: bytes | None = None,
    *,
    targets: tuple[str, ...] = ("support",),
    at_ms: int = NOW_MS,
    app: str = "main",
    selection: tuple[int, ...] | None = None,
    changes: int = 1,
    object_: str | None = None,
    lane: Lane = Lane.NORMAL,
    order_keys: tuple[int, ...] = (),
) -> Notification:
    """Return a notification; its deliveries are called after it and their target."""
    number = next(_numbers)
    id_ = f"{number:032x}"
    return Notification(
        id=id_,
        received_at_ms=at_ms,
        body=body(f"body {number}".encode() if raw is None else raw, app),
        deliveries=tuple(
            NewDelivery(
                id=f"{id_}.{target}",
                target=target,
                selection=selection,
                changes=changes,
                lane=lane,
                order_keys=order_keys,
            )
            for target in targets
        ),
        object=object_,
    )


def record(number: int, *, at_ms: int = NOW_MS, status: int | None = 503) -> AttemptRecord:
    """Return the record of a failed attempt."""
    return AttemptRecord(
        number=number,
        at_ms=at_ms,
        status=status,
        error="" if status else "connection refused",
        duration_ms=12,
        response_excerpt="busy" if status else "",
    )


def in_an_hour(attempt: int) -> int:
    """Give the time of the attempt after this one."""
    return NOW_MS + HOUR_MS + attempt


def now_ms() -> int:
    """Stand still."""
    return NOW_MS


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    window_seconds: float = 3600.0,
    duplicates_max: int = 10_000,
    vfs: str | None = None,
    metrics: Metrics | None = None,
    max_queued_requests: int = 8192,
    max_queued_bytes: int = 64 * 1024**2,
    keep_seconds: float = 0.0,
    min_free_bytes: int = 0,
    clock: Callable[[], int] = now_ms,
) -> AsyncIterator[SqliteSpool]:
    """Open a SQLite spool."""
    options = SqliteOptions(
        duplicates_window_seconds=window_seconds,
        duplicates_max=duplicates_max,
        min_free_bytes=min_free_bytes,
        keep_delivered_seconds=keep_seconds,
        max_queued_requests=max_queued_requests,
        max_queued_bytes=max_queued_bytes,
    )
    async with open_sqlite_spool(
        directory, options, metrics=metrics or Metrics(), now_ms=clock, vfs=vfs
    ) as spool:
        yield spool


@dataclass
class Disk:
    """A disk whose writes and syncs fail once told to; it counts what is asked of it."""

    name: str
    failing: frozenset[str] = frozenset()
    """Of "write" and "sync": what fails."""
    error: int = apsw.SQLITE_IOERR
    fail_file: str = ""
    """Name of the only file that fails; empty: all."""
    while_syncing: Callable[[], object] = field(default=lambda: None)
    calls: list[str] = field(default_factory=list)

    def asked(self, what: str, file: str) -> None:
        """Count, and fail if it is time to."""
        self.calls.append(what)
        if what == "sync":
            self.while_syncing()
        if what in self.failing and self.fail_file in ("", file):
            raise apsw.exception_for(self.error)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "").name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.asked("write", self._name)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.asked("sync", self._name)
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.asked("write", self._name)
        super().xTruncate(newsize)


class _Disks(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self._disk, name, flags)


@contextmanager
def disk() -> Iterator[Disk]:
    """Give a disk, for as long as a spool stands on it."""
    made = Disk(name=f"disk-{next(_numbers)}")
    disks = _Disks(made)
    try:
        yield made
    finally:
        disks.unregister()
