"""A million deliveries are pending: what accepting, claiming and settling cost, and the process holds."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from bench import nginx
from bench.depth.filling import NO_WINDOW, fill_pending, opened
from bench.depth.process import gateway_on
from bench.depth.rounds import Compared, Side, alternate, compare
from bench.ground import Ground
from bench.load import Load, run_load
from bench.processes import BenchError
from gateway.simulator.process import free_ports

SHALLOW: Final = 1_000
DEEP: Final = 1_000_000
BATCH: Final = 64
"""Rows a transaction: as many as there are connections in the other measurements."""
LOAD: Final = Load(seconds=5.0, rate=500.0)
"""While memory is looked at: less than the machine can do, since a dead target keeps the process busy too."""
RESTARTED_WITH: Final = 100_000
FIRST_WITHIN_SECONDS: Final = 60.0
"""Then it counts as never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """The process with everything pending and its only target dead."""

    pending: int
    ready_seconds: float
    """From exec to the first accepted connection."""
    peak_bytes: int
    accepted: int
    p99_ms: float
    """Of acknowledgements under `LOAD`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """`kill -9`, and the start after it."""

    pending: int
    ready_seconds: float
    first_delivery_seconds: float
    """From exec to the first POST that the target has answered."""


def measure_pending(
    directory: Path, *, deep: int, rounds: int, progress: Callable[[str, int], Callable[[int], object]]
) -> list[Compared]:
    """Compare a spool with some pending and one with many; the duplicates window is measured by itself."""
    told = progress("filling", SHALLOW + deep)
    for name, pending in (("shallow", SHALLOW), ("deep", deep)):
        with opened(directory / name, NO_WINDOW) as engine:
            fill_pending(engine, pending, told)
    with opened(directory / "shallow") as one, opened(directory / "deep") as other:
        sides = Side(one), Side(other)
        alternate(*sides, rounds=rounds, size=BATCH, progress=progress("measuring", rounds))
        return compare(*sides, size=BATCH)


async def measure_resident(ground: Ground, directory: Path, pending: int) -> Resident:
    """Start on `directory`/spool, which has so much pending, with a target that refuses every connection."""
    [nobody] = free_ports(1)
    async with gateway_on(ground, directory, nobody) as process:
        outcome = await run_load(ground, process.port, LOAD)
        usage = process.server.usage()
    return Resident(
        pending=pending,
        ready_seconds=process.ready_seconds,
        peak_bytes=usage.peak_bytes,
        accepted=outcome.ok,
        p99_ms=outcome.p99,
    )


async def measure_restart(ground: Ground, progress: Callable[[int], object]) -> Restart:
    """Kill the process at work on a dead target, and start it again beside a live one."""
    directory = ground.fresh("restart")
    with opened(directory / "spool") as engine:
        fill_pending(engine, RESTARTED_WITH, progress)
    [nobody] = free_ports(1)
    async with gateway_on(ground, directory, nobody) as process:
        outcome = await run_load(ground, process.port, LOAD)
        os.killpg(process.server.process.pid, signal.SIGKILL)
        await process.server.process.wait()
    async with nginx.running_target(ground) as target, gateway_on(ground, directory, target.port) as started:
        with trio.move_on_after(FIRST_WITHIN_SECONDS):
            while not (lines := target.news()):  # noqa: ASYNC110 (a file has no event)
                await trio.sleep(nginx.FLUSH_SECONDS / 2)
            first_at = min(float(found[1]) for line in lines if (found := nginx.LOGGED.match(line)))
            return Restart(
                pending=RESTARTED_WITH + outcome.ok,
                ready_seconds=started.ready_seconds,
                first_delivery_seconds=first_at - started.began,
            )
    raise BenchError("nothing was delivered after the restart")
