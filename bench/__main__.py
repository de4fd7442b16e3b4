"""`make bench`: compare, sustain, put the figures on the screen, into JSON, the plot and the page."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from bench import report
from bench.compare import Measurement, Plan, compare
from bench.contenders import CONTENDERS, Contender
from bench.figures import figures
from bench.ground import made_ground
from bench.load import CLIENT
from bench.machine import describe
from bench.nginx import binary
from bench.processes import BenchError, ended_by_signals, run_to_exit_code
from bench.sustained import RATE, SECONDS, Sustained, sustain, tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was asked for."""

    plan: Plan
    only: frozenset[str]
    """Some alone are shown, not published: a ratio needs both."""
    sustained_rate: float
    sustained_seconds: float
    publish: bool


def read_arguments(words: Sequence[str] | None = None) -> Given:
    """Read the command line."""
    names = [one.name for one in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--drain", type=float, default=120.0, help="seconds to wait for the last delivery")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--sustained-rate", type=float, default=RATE, help="notifications a second")
    parser.add_argument("--sustained-seconds", type=float, default=SECONDS, help="0 leaves it out")
    parser.add_argument(
        "--no-publish", action="store_true", help="leave results/, the plot and the page alone"
    )
    given = parser.parse_args(words)
    return Given(
        plan=Plan(
            rounds=given.rounds,
            seconds=given.seconds,
            connections=given.connections,
            drain_seconds=given.drain,
        ),
        only=frozenset(given.only),
        sustained_rate=given.sustained_rate,
        sustained_seconds=given.sustained_seconds,
        publish=not given.no_publish and set(given.only) == set(names),
    )


async def run(given: Given, console: Console) -> None:
    """Measure and report."""
    _require_tools()
    missing = {one.name: why for one in CONTENDERS if one.name in given.only and (why := one.missing())}
    chosen = [one for one in CONTENDERS if one.name in given.only and one.name not in missing]
    for name, why in missing.items():
        console.print(f"[yellow]left out[/] {name}: {why}")
    machine = describe()
    measurements, sustained = await _measure(given, chosen, console)
    found = figures(chosen, measurements)
    report.show(found, console)
    if sustained is not None:
        tell(sustained, console)
    if given.publish:
        result = report.result(
            plan=given.plan,
            machine=machine,
            figures=found,
            measurements=measurements,
            sustained=sustained,
            left_out=missing,
        )
        for path in report.publish(result):
            console.print(f"wrote {path}")


async def _measure(
    given: Given, chosen: Sequence[Contender], console: Console
) -> tuple[list[Measurement], Sustained | None]:
    def heard(one: Measurement) -> None:
        report.show_measurement(one, console)

    sustained = None
    async with ended_by_signals():
        with made_ground() as ground:
            measurements = await compare(ground, chosen, given.plan, tell=heard)
            if given.sustained_seconds > 0:
                console.print(f"sustained load for {given.sustained_seconds:g} s ...")
                sustained = await sustain(ground, rate=given.sustained_rate, seconds=given.sustained_seconds)
    return measurements, sustained


def _require_tools() -> None:
    if not CLIENT.is_file():
        raise BenchError("the load client is not built: `make bench` does that")
    if binary() is None:
        raise BenchError("nginx is not installed: it is the target behind the gateway (Debian: nginx-light)")


def main() -> int:
    """Run from the command line; 0 also where an aim is missed, since figures are not tests."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    given = read_arguments()
    return run_to_exit_code(lambda: run(given, console), console)


if __name__ == "__main__":
    sys.exit(main())
