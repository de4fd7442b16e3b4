"""Whether there is room: looked up once a second, and what a failed write does to it."""

from pathlib import Path

import pytest

from gateway.spool.room import FAILURE_SECONDS, LOOK_SECONDS, DiskRoom


class Clock:
    """Monotonic time, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_free_space_against_the_mark(tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, 0).now()
    assert room.enough
    assert room.writable
    assert room.detail == ""
    assert 0 < room.free_bytes <= room.total_bytes
    room = DiskRoom(tmp_path, 1 << 62).now()
    assert not room.enough
    assert room.writable
    assert "bytes are free" in room.detail


def test_the_disk_is_looked_at_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    room = DiskRoom(tmp_path / "spool", 0, monotonic=clock)
    assert not room.now().writable
    (tmp_path / "spool").mkdir()
    clock.now += LOOK_SECONDS - 0.01
    assert "cannot be looked at" in room.now().detail
    clock.now += 0.01
    assert room.now().writable


def test_a_failed_write_counts_for_a_while_or_until_one_succeeds(tmp_path: Path) -> None:
    clock = Clock()
    room = DiskRoom(tmp_path, 0, monotonic=clock)
    assert room.write_failed("the disk is full")
    assert room.now().detail == "the disk is full"
    assert not room.now().writable
    clock.now += FAILURE_SECONDS - 0.01
    assert not room.now().writable
    assert not room.write_failed("still full")
    clock.now += FAILURE_SECONDS
    assert room.now().writable
    assert room.write_failed("full again")
    room.write_succeeded()
    assert room.now().writable


def test_a_disk_that_failed_for_good_stays_so(tmp_path: Path) -> None:
    clock = Clock()
    room = DiskRoom(tmp_path, 0, monotonic=clock)
    room.failed_for_good("EIO")
    clock.now += 10 * FAILURE_SECONDS
    room.write_succeeded()
    assert not room.now().writable
    assert room.now().detail == "EIO"
