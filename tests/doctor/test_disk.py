"""The disk below the spool, on real directories."""

import os
from pathlib import Path

from gateway.doctor.disk import SYNCS, find_holder, look_at_disk
from gateway.spool.lock import DirectoryLock


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in directory.rglob("*")}


def test_a_durable_write_is_timed_beside_the_spool_and_nothing_is_left(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "spool.sqlite").write_bytes(b"not to be touched")
    before = tree(tmp_path)
    disk = look_at_disk(spool, min_free_bytes=1)
    assert tree(tmp_path) == before
    assert 1 <= len(disk.fsync_seconds) <= SYNCS
    assert all(seconds > 0 for seconds in disk.fsync_seconds)
    assert (disk.exists, disk.writable, disk.owner, disk.fault) == (True, True, "", "")
    assert 0 < disk.free_bytes < os.statvfs(spool).f_blocks * os.statvfs(spool).f_frsize


def test_a_spool_that_is_not_there_yet_is_judged_by_what_is_above_it(tmp_path: Path) -> None:
    disk = look_at_disk(tmp_path / "var" / "spool", min_free_bytes=1)
    assert not disk.exists
    assert disk.writable
    assert disk.fsync_seconds
    assert list(tmp_path.iterdir()) == []


def test_the_file_system_is_the_kernels_name_of_the_nearest_mount(tmp_path: Path) -> None:
    assert look_at_disk(Path("/proc/self"), min_free_bytes=1).file_system == "proc"
    assert look_at_disk(tmp_path, min_free_bytes=1).file_system not in {"", "proc"}


def test_a_read_only_place_is_not_writable_and_was_not_measured() -> None:
    disk = look_at_disk(Path("/proc/self/spool"), min_free_bytes=1)
    assert disk.fsync_seconds == ()
    assert disk.fault


def test_who_holds_the_spool_is_seen_without_trying_the_lock(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    assert find_holder(spool) is None
    with DirectoryLock(spool):
        assert find_holder(spool) == os.getpid()
        assert look_at_disk(spool, min_free_bytes=1).holder == os.getpid()
    assert (spool / "holder").exists()
    assert find_holder(spool) is None
    with DirectoryLock(tmp_path / "another"):  # held by this process too, and not the one asked for
        assert find_holder(spool) is None
