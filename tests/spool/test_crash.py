"""Promises 1, 2, 8 and 18 with a real `kill -9` at any moment."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.spool.rig import HOUR_MS, NOW_MS, in_an_hour, opened

ROUNDS = 8
REPOSITORY = Path(__file__).parents[2]


def run_and_kill(directory: Path, after_seconds: float) -> list[str]:
    """Let the appender run for some time after its first answer, kill it, and return the lines it wrote."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.spool.appender", str(directory)], stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert process.stdout is not None
    with process.stdout as stdout:
        output = os.read(stdout.fileno(), 1)
        assert output, "the appender ended by itself"
        end = time.monotonic() + after_seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([stdout], [], [], left)[0]:
                output += os.read(stdout.fileno(), 65536)
        process.send_signal(signal.SIGKILL)
        output += stdout.read()
    assert process.wait() == -signal.SIGKILL
    return output.decode().splitlines()


@pytest.mark.slow
async def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    moments = random.Random(seed)
    directory = tmp_path / "spool"
    acknowledged: set[str] = set()
    delivered: set[str] = set()
    for _ in range(ROUNDS):
        lines = run_and_kill(directory, moments.uniform(0.0, 0.3))
        acknowledged |= {line[1:] for line in lines if line.startswith("+")}
        delivered |= {line[1:] for line in lines if line.startswith("-")}
        async with opened(directory) as spool:
            pending = dict(spool.pending())
            served = pending.pop("served", 0)
            # 1: whatever was acknowledged is there
            assert acknowledged <= set(pending)
            # 2: body and deliveries together, each whole, stored once
            for target, count in pending.items():
                assert count == 1
                if target not in acknowledged:
                    [lease] = await spool.lease(
                        target, now_ms=NOW_MS + HOUR_MS * 9, limit=2, next_due_ms=in_an_hour
                    )
                    assert lease.raw == target.removeprefix("kept-").encode() * 20
            # 8: what was settled is gone
            leases = await spool.lease(
                "served", now_ms=NOW_MS + HOUR_MS * 9, limit=served + 1, next_due_ms=in_an_hour
            )
            assert len(leases) == served
            assert not {lease.raw[:32].decode() for lease in leases} & delivered
    assert acknowledged
    assert delivered
