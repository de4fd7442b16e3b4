"""How the accepted rate changes with the number of worker processes (`listen.workers`), in one run.

    .venv/bin/python -m bench.workers --rounds 5 --seconds 5

Measurements as in `compare`, each on a fresh gateway, the numbers of workers in turn; the ratio is made
within each round. The load client and the target run on the same machine, and what they take is no worker's:
so the processor time of the gateway and of the client, for each request, is shown too.
"""

import argparse
from functools import partial
from statistics import median

from rich.console import Console

from bench.compare import Measurement, Plan, compare
from bench.contenders import Contender, running_gateway
from bench.ground import made_ground
from bench.processes import ended_by_signals, run_to_exit_code


def contender(workers: int) -> Contender:
    """Return the gateway with so many workers."""
    return Contender(
        name=str(workers),
        title=f"{workers} workers",
        does="verified, on disk; routed and delivered",
        start=partial(running_gateway, workers=workers),
        missing=lambda: None,
        handshakes=True,
    )


def tell(console: Console, one: Measurement) -> None:
    """Say what was just measured."""
    console.print(
        f"round {one.round}, {one.kind}, {one.contender} workers: {one.outcome.rps:,.0f}/s accepted,"
        f" {one.outcome.bad} bad, {one.delivered} of {one.outcome.ok} delivered"
    )


def lines(found: list[Measurement], numbers: list[int]) -> list[str]:
    """Return the rows of the table, in Markdown."""
    rows = []
    for kind in ("keep-alive", "handshake"):
        by_round = {(one.contender, one.round): one for one in found if one.kind == kind}
        for number in numbers:
            of_number = [one for one in found if (one.kind, one.contender) == (kind, str(number))]
            ratios = [one.outcome.rps / by_round[str(numbers[0]), one.round].outcome.rps for one in of_number]
            rows.append(
                f"| {kind} | {number} | {median(one.outcome.rps for one in of_number):,.0f}"
                f" | {median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
                f" | {median(one.outcome.p50 for one in of_number):.0f}"
                f" | {median(one.outcome.p99 for one in of_number):.0f}"
                f" | {median(one.server_us_per_request for one in of_number):.0f}"
                f" | {median(one.outcome.cpu / one.outcome.ok * 1e6 for one in of_number):.0f} |"
            )
    return rows


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    console = Console()
    plan = Plan(
        rounds=given.rounds, seconds=given.seconds, connections=given.connections, drain_seconds=120.0
    )

    async def run() -> None:
        with made_ground() as ground:
            async with ended_by_signals():
                found = await compare(
                    ground, [contender(number) for number in given.workers], plan, tell=partial(tell, console)
                )
        console.print(
            "| connections | workers | accepted/s | ratio | p50 ms | p99 ms | gateway us | client us |"
        )
        console.print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for line in lines(found, given.workers):
            console.print(line, soft_wrap=True)

    return run_to_exit_code(run, console)


if __name__ == "__main__":
    raise SystemExit(main())
