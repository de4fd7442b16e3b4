"""The file of an older gateway opens, with everything that is in it."""

import zlib
from pathlib import Path

import apsw
import pytest

from gateway.core.merging import Merging
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Appended, Done
from gateway.spool.database import APPLICATION_ID, FILE_NAME, SCHEMA_VERSION, open_database
from gateway.spool.history import INTERRUPTED
from tests.spool.rig import NOW_MS, disk, in_an_hour, note, opened, record

SCHEMA_1 = (Path(__file__).parent / "schema_1.sql").read_text()


def write_schema_1(directory: Path) -> Path:
    """Make a file as the gateway with schema 1 left it: new, retried and interrupted deliveries."""
    (directory / "0").mkdir(parents=True)
    file = directory / "0" / FILE_NAME
    connection = apsw.Connection(str(file))
    connection.pragma("auto_vacuum", 2)
    connection.pragma("journal_mode", "wal")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(SCHEMA_1)
    for seq in (1, 2, 3):
        raw = b"body %d" % seq
        connection.execute(
            "INSERT INTO notification VALUES (?, ?, 'main', ?, ?, 1)",
            (seq, f"{seq:032x}", NOW_MS + seq, zlib.crc32(raw)),
        )
        connection.execute("INSERT INTO body VALUES (?, ?)", (seq, raw))
    rows: list[tuple[int, str | None, int, int, int | None]] = [
        (1, None, 0, 0, None),
        (2, "0,3", NOW_MS, 1, None),
        (3, None, NOW_MS, 1, NOW_MS - 9),
    ]
    for seq, selection, due_ms, attempt, attempt_at_ms in rows:
        connection.execute(
            "INSERT INTO delivery VALUES ('support', ?1, ?2, 0, ?3, ?4, ?1, ?5, ?6, ?7)",
            (NOW_MS + seq, seq, f"d{seq}", selection, due_ms, attempt, attempt_at_ms),
        )
    connection.execute("INSERT INTO attempt VALUES (2, 0, 1, ?, 503, '', 12, 'busy')", (NOW_MS,))
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", 1)
    connection.execute("COMMIT")
    connection.close()
    return file


def shape(connection: apsw.Connection) -> dict[str, set[tuple[object, ...]]]:
    """Return the columns of every table, and the indexes and triggers."""
    names = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    ]
    tables = {
        name: {tuple(column[1:]) for column in connection.execute(f"PRAGMA table_info({name})")}
        for name in names
    }
    rest = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger')")
    return {**tables, "": set(rest)}


async def test_what_an_older_gateway_stored_is_delivered(tmp_path: Path) -> None:
    write_schema_1(tmp_path)
    async with opened(tmp_path) as spool:
        assert spool.pending() == {"support": 3}
        leases = await spool.lease(
            "support", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour, merging=Merging(max_changes=100)
        )
        assert [(lease.raw, lease.selection, lease.attempt) for lease in leases] == [
            (b"body 1", None, 1),
            (b"body 2", (0, 3), 2),
            (b"body 3", None, 2),
        ]
        assert [lease.earlier for lease in leases[:2]] == [(), (record(1),)]
        assert leases[2].earlier[0].error == INTERRUPTED
        assert [lease.group for lease in leases] == [None] * 3
        assert await spool.settle_together([(lease, Done()) for lease in leases])
        for _ in range(2):
            assert await spool.append(note(object_="page")) is Appended.STORED
        new = await spool.lease(
            "support", now_ms=NOW_MS, limit=9, next_due_ms=in_an_hour, merging=Merging(max_changes=100)
        )
        assert new[0].group == new[1].group is not None


def test_an_old_file_and_a_new_one_have_the_same_shape(tmp_path: Path) -> None:
    write_schema_1(tmp_path / "old")
    old, new = open_database(tmp_path / "old" / "0"), open_database(tmp_path / "new" / "0")
    assert old.pragma("user_version") == new.pragma("user_version") == SCHEMA_VERSION
    assert shape(old) == shape(new)
    assert old.pragma("integrity_check") == "ok"
    old.close()
    new.close()


async def test_without_room_for_the_step_the_file_stays_as_it_was(tmp_path: Path) -> None:
    file = write_schema_1(tmp_path)
    with disk() as full:
        full.error, full.failing = apsw.SQLITE_FULL, frozenset({"write"})
        with pytest.raises(SpoolUnavailableError):
            async with opened(tmp_path, vfs=full.name):
                pytest.fail("it was opened")
    connection = apsw.Connection(str(file))
    assert connection.pragma("user_version") == 1
    connection.close()
    async with opened(tmp_path) as spool:
        assert spool.pending() == {"support": 3}
