"""Meta's top tier: a paced load; how late were the answers, is everything delivered, is nothing lost?

Run: `.venv/bin/python -m bench.sustained [--rate 3300] [--seconds 60] [--connections 64]`.

3 300 notifications/s is Meta's worked example for one number that sends 1 000 messages/s: three statuses for
each, and the answers. Every acknowledged id is looked for in what the target received.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import trio
from rich.console import Console

from bench.contenders import running_gateway
from bench.ground import Ground, made_ground
from bench.load import Load, Outcome, run_load
from bench.nginx import FLUSH_SECONDS, Target, read_ids
from bench.processes import FAILED, BenchError, ended_by_signals, run_to_exit_code

RATE: Final = 3300.0
SECONDS: Final = 60.0
CONNECTIONS: Final = 64
DELIVERED_WITHIN_SECONDS: Final = 5.0
"""The bar: everything is with the target so long after the last acknowledgement."""
WAIT_SECONDS: Final = 120.0
"""How long to go on waiting, so as to tell late from lost."""
BARS: Final = {"p50_ms": (10.0, 5.0), "p99_ms": (150.0, 50.0)}
"""Floor and aim, in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """What came of it."""

    rate: float
    seconds: float
    connections: int
    outcome: Outcome
    unsent: int
    """Of the schedule, since the gateway was too slow for it."""
    delivered: int
    """Different ids that the target has had."""
    twice: int
    """Ids that came more than once."""
    late: int
    """Acknowledged, and delivered later than `DELIVERED_WITHIN_SECONDS` after the end."""
    lost: int
    """Acknowledged, and not delivered within `WAIT_SECONDS`."""
    last_after_seconds: float
    """The last delivery, after the end of the load; below zero: before it."""
    server_cpu_seconds: float
    peak_bytes: int

    @property
    def kept_the_promise(self) -> bool:
        """Whether everything was sent, taken, delivered in time, and nothing lost."""
        return not (self.outcome.bad or self.unsent or self.late or self.lost)

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name."""
        return {**asdict(self), "kept_the_promise": self.kept_the_promise}


def judge(acked: set[str], first_delivered: Mapping[str, float], ended: float) -> tuple[int, int, float]:
    """Return how many acknowledged ids were late, how many are lost, and when the last came after the end."""
    known = [first_delivered[id_] for id_ in acked if id_ in first_delivered]
    late = sum(1 for at in known if at > ended + DELIVERED_WITHIN_SECONDS)
    return late, len(acked) - len(known), max(known, default=ended) - ended


async def sustain(
    ground: Ground, *, rate: float = RATE, seconds: float = SECONDS, connections: int = CONNECTIONS
) -> Sustained:
    """Run the paced load against a fresh gateway."""
    acked_file = ground.memory / "acked"
    async with running_gateway(ground, with_bodies=True) as running:
        target = running.target
        if target is None:
            raise BenchError("the gateway has no target")
        before = running.server.usage()
        load = Load(seconds=seconds, connections=connections, rate=rate)
        outcome = await run_load(ground, running.port, load, acked=acked_file)
        acked = set(acked_file.read_text().split())
        times, first = await _wait_ids(target, acked)
        after = running.server.usage()
    late, lost, last_after_seconds = judge(acked, first, outcome.ended)
    return Sustained(
        rate=rate,
        seconds=seconds,
        connections=connections,
        outcome=outcome,
        unsent=max(0, int(rate * seconds) - connections - outcome.ok - outcome.bad),
        delivered=len(times),
        twice=sum(1 for count in times.values() if count > 1),
        late=late,
        lost=lost,
        last_after_seconds=last_after_seconds,
        server_cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        peak_bytes=after.peak_bytes,
    )


async def _wait_ids(target: Target, acked: set[str]) -> tuple[Counter[str], dict[str, float]]:
    """Return how often each id came and when first, once all are there or the time is over."""
    times: Counter[str] = Counter()
    first: dict[str, float] = {}
    with trio.move_on_after(WAIT_SECONDS):
        while not acked <= times.keys():
            await trio.sleep(FLUSH_SECONDS)
            new_times, new_first = read_ids(target.news())
            times += new_times
            first = new_first | first
    return times, first


def tell(found: Sustained, console: Console) -> None:
    """Print what came of it."""
    outcome = found.outcome
    console.print(
        f"\n[bold]Sustained[/]: {found.rate:g}/s for {found.seconds:g} s over {found.connections} connections"
    )
    for name, value in (("p50_ms", outcome.p50), ("p99_ms", outcome.p99)):
        floor, aim = BARS[name]
        verdict = "aim met" if value <= aim else "floor met" if value <= floor else "[red]missed[/]"
        console.print(f"  {name[:3]} {value:8.2f} ms   floor {floor:g}, aim {aim:g}: {verdict}")
    console.print(
        f"  max {outcome.max:8.2f} ms   over 250 ms: {outcome.over250}, over 1 s: {outcome.over1000}"
    )
    console.print(
        f"  accepted {outcome.ok} ({outcome.rps:.0f}/s), refused {outcome.bad}, unsent {found.unsent}"
    )
    console.print(
        f"  delivered {found.delivered}, twice {found.twice}, late {found.late}, lost {found.lost};"
        f" the last {found.last_after_seconds:+.2f} s after the end"
    )
    console.print(
        f"  gateway: {found.server_cpu_seconds / max(1, outcome.ok) * 1e6:.0f} µs CPU a notification,"
        f" {found.peak_bytes / 1e6:.0f} MB at most"
    )


def main() -> int:
    """Run it by itself."""
    parser = argparse.ArgumentParser(prog="python -m bench.sustained")
    parser.add_argument("--rate", type=float, default=RATE, help="notifications a second")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    given = parser.parse_args()

    console = Console(highlight=False)
    broken = False

    async def run() -> None:
        nonlocal broken
        async with ended_by_signals():
            with made_ground() as ground:
                found = await sustain(
                    ground, rate=given.rate, seconds=given.seconds, connections=given.connections
                )
        tell(found, console)
        broken = not found.kept_the_promise

    return run_to_exit_code(run, console) or (FAILED if broken else 0)


if __name__ == "__main__":
    sys.exit(main())
