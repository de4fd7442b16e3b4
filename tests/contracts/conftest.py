"""The spools that stand to the contract: how each is opened, opened again, filled up and broken."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import apsw
import pytest

from gateway.spool.contract import Notification, Spool
from gateway.spool.database import FILE_NAME
from gateway.spool.memory import open_memory_spool
from gateway.spool.memory_state import MemoryState
from tests.postgresql.rig import Database
from tests.postgresql.rig import opened as opened_shared
from tests.spool.rig import NOW_MS, Disk, disk, opened


class Stand(Protocol):
    """Where one spool stands. `open` a second time is a restart."""

    shared: bool
    """Whether others may have it open at the same time (31)."""

    def open(
        self,
        *,
        window_seconds: float = 3600.0,
        duplicates_max: int = 10_000,
        keep_seconds: float = 0.0,
        at_ms: int = NOW_MS,
    ) -> AbstractAsyncContextManager[Spool]: ...

    def fill(self) -> None:
        """From now on there is no room."""

    def empty(self) -> None:
        """There is room again."""

    def fail(self) -> None:
        """From now on the disk fails."""

    def damage(self, notification: Notification) -> bytes:
        """Flip a bit of its bytes, between two openings; return what they are now."""
        ...


class OnDisk:
    """SQLite, on a disk with faults."""

    shared = False

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk

    def open(
        self,
        *,
        window_seconds: float = 3600.0,
        duplicates_max: int = 10_000,
        keep_seconds: float = 0.0,
        at_ms: int = NOW_MS,
    ) -> AbstractAsyncContextManager[Spool]:
        return opened(
            self._directory,
            window_seconds=window_seconds,
            duplicates_max=duplicates_max,
            keep_seconds=keep_seconds,
            clock=lambda: at_ms,
            vfs=self._disk.name,
        )

    def fill(self) -> None:
        self._disk.error = apsw.SQLITE_FULL
        self._disk.failing = frozenset({"write"})

    def empty(self) -> None:
        self._disk.failing = frozenset()

    def fail(self) -> None:
        self._disk.error = apsw.SQLITE_IOERR_FSYNC
        self._disk.failing = frozenset({"sync"})

    def damage(self, notification: Notification) -> bytes:
        file = self._directory / "0" / FILE_NAME
        content, raw = file.read_bytes(), notification.body.raw
        assert content.count(raw) == 1
        file.write_bytes(content.replace(raw, flipped(raw)))
        return flipped(raw)


class InMemory:
    """The fake."""

    shared = False

    def __init__(self) -> None:
        self._state = MemoryState()

    @asynccontextmanager
    async def open(
        self,
        *,
        window_seconds: float = 3600.0,
        duplicates_max: int = 10_000,
        keep_seconds: float = 0.0,
        at_ms: int = NOW_MS,
    ) -> AsyncIterator[Spool]:
        async with open_memory_spool(
            self._state,
            duplicates_window_seconds=window_seconds,
            duplicates_max=duplicates_max,
            keep_delivered_seconds=keep_seconds,
            now_ms=lambda: at_ms,
        ) as spool:
            yield spool

    def fill(self) -> None:
        self._state.full = True

    def empty(self) -> None:
        self._state.full = False

    def fail(self) -> None:
        self._state.failing = True

    def damage(self, notification: Notification) -> bytes:
        self._state.damaged[notification.id] = flipped(notification.body.raw)
        return self._state.damaged[notification.id]


class OnServer:
    """PostgreSQL, a real server; what fails is made to fail by triggers."""

    shared = True
    _STORING = ("notification", "delivery", "pause")

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(
        self,
        *,
        window_seconds: float = 3600.0,
        duplicates_max: int = 10_000,
        keep_seconds: float = 0.0,
        at_ms: int = NOW_MS,
    ) -> AbstractAsyncContextManager[Spool]:
        self._database.set_clock(at_ms)
        return opened_shared(
            self._database,
            window_seconds=window_seconds,
            duplicates_max=duplicates_max,
            keep_seconds=keep_seconds,
            clock=lambda: at_ms,
        )

    def fill(self) -> None:
        self._database.refuse("53100", *self._STORING)

    def empty(self) -> None:
        self._database.allow(*self._STORING)

    def fail(self) -> None:
        self._database.refuse("58030", *self._STORING)

    def damage(self, notification: Notification) -> bytes:
        raw = flipped(notification.body.raw)
        self._database.sql(
            f"UPDATE body SET raw = '\\x{raw.hex()}'::bytea "  # noqa: S608 - of the test itself
            f"WHERE seq = (SELECT seq FROM notification WHERE id = '{notification.id}')"
        )
        return raw


def flipped(raw: bytes) -> bytes:
    """Return bytes with one bit turned over."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def _asked(request: pytest.FixtureRequest) -> Stand:
    found: Stand = request.getfixturevalue(f"_{request.param}")
    return found


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def stand(request: pytest.FixtureRequest) -> Stand:
    """Give each spool in turn."""
    return _asked(request)


@pytest.fixture(params=["sqlite", "memory"])
def sole_stand(request: pytest.FixtureRequest) -> Stand:
    """Give each spool that lets one opener in."""
    return _asked(request)


@pytest.fixture(params=["postgresql"])
def shared_stand(request: pytest.FixtureRequest) -> Stand:
    """Give each spool that replicas share."""
    return _asked(request)


@pytest.fixture
def _sqlite(tmp_path: Path) -> Iterator[Stand]:
    with disk() as made:
        yield OnDisk(tmp_path / "spool", made)


@pytest.fixture
def _memory() -> Stand:
    return InMemory()


@pytest.fixture
def _postgresql(database: Database) -> Stand:
    return OnServer(database)
