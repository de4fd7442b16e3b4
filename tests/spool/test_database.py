"""Opening: the settings of the file, and files that are not as they should be (promises 16 and 17)."""

import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import trio

from gateway.errors import SpoolBrokenError, SpoolLockedError, SpoolUnavailableError
from gateway.spool import database
from gateway.spool.contract import Appended
from gateway.spool.database import FILE_NAME, open_database, wal_of
from tests.spool.rig import NOW_MS, in_an_hour, note, opened

REPOSITORY = Path(__file__).parents[2]


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
        and file.name != "holder"
        and not (file.name.endswith("-wal") and not file.stat().st_size)
    }


async def filled(directory: Path, notifications: int = 200) -> Path:
    async with opened(directory) as spool:
        for number in range(notifications):
            await spool.append(note(b"%d" % number * 200))
    return directory / "0" / FILE_NAME


async def refused(directory: Path, error: type[Exception], match: str) -> None:
    """Hold an opening to its refusal, and to leaving every file as it was."""
    before = contents(directory)
    with pytest.raises(error, match=match):
        async with opened(directory):
            pytest.fail("it was opened")
    assert contents(directory) == before


def edit(file: Path, *statements: str) -> None:
    connection = apsw.Connection(str(file))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_the_file_is_set_up_as_promised(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "0")
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("locking_mode") == "exclusive"
    assert connection.pragma("auto_vacuum") == 2
    assert connection.pragma("user_version") == database.SCHEMA_VERSION
    assert connection.pragma("application_id") == database.APPLICATION_ID
    assert connection.pragma("wal_autocheckpoint") == 0
    connection.close()


def test_a_setting_that_does_not_hold_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database._OF_CONNECTION, "synchronous", 7)
    with pytest.raises(SpoolUnavailableError, match="does not take synchronous = 7"):
        open_database(tmp_path / "0")


async def test_only_the_owner_reads_and_writes(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with opened(tmp_path / "var" / "spool") as spool:
            await spool.append(note())
            for path in (tmp_path / "var").rglob("*"):
                wanted = 0o700 if path.is_dir() else 0o600
                assert stat.S_IMODE(path.stat().st_mode) == wanted, path
            assert wal_of(tmp_path / "var" / "spool" / "0" / FILE_NAME).exists()
    finally:
        os.umask(before)


async def test_a_clean_close_leaves_one_file(tmp_path: Path) -> None:
    file = await filled(tmp_path)
    assert [found.name for found in file.parent.iterdir()] == [FILE_NAME]


async def test_a_creation_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    for name in (f"new-{FILE_NAME}", f"new-{FILE_NAME}-wal"):
        (tmp_path / "0" / name).write_bytes(b"half of it")
    async with opened(tmp_path) as spool:
        assert await spool.append(note()) is Appended.STORED


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    file = await filled(tmp_path)
    edit(file, f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}")
    await refused(tmp_path, SpoolBrokenError, "written by a newer gateway.*run that version")


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    edit(tmp_path / "0" / FILE_NAME, "CREATE TABLE other (x)")
    await refused(tmp_path, SpoolBrokenError, "is not a spool of this gateway")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "emptied": (lambda file: os.truncate(file, 0), "it is empty"),
    "cut to one page": (lambda file: os.truncate(file, 4096), "damaged"),
    "cut in the middle of a page": (lambda file: os.truncate(file, 4096 * 3 + 100), "damaged"),
    "cut by a byte": (lambda file: os.truncate(file, file.stat().st_size - 1), "it is cut short"),
    "cut by a page": (lambda file: os.truncate(file, file.stat().st_size - 4096), "damaged"),
    "text": (lambda file: file.write_bytes(b"not a database\n" * 1000), "not a database"),
    "zeros": (
        lambda file: file.write_bytes(bytes(file.stat().st_size)),
        "damaged|not a spool|not a database",
    ),
    "inner pages of zeros": (lambda file: overwrite(file, 4096, bytes(4096 * 8)), "damaged"),
    "inner pages of noise": (lambda file: overwrite(file, 4096, b"\xa5" * 4096 * 8), "damaged"),
}


