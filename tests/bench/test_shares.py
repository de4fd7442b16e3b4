"""A process that has a share of a core gets no more of it."""

import subprocess
import sys

import pytest

from bench.processes import BenchError
from bench.shares import share_of_a_core

BUSY_SECONDS = 0.1
SHARE = 0.2
_BURN = """
import sys, time
sys.stdin.readline()
began, used = time.monotonic(), time.process_time()
while time.process_time() - used < float(sys.argv[1]):
    pass
print(time.monotonic() - began)
"""


def test_a_process_gets_its_share_and_no_more() -> None:
    busy = [sys.executable, "-c", _BURN, str(BUSY_SECONDS)]
    try:
        with (
            share_of_a_core(SHARE) as put,
            subprocess.Popen(busy, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        ):
            try:
                put(process.pid)
                took, _ = process.communicate(b"\n", timeout=60)
            finally:
                process.kill()
    except BenchError:
        pytest.skip("control groups cannot be made here")
    # A busy machine makes it longer, and nothing shorter.
    assert float(took) > BUSY_SECONDS / SHARE / 2
