"""The gateway's own process on a spool that is there already, and two of them loaded in turn."""

import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench import nginx
from bench.compare import wait_delivered
from bench.contenders import gateway_config
from bench.depth.rounds import Compared
from bench.ground import Ground
from bench.load import Load, run_load
from bench.processes import Server, running
from gateway.simulator.process import free_ports

BURST_SECONDS: Final = 1.5
"""Of load on one, before it is the other's turn: CPU time is told in hundredths of a second."""
BURST_SERIALS: Final = 1_000_000
"""Serial numbers set apart for a burst, so that nothing is a duplicate."""
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Process:
    """A gateway that runs."""

    server: Server
    port: int
    began: float
    """Unix time of its exec."""
    ready_seconds: float
    """From then to the first accepted connection."""


@asynccontextmanager
async def gateway_on(ground: Ground, directory: Path, target: int) -> AsyncGenerator[Process, None]:
    """Run the gateway on `directory`/spool, delivering to a port."""
    port, admin = free_ports(2)
    config = directory / "gateway.yaml"
    config.write_text(gateway_config(ground, directory=directory, port=port, admin=admin, target=target))
    argv: list[str | Path] = [sys.executable, "-m", "gateway", "--config", config, "run"]
    environ = {"BENCH_SECRET": ground.secret}
    began = time.time()
    async with running(
        argv, name="gateway", log=directory / "output.log", port=port, environ=environ
    ) as server:
        yield Process(server, port, began, time.time() - began)


async def compare_processes(
    ground: Ground, shallow: Path, deep: Path, *, rounds: int, progress: Callable[[int], object]
) -> Compared:
    """Load two processes in turn; CPU of the whole process, until all is delivered, for each notification."""
    costs: dict[Path, list[float]] = {shallow: [], deep: []}
    async with (
        nginx.running_target(ground) as one,
        nginx.running_target(ground) as other,
        gateway_on(ground, shallow, one.port) as first,
        gateway_on(ground, deep, other.port) as second,
    ):
        sides = [(shallow, first, one), (deep, second, other)]
        for number in range(rounds + 1):
            sides.reverse()
            for directory, process, target in sides:
                before = process.server.usage()
                load = Load(seconds=BURST_SECONDS, first=number * BURST_SERIALS)
                outcome = await run_load(ground, process.port, load)
                await wait_delivered(target, outcome.ok, PATIENCE_SECONDS)
                cost = process.server.usage().cpu_seconds - before.cpu_seconds
                if number:  # the first warms up
                    costs[directory].append(cost / max(1, outcome.ok) * 1e6)
            progress(1)
    return Compared(
        kind="the whole process, delivery included",
        shallow_us=median(costs[shallow]),
        deep_us=median(costs[deep]),
        ratio=median(d / s for s, d in zip(costs[shallow], costs[deep], strict=True)),
    )
