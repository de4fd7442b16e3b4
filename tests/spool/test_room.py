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
    assert room.free_bytes is not None
    assert 0 < room.free_bytes <= room.total_bytes
    room = DiskRoom(tmp_path, 1 << 62).now()
    assert not room.enough
    assert room.writable
    assert room.detail.endswith("are free, 4194304 TiB are to stay free")


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


@pytest.mark.parametrize("how", ["removed", "replaced", "directory removed", "file for directory"])
def test_a_file_that_is_gone_or_another_is_told_once_and_for_good(tmp_path: Path, how: str) -> None:
    directory = tmp_path / "0"
    directory.mkdir()
    file = directory / "spool"
    file.write_bytes(b"1")
    lost: list[Path] = []
    clock = Clock()
    room = DiskRoom(directory, 0, files=[directory / "later", file], lost=lost.append, monotonic=clock)
    assert room.now().writable
    if how == "replaced":
        (directory / "new").write_bytes(b"1")
        (directory / "new").rename(file)
    else:
        file.rename(tmp_path / "moved")
    if how in {"directory removed", "file for directory"}:
        directory.rmdir()
    if how == "file for directory":
        directory.touch()
    assert room.now().writable
    assert lost == []
    for _ in range(3):
        clock.now += LOOK_SECONDS
        assert not room.now().writable
        assert "is gone, or another" in room.now().detail
    assert lost == [file]


def test_a_file_that_comes_later_is_watched_from_then_on(tmp_path: Path) -> None:
    lost: list[Path] = []
    clock = Clock()
    file = tmp_path / "log"
    room = DiskRoom(tmp_path, 0, files=[file], lost=lost.append, monotonic=clock)
    for content in (b"", b"grown"):
        clock.now += LOOK_SECONDS
        assert room.now().writable
        file.write_bytes(content)
    clock.now += LOOK_SECONDS
    assert room.now().writable
    file.unlink()
    clock.now += LOOK_SECONDS
    assert not room.now().writable
    assert lost == [file]
