"""What one dead and one slow target among twenty cost the others and Meta, with a backlog for the dead one.

    .venv/bin/python -m bench.isolation --rounds 40 --seconds 2 --rate 20

Two gateways stand side by side, on fresh files, and get the same paced load in turn, a few seconds at a time,
so that the machine's moods hit both. One delivers to eighteen targets that are well. The other has two more:
one refuses connections and has 100 000 deliveries waiting, and one takes every request and never answers.
Compared are acknowledgements, as the load client saw them, and deliveries to the eighteen: from
`Gateway-Received-At` to the answer in the target's log. A ratio is made within each round; the median of the
rounds is shown, with the quarters in brackets.
"""

import argparse
import shutil
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Final, Literal

import trio
from rich.console import Console
from rich.progress import Progress

from bench import nginx
from bench.contenders import gateway_config
from bench.depth.filling import TARGET, fill_pending, opened
from bench.ground import Ground, made_ground
from bench.load import Load, Outcome, run_load
from bench.processes import BenchError, Server, ended_by_signals, run_to_exit_code, running
from gateway.simulator.process import free_ports

Case = Literal["well", "trouble"]

GOOD: Final = 18
NAMES: Final = tuple(f"good{number}" for number in range(GOOD))
"""Of the targets that are well in both cases."""
BACKLOG: Final = 100_000
WARM_UP_SECONDS: Final = 3.0
"""Both troubles have begun by then: the breaker of the dead target is open, the slow one holds all hands."""
WARM_UP_FIRST: Final = 50_000_000
"""Serial numbers that no measured run reaches."""
DELIVERED_WITHIN_SECONDS: Final = 30.0
ENOUGH: Final = 1.2
"""The ratio that the project asked of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One measurement. Times in milliseconds."""

    case: Case
    round: int
    outcome: Outcome
    delivered: Sequence[float]
    """To the targets that are well in both cases."""
    server_cpu_seconds: float

    def figure(self, name: str) -> float:
        """Return one of `FIGURES`."""
        percents = quantiles(self.delivered, n=100)
        return {
            "acknowledged, median": self.outcome.p50,
            "acknowledged, p99": self.outcome.p99,
            "delivered, median": percents[49],
            "delivered, p99": percents[98],
            "CPU, each": self.server_cpu_seconds / self.outcome.ok * 1000,
        }[name]


FIGURES: Final = (
    "acknowledged, median",
    "acknowledged, p99",
    "delivered, median",
    "delivered, p99",
    "CPU, each",
)
"""All in milliseconds; the last is of the gateway, for one notification with all its deliveries."""


def config(ground: Ground, directory: Path, *, port: int, urls: dict[str, str]) -> str:
    """Render a configuration: all defaults but for the addresses."""
    [admin] = free_ports(1)
    text = gateway_config(ground, directory=directory, port=port, admin=admin, target=1)
    head, rest = text.split("targets:\n")
    tail = rest.split("routes:\n")[1].split("\n", 1)[1]
    targets = "".join(f'  {name}: {{url: "{url}"}}\n' for name, url in urls.items())
    return f"{head}targets:\n{targets}routes:\n  - {{field: messages, to: [{', '.join(urls)}]}}\n{tail}"


