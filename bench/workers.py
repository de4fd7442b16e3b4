"""How the accepted rate changes with the number of worker processes (`listen.workers`), in one run.

    .venv/bin/python -m bench.workers --rounds 5 --seconds 5

Measurements as in `compare`, each on a fresh gateway, the numbers of workers in turn. The load client and the
target run on the same machine, and what they take is no worker's: so the processor time of the gateway and of
the client, for each request, is shown too. Each measurement waits for a machine that is quiet, and a round in
which others took more than `--others` of it is shown and left out of the medians and ratios.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import trio
from rich.console import Console

from bench.compare import Kind, Measurement, Plan, measure
from bench.contenders import Contender, running_gateway
from bench.ground import made_ground
from bench.processes import CLOCK_TICKS, ended_by_signals, run_to_exit_code

QUIET: Final = 0.15
"""Of the machine in use, and it is quiet enough to begin."""
PATIENCE_SECONDS: Final = 30.0
"""To wait for that."""
KINDS: Final[tuple[Kind, ...]] = ("keep-alive", "handshake")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One measurement, and how much of the machine was not ours meanwhile."""

    measurement: Measurement
    workers: int
    others: float


def contender(workers: int) -> Contender:
    """Return the gateway with so many workers."""
    return Contender(
        name=str(workers),
        title=f"{workers} workers",
        does="verified, on disk; routed and delivered",
        start=partial(running_gateway, workers=workers),
        missing=lambda: None,
    )


def busy_seconds() -> float:
    """Return the processor time that everything has used since the start of the machine (proc(5))."""
    user, nice, system, _, _, irq, softirq, steal, *_ = (
        Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / CLOCK_TICKS


async def wait_quiet() -> None:
    """Return when the machine is quiet, or after a while."""
    cores = len(os.sched_getaffinity(0))
    with trio.move_on_after(PATIENCE_SECONDS):
        while True:
            before = busy_seconds()
            await trio.sleep(1)
            if (busy_seconds() - before) / cores < QUIET:
                return


def rows(found: Sequence[Seen], numbers: Sequence[int], others: float) -> list[str]:
    """Return the rows of the table, in Markdown, from rounds in which every number of workers had quiet."""
    table = []
    for kind in KINDS:
        of_kind = [one for one in found if one.measurement.kind == kind]
        loud = {one.measurement.round for one in of_kind if one.others > others}
        quiet = [one for one in of_kind if one.measurement.round not in loud]
        rates = {(one.workers, one.measurement.round): one.measurement.outcome.rps for one in quiet}
        for number in numbers:
            mine = [one.measurement for one in quiet if one.workers == number]
            if not mine:
                table.append(f"| {kind} | {number} | never quiet | | | | | |")
                continue
            ratios = [one.outcome.rps / rates[numbers[0], one.round] for one in mine]
            table.append(
                f"| {kind} | {number} | {median(one.outcome.rps for one in mine):,.0f}"
                f" | {median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
                f" | {median(one.outcome.p50 for one in mine):.0f}"
                f" | {median(one.outcome.p99 for one in mine):.0f}"
                f" | {median(one.server_us_per_request for one in mine):.0f}"
                f" | {median(one.outcome.cpu / one.outcome.ok * 1e6 for one in mine):.0f} |"
            )
    return table


async def run(given: argparse.Namespace, console: Console) -> None:
    """Measure, and print the table."""
    cores = len(os.sched_getaffinity(0))
    plan = Plan(
        rounds=given.rounds, seconds=given.seconds, connections=given.connections, drain_seconds=120.0
    )
    found: list[Seen] = []
    with made_ground() as ground:
        async with ended_by_signals():
            for number in range(given.rounds):
                for kind in KINDS:
                    order = given.workers if number % 2 == 0 else given.workers[::-1]
                    for workers in order:
                        one = contender(workers)
                        async with one.start(ground) as running:
                            await wait_quiet()
                            before, began = busy_seconds(), trio.current_time()
                            measurement = await measure(ground, one, running, plan, kind=kind, number=number)
                            taken, lasted = busy_seconds() - before, trio.current_time() - began
                        # The warm-up, which is not in our share, is that of the load itself.
                        ours = measurement.server_cpu_seconds + measurement.outcome.cpu
                        others = max(0.0, taken / lasted - ours / given.seconds) / cores
                        found.append(Seen(measurement=measurement, workers=workers, others=others))
                        console.print(
                            f"round {number}, {kind}, {workers} workers:"
                            f" {measurement.outcome.rps:,.0f}/s accepted, {measurement.outcome.bad} bad,"
                            f" {measurement.delivered} of {measurement.outcome.ok} delivered,"
                            f" others {others:.0%}",
                            soft_wrap=True,
                        )
    console.print("| connections | workers | accepted/s | ratio | p50 ms | p99 ms | gateway us | client us |")
    console.print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for line in rows(found, given.workers, given.others):
        console.print(line, soft_wrap=True)


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--others", type=float, default=0.2, help="share of the machine; the target is in it")
    given = parser.parse_args()
    console = Console()
    return run_to_exit_code(partial(run, given, console), console)


if __name__ == "__main__":
    raise SystemExit(main())
