"""A process that has a share of a core gets no more of it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.processes import BenchError
from bench.shares import share_of_a_core

BUSY_SECONDS = 0.5
SHARE = 0.2


def test_a_process_gets_its_share_and_no_more() -> None:
    busy = [sys.executable, "-c", "while True: pass"]
    try:
        with share_of_a_core(SHARE) as put, subprocess.Popen(busy) as process:
            try:
                put(process.pid)
                time.sleep(BUSY_SECONDS)
                used = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
            finally:
                process.kill()
    except BenchError:
        pytest.skip("control groups cannot be made here")
    assert 0 < used < 2 * SHARE * BUSY_SECONDS
