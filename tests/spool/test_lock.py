"""The lock on the directory (promise 17)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import SpoolLockedError, SpoolUnavailableError
from gateway.spool.lock import DirectoryLock

HOLD = """
import sys, time
from pathlib import Path
from gateway.spool.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_another_process_is_refused_by_the_pid_of_the_holder(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "spool")], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder.stdout, holder.stdin:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SpoolLockedError, match=rf"in use by process {holder.pid}; stop that process"):
            DirectoryLock(tmp_path / "spool")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    # the lock ends with its process, however that ends
    with DirectoryLock(tmp_path / "spool"):
        assert (tmp_path / "spool" / "holder").read_text() == f"{os.getpid()}\n"


def test_within_a_process_it_is_held_once(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path), pytest.raises(SpoolLockedError, match=f"process {os.getpid()}"):
        DirectoryLock(tmp_path)
    lock = DirectoryLock(tmp_path)
    lock.release()
    lock.release()
    DirectoryLock(tmp_path).release()


def test_a_holder_file_that_tells_nothing_is_no_obstacle(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        (tmp_path / "holder").write_bytes(b"\xff\xff")
        with pytest.raises(SpoolLockedError, match="another process"):
            DirectoryLock(tmp_path)


def test_a_file_in_the_place_of_the_directory_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(SpoolUnavailableError, match="cannot be used"):
        DirectoryLock(tmp_path / "spool")
    with pytest.raises(SpoolUnavailableError, match="cannot be used"):
        DirectoryLock(tmp_path / "spool" / "below")
