"""A share of a core for a process: what it would have of a machine of its own, on one that many share.

By a control group of Linux with a quota of CPU time (version 1 or 2 of cgroups); that takes root.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.processes import BenchError

PERIOD_US: Final = 20_000
"""What the quota is counted over: short beside a measurement, long beside a turn of the scheduler."""
ROOT: Final = Path("/sys/fs/cgroup")
OLD: Final = ROOT / "cpu"
"""Where version 1 has its groups."""
_numbers: Final = itertools.count()


@contextmanager
def share_of_a_core(share: float) -> Iterator[Callable[[int], None]]:
    """Make a group that gets so much of one core, and give what puts a process into it with all its threads.

    On the way out the processes in it must have ended.
    """
    is_old = (OLD / "cgroup.procs").exists()
    group = (OLD if is_old else ROOT) / f"bench-{os.getpid()}-{next(_numbers)}"
    quota = round(share * PERIOD_US)
    try:
        group.mkdir()
        if is_old:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
    except OSError as error:
        raise BenchError(f"a share of a core takes a control group, and that root: {error}") from error

    def put(pid: int) -> None:
        (group / "cgroup.procs").write_text(str(pid))

    try:
        yield put
    finally:
        group.rmdir()
