"""Whole gateways: one on SQLite, one on PostgreSQL, one of two workers there, several on the same PostgreSQL.

Same load as in `bench.compare`, by a client for each gateway. What one accepted any of them delivers, all to
one target, and a measurement ends when the target has everything.

Gateways may be held to a share of a core each. So they are what is short, and not the machine that they have
together with PostgreSQL, the target and the clients: as if they had machines of their own.
"""

import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from bench import nginx
from bench.compare import WARM_UP_FIRST, WARM_UP_SECONDS, wait_delivered
from bench.contenders import gateway_config, wait_serving
from bench.ground import Ground
from bench.load import Load, Outcome, run_load
from bench.postgresql.cluster import Cluster
from bench.processes import BenchError, Server, running
from bench.shares import share_of_a_core
from gateway.simulator.process import free_ports

SIDES: Final = {"sqlite": (1, 1), "postgresql": (1, 1), "workers": (1, 2), "two": (2, 1)}
"""How many gateways each has, and of how many workers."""
SHARED: Final = {"one of a share": (1, 1), "two of a share": (2, 1), "three of a share": (3, 1)}
"""Where each is held to a share of a core."""
DELIVERED_WITHIN_SECONDS: Final = 60.0
SERIALS: Final = 20_000_000
"""Set apart for each client, so that no two send the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One measurement."""

    side: str
    round: int
    rate: float | None
    """Asked for; None: as fast as they are answered."""
    accepted: int
    bad: int
    per_second: float
    delivered_per_second: float
    """From the first request to the last delivery."""
    p50_ms: float
    p99_ms: float
    gateway_us: float
    """CPU of the gateways for each notification, delivery included."""
    database_us: float
    wal_bytes: float
    """Of PostgreSQL's log for each."""
    gateway_cores: float
    """How many all gateways together kept busy, until the last delivery."""
    database_cores: float


@dataclass(frozen=True, slots=True)
class Site:
    """Gateways that run, and the target behind them."""

    servers: Sequence[Server]
    ports: Sequence[int]
    target: nginx.Target


@asynccontextmanager
async def running_site(
    ground: Ground, cluster: Cluster, side: str, share: float | None
) -> AsyncGenerator[Site, None]:
    """Run the gateways of one side, on a fresh spool."""
    shared = side != "sqlite"
    if shared:
        await trio.to_thread.run_sync(cluster.renew)
    async with nginx.running_target(ground) as target, AsyncExitStack() as stack:
        servers, ports = [], []
        gateways, workers = (SIDES | SHARED)[side]
        for _ in range(gateways):
            put = stack.enter_context(share_of_a_core(share)) if share is not None else None
            directory = ground.fresh(side)
            port, admin = free_ports(2)
            file = directory / "gateway.yaml"
            file.write_text(
                gateway_config(
                    ground,
                    directory=directory,
                    port=port,
                    admin=admin,
                    target=target.port,
                    workers=workers,
                    shared=shared,
                )
            )
            servers.append(
                await stack.enter_async_context(
                    running(
                        [sys.executable, "-m", "gateway", "--config", file, "run"],
                        name=side,
                        log=directory / "output.log",
                        port=port,
                        environ={"BENCH_SECRET": ground.secret, "BENCH_DSN": cluster.server.dsn()},
                    )
                )
            )
            ports.append(port)
            if workers > 1:
                await wait_serving(admin, workers)
            if put is not None:
                put(servers[-1].process.pid)
        yield Site(servers, ports, target)


async def measure(
    ground: Ground,
    cluster: Cluster,
    side: str,
    *,
    seconds: float,
    connections: int,
    number: int,
    rate: float | None = None,
    share: float | None = None,
) -> Seen:
    """Measure one side, once. `share`: of a core, for each gateway."""
    async with running_site(ground, cluster, side, share) as site:
        warm = await _load(
            ground, site, seconds=WARM_UP_SECONDS, connections=connections, first=WARM_UP_FIRST
        )
        await _drained(site, warm)
        own, theirs, log = _gateways(site), cluster.cpu_seconds(), cluster.wal_bytes()
        started = time.perf_counter()
        outcomes = await _load(ground, site, seconds=seconds, connections=connections, rate=rate, first=0)
        deliveries = await _drained(site, outcomes)
        own, theirs, log = _gateways(site) - own, cluster.cpu_seconds() - theirs, cluster.wal_bytes() - log
        lasted = time.perf_counter() - started
    accepted = sum(one.ok for one in outcomes)
    began = min(one.began for one in outcomes)
    shared = side != "sqlite"
    return Seen(
        side=side,
        round=number,
        rate=rate,
        accepted=accepted,
        bad=sum(one.bad for one in outcomes),
        per_second=sum(one.rps for one in outcomes),
        delivered_per_second=accepted / (deliveries.last_at - began),
        p50_ms=_mean(outcomes, lambda one: one.p50),
        p99_ms=max(one.p99 for one in outcomes),
        gateway_us=own / accepted * 1e6,
        database_us=theirs / accepted * 1e6 if shared else 0.0,
        wal_bytes=log / accepted if shared else 0.0,
        gateway_cores=own / lasted,
        database_cores=theirs / lasted if shared else 0.0,
    )


async def _load(
    ground: Ground, site: Site, *, seconds: float, connections: int, first: int, rate: float | None = None
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    parts = len(site.ports)

    async def one(number: int, port: int) -> None:
        load = Load(
            seconds=seconds,
            connections=connections // parts,
            rate=None if rate is None else rate / parts,
            first=first + number * SERIALS,
        )
        outcomes.append(await run_load(ground, port, load))

    async with trio.open_nursery() as nursery:
        for number, port in enumerate(site.ports):
            nursery.start_soon(one, number, port)
    return outcomes


async def _drained(site: Site, outcomes: Sequence[Outcome]) -> nginx.Deliveries:
    accepted = sum(one.ok for one in outcomes)
    found = await wait_delivered(site.target, accepted, DELIVERED_WITHIN_SECONDS)
    if found.count < accepted:
        raise BenchError(f"{found.count} of {accepted} were delivered in time")
    return found


def _gateways(site: Site) -> float:
    return sum(server.usage().cpu_seconds for server in site.servers)


def _mean(outcomes: Sequence[Outcome], of: Callable[[Outcome], float]) -> float:
    return sum(of(one) * one.ok for one in outcomes) / sum(one.ok for one in outcomes)
