"""Private files: whole or not there, and theirs alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.private_file import LooseFileError, make_private_file, read_private_file


def test_what_is_written_is_read_and_nobody_else_may(tmp_path: Path) -> None:
    path = tmp_path / "token"
    before = os.umask(0)
    try:
        make_private_file(path, b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private_file(path, max_bytes=100) == b"content"
    assert read_private_file(path, max_bytes=3) == b"con"
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "token"
    make_private_file(path, b"old")
    path.with_name(f".token.{os.getpid()}.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        make_private_file(path, b"new")
    assert read_private_file(path, max_bytes=100) == b"old"


def test_a_disk_with_room_for_a_part_leaves_what_was_there(tmp_path: Path) -> None:
    """A limit on the size of files is such a disk; in a process of its own."""
    path = tmp_path / "token"
    make_private_file(path, b"old")
    script = """
import resource, signal, sys
from pathlib import Path
from gateway.private_file import make_private_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    make_private_file(Path(sys.argv[1]), b"new" * 10)
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert read_private_file(path, max_bytes=100) == b"old"
    assert done.stdout == "File too large\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_what_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    make_private_file(path, b"content")
    path.chmod(mode)
    with pytest.raises(LooseFileError, match=f"{mode:04o}"):
        read_private_file(path, max_bytes=100)


def test_links_are_not_followed_and_pipes_not_waited_for(tmp_path: Path) -> None:
    make_private_file(tmp_path / "real", b"content")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="symbolic"):
        read_private_file(tmp_path / "link", max_bytes=100)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(LooseFileError, match="plain"):
        read_private_file(tmp_path / "pipe", max_bytes=100)
