"""The comparison: each contender in turn, over several rounds, so that the machine's moods hit all.

A measurement: a fresh process on fresh files; proof that it turns away what it must; a warm-up; the load. The
gateway's ends when its target has everything, so that acceptance cannot be had on credit.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import trio

from bench.contenders import Contender, Running
from bench.ground import Ground
from bench.load import Load, Outcome, run_load
from bench.nginx import FLUSH_SECONDS, Deliveries, Target, read_deliveries
from bench.processes import BenchError

Kind = Literal["keep-alive", "handshake"]

WARM_UP_SECONDS: Final = 0.7
"""Long enough for every connection to have made some hundred requests."""
WARM_UP_FIRST: Final = 50_000_000
"""Serial numbers that no measured run reaches."""
PROOF_SECONDS: Final = 0.2
PROOF_FIRST: Final = 90_000_000
PROOF_CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how often."""

    rounds: int
    seconds: float
    connections: int
    drain_seconds: float
    """How long the gateway may go on delivering after the load has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One contender, once."""

    contender: str
    kind: Kind
    round: int
    outcome: Outcome
    server_cpu_seconds: float
    """Of the server alone, during the load and until everything was delivered."""
    peak_bytes: int
    delivered: int | None = None
    """Notifications that reached the target; None: it does not deliver."""
    delivered_per_second: float | None = None
    """From the first request to the last delivery."""
    posts: int | None = None

    @property
    def server_us_per_request(self) -> float:
        """CPU time of the server for each request, in microseconds."""
        return self.server_cpu_seconds / max(1, self.outcome.ok) * 1e6


def schedule(contenders: Sequence[Contender], rounds: int) -> Iterator[tuple[int, Contender, Kind]]:
    """Say in what order to measure: each round turned about, so that nobody is always after the same."""
    for number in range(rounds):
        shift = number % max(1, len(contenders))
        for contender in (*contenders[shift:], *contenders[:shift]):
            yield number, contender, "keep-alive"
            if contender.handshakes:
                yield number, contender, "handshake"


async def compare(
    ground: Ground, contenders: Sequence[Contender], plan: Plan, *, tell: Callable[[Measurement], None]
) -> list[Measurement]:
    """Measure all; `tell` hears of each measurement when it is made."""
    found: list[Measurement] = []
    for number, contender, kind in schedule(contenders, plan.rounds):
        async with contender.start(ground) as running:
            if number == 0 and kind == "keep-alive":
                await _prove(ground, contender, running)
            measurement = await measure(ground, contender, running, plan, kind=kind, number=number)
        found.append(measurement)
        tell(measurement)
    return found


async def measure(
    ground: Ground, contender: Contender, running: Running, plan: Plan, *, kind: Kind, number: int
) -> Measurement:
    """Measure one contender that runs, once."""
    new_connection = kind == "handshake"
    warm_up = Load(
        seconds=WARM_UP_SECONDS,
        connections=plan.connections,
        new_connection=new_connection,
        first=WARM_UP_FIRST,
    )
    warm = await run_load(ground, running.port, warm_up)
    if running.target is not None:
        await wait_delivered(running.target, warm.ok, plan.drain_seconds)
    before = running.server.usage()
    load = Load(seconds=plan.seconds, connections=plan.connections, new_connection=new_connection)
    outcome = await run_load(ground, running.port, load)
    delivered = delivered_per_second = posts = None
    if running.target is not None:
        deliveries = await wait_delivered(running.target, outcome.ok, plan.drain_seconds)
        delivered, posts = deliveries.count, deliveries.posts
        delivered_per_second = delivered / max(0.001, deliveries.last_at - outcome.began)
    after = running.server.usage()
    return Measurement(
        contender=contender.name,
        kind=kind,
        round=number,
        outcome=outcome,
        server_cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        peak_bytes=after.peak_bytes,
        delivered=delivered,
        delivered_per_second=delivered_per_second,
        posts=posts,
    )


async def wait_delivered(target: Target, count: int, within_seconds: float) -> Deliveries:
    """Return what the target has had when it is so many notifications, or when the time is over."""
    found = Deliveries()
    with trio.move_on_after(within_seconds):
        while found.count < count:
            await trio.sleep(FLUSH_SECONDS)
            found += read_deliveries(target.news())
    return found


async def _prove(ground: Ground, contender: Contender, running: Running) -> None:
    """See that it turns away whom it must: a fast server that takes everything is no contender."""
    stranger = Load(
        seconds=PROOF_SECONDS, connections=PROOF_CONNECTIONS, first=PROOF_FIRST, with_certificate=False
    )
    if (await run_load(ground, running.port, stranger)).ok:
        raise BenchError(f"{contender.name} takes notifications without a client certificate")
    forger = Load(
        seconds=PROOF_SECONDS, connections=PROOF_CONNECTIONS, first=PROOF_FIRST, secret=secrets.token_hex(8)
    )
    if (await run_load(ground, running.port, forger)).ok and contender.checks_signature:
        raise BenchError(f"{contender.name} takes notifications with a forged signature")