def overwrite(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as out:
        out.seek(offset)
        out.write(data)


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    damage, message = DAMAGE[kind]
    damage(await filled(tmp_path))
    await refused(tmp_path, SpoolBrokenError, message)


async def test_a_log_without_its_file_is_damage(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as spool:
        await spool.append(note())
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "0" / FILE_NAME).unlink()
    await refused(tmp_path / "b", SpoolBrokenError, "it is missing, but spool.sqlite-wal is there")


async def test_flipped_bytes_never_come_out_as_good_ones(tmp_path: Path) -> None:
    """Whatever byte is flipped: an error at open or at lease, or the bytes that were stored; never others."""
    file = await filled(tmp_path / "whole", 50)
    whole = file.read_bytes()
    good = {b"%d" % number * 200 for number in range(50)}
    chance = random.Random(5)
    found_out = 0
    for number in range(60):
        directory = tmp_path / f"flipped-{number}"
        (directory / "0").mkdir(parents=True)
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        (directory / "0" / FILE_NAME).write_bytes(flipped)
        try:
            async with opened(directory) as spool:
                leases = await spool.lease("support", now_ms=NOW_MS, limit=100, next_due_ms=in_an_hour)
                assert {lease.raw for lease in leases if not lease.damaged} <= good
        except SpoolBrokenError:
            found_out += 1
        shutil.rmtree(directory)
    assert found_out > 5


async def test_another_program_with_the_file_open_is_told_of(tmp_path: Path) -> None:
    file = await filled(tmp_path)
    other = apsw.Connection(str(file))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SpoolLockedError, match="another program has the spool file open"):
        async with opened(tmp_path):
            pytest.fail("it was opened")
    other.close()


READ_BODIES = """
import sqlite3, sys
sqlite3.connect(sys.argv[1], timeout=0).execute("SELECT * FROM body")
"""


async def test_while_open_no_other_program_gets_in(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await spool.append(note())
        other = await trio.run_process(
            [sys.executable, "-c", READ_BODIES, str(tmp_path / "0" / FILE_NAME)],
            capture_stderr=True,
            check=False,
        )
        assert other.returncode == 1
        assert b"locked" in other.stderr


READ_ONLY = """
import os, sys, trio
from pathlib import Path
from gateway.errors import SpoolUnavailableError
from tests.spool.rig import opened
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
async def main():
    try:
        async with opened(Path("spool")):
            print("opened")
    except SpoolUnavailableError as error:
        print(error)
trio.run(main)
"""


def open_without_privileges(directory: Path) -> str:
    other = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(directory)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert other.returncode == 0, other.stderr
    return other.stdout


def test_a_spool_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    trio.run(filled, tmp_path / "spool")
    paths = [tmp_path / "spool", tmp_path / "spool" / "0", tmp_path / "spool" / "0" / FILE_NAME]
    (tmp_path / "spool" / "holder").chmod(0o666)
    for path, mode in zip(paths, (0o555, 0o555, 0o444), strict=True):
        path.chmod(mode)
    tmp_path.chmod(0o755)
    before = contents(tmp_path)
    told = open_without_privileges(tmp_path)
    assert "spool/0/spool.sqlite cannot be written; let the gateway's user" in told
    assert contents(tmp_path) == before


def test_a_directory_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    told = open_without_privileges(tmp_path)
    tmp_path.chmod(0o700)
    assert told.startswith("the spool directory spool cannot be used: Permission denied")
    assert contents(tmp_path) == {}


def test_a_directory_of_somebody_else_is_told_of(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to somebody else")
    (tmp_path / "spool").mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    told = open_without_privileges(tmp_path)
    assert told.startswith("the spool directory spool cannot be written: Permission denied")