@asynccontextmanager
async def open_hole() -> AsyncGenerator[int, None]:
    """Listen where whatever comes is taken and nothing is ever answered; return the port."""

    async def swallow(stream: trio.SocketStream) -> None:
        async with stream:
            while await stream.receive_some():
                pass

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, swallow, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A gateway that runs, and the target behind it."""

    server: Server
    port: int
    target: nginx.Target


@asynccontextmanager
async def running_site(ground: Ground, case: Case, filled: Path) -> AsyncGenerator[Site, None]:
    """Run the gateway of one case, on fresh files."""
    async with nginx.running_target(ground, with_times=True) as target, open_hole() as hole:
        directory = ground.fresh(f"isolation-{case}")
        port, nobody = free_ports(2)
        urls = {name: f"http://127.0.0.1:{target.port}/{name}" for name in NAMES}
        if case == "trouble":
            shutil.copytree(filled, directory / "spool")
            urls |= {TARGET: f"http://127.0.0.1:{nobody}/", "slow": f"http://127.0.0.1:{hole}/"}
        file = directory / "gateway.yaml"
        file.write_text(config(ground, directory, port=port, urls=urls))
        argv: list[str | Path] = [sys.executable, "-m", "gateway", "--config", file, "run"]
        environ = {"BENCH_SECRET": ground.secret}
        log = directory / "output.log"
        async with running(argv, name="gateway", log=log, port=port, environ=environ) as server:
            yield Site(server=server, port=port, target=target)


async def measure(ground: Ground, case: Case, site: Site, load: Load, *, number: int) -> Seen:
    """Load one gateway for a while."""
    before = site.server.usage()
    outcome = await run_load(ground, site.port, load)
    delivered = await read_times(site.target, outcome.ok)
    after = site.server.usage()
    if outcome.bad:
        raise BenchError(f"{outcome.bad} notifications were refused")
    return Seen(
        case=case,
        round=number,
        outcome=outcome,
        delivered=delivered,
        server_cpu_seconds=after.cpu_seconds - before.cpu_seconds,
    )


async def read_times(target: nginx.Target, notifications: int) -> list[float]:
    """Return how long each delivery to `NAMES` took, when all are there.

    Raises:
        BenchError: they do not come.
    """
    paths = {f"/{name}" for name in NAMES}
    found: list[float] = []
    with trio.move_on_after(DELIVERED_WITHIN_SECONDS):
        while len(found) < notifications * GOOD:
            await trio.sleep(nginx.FLUSH_SECONDS)
            for line in target.news():
                at, path, accepted = line.split(" ")
                if path in paths:
                    found.append((float(at) - datetime.fromisoformat(accepted).timestamp()) * 1000)
        return found
    raise BenchError(f"{len(found)} of {notifications * GOOD} were delivered in time")


def rows(found: Sequence[Seen]) -> list[str]:
    """Return the rows of the table, in Markdown."""
    by = {(one.case, one.round): one for one in found}
    rounds = sorted({one.round for one in found})
    table = []
    for name in FIGURES:
        well, trouble = ([by[case, number].figure(name) for number in rounds] for case in ("well", "trouble"))
        ratios = [after / before for before, after in zip(well, trouble, strict=True)]
        lower, middle, upper = quantiles(ratios, n=4)
        table.append(
            f"| {name} | {median(well):.1f} | {median(trouble):.1f} | {middle:.2f}x"
            f" ({lower:.2f}-{upper:.2f}) | {ENOUGH:g}x |"
        )
    return table


async def run(given: argparse.Namespace, console: Console) -> None:
    """Measure, and print the table."""
    found: list[Seen] = []
    cases: tuple[Case, ...] = ("well", "trouble")
    with made_ground() as ground:
        async with ended_by_signals():
            filled = ground.fresh("filled")
            with Progress(console=Console(stderr=True)) as progress, opened(filled) as engine:
                task = progress.add_task("filling", total=given.backlog)
                fill_pending(engine, given.backlog, partial(progress.advance, task))
            async with (
                running_site(ground, "well", filled) as well,
                running_site(ground, "trouble", filled) as trouble,
            ):
                sites: dict[Case, Site] = {"well": well, "trouble": trouble}
                load = Load(seconds=WARM_UP_SECONDS, connections=given.connections, rate=given.rate)
                for case, site in sites.items():
                    await measure(ground, case, site, replace(load, first=WARM_UP_FIRST), number=-1)
                for number in range(given.rounds):
                    # Serial numbers that neither has had.
                    load = replace(load, seconds=given.seconds, first=number * 1_000_000)
                    for case in cases if number % 2 == 0 else cases[::-1]:
                        seen = await measure(ground, case, sites[case], load, number=number)
                        found.append(seen)
                        told = ", ".join(f"{name} {seen.figure(name):.1f} ms" for name in FIGURES)
                        console.print(f"round {number}, {case}: {told}", soft_wrap=True)
    console.print("|  | without | with the two | ratio | asked |")
    console.print("| --- | ---: | ---: | ---: | ---: |")
    for line in rows(found):
        console.print(line, soft_wrap=True)


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.isolation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=20.0, help="notifications a second, to each target")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--backlog", type=int, default=BACKLOG)
    given = parser.parse_args()
    console = Console(highlight=False)
    return run_to_exit_code(partial(run, given, console), console)


if __name__ == "__main__":
    raise SystemExit(main())
