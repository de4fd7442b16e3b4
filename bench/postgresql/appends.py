"""The spool alone: durable appends by waiting tasks, one delivery each, without TLS, HTTP and deliveries."""

import resource
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from bench.depth.filling import MAX_KEYS, WINDOW_MS, new_append, now_ms
from bench.ground import Ground
from bench.postgresql.cluster import Cluster
from gateway.spool.front import SpoolFront
from gateway.spool.postgresql.spool import PostgresqlOptions, open_postgresql_spool
from gateway.spool.sqlite import SqliteOptions, open_sqlite_spool
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Appends:
    """One measurement."""

    engine: str
    round: int
    tasks: int
    per_second: float
    p50_ms: float
    p99_ms: float
    gateway_us: float
    """CPU of this process for each."""
    database_us: float
    """CPU of PostgreSQL for each; 0 with SQLite, which is in the process."""
    commits_per_second: float
    rows_a_commit: float
    wal_bytes: float
    """Of PostgreSQL's log for each."""


@asynccontextmanager
async def _opened(
    ground: Ground, cluster: Cluster, engine: str, metrics: Metrics
) -> AsyncGenerator[SpoolFront, None]:
    window = {"duplicates_window_seconds": WINDOW_MS / 1000, "duplicates_max": MAX_KEYS}
    if engine == "sqlite":
        options = SqliteOptions(**window, min_free_bytes=0)
        directory = ground.fresh("appends")
        async with open_sqlite_spool(directory, options, metrics=metrics, now_ms=now_ms) as spool:
            yield spool
    else:
        cluster.renew()
        async with open_postgresql_spool(
            PostgresqlOptions(dsn=cluster.dsn, **window), metrics=metrics, now_ms=now_ms
        ) as spool:
            yield spool


async def measure_appends(
    ground: Ground, cluster: Cluster, engine: str, *, tasks: int, seconds: float, number: int
) -> Appends:
    """Append for a while, by so many tasks that each wait for the last one's commit."""
    took: list[float] = []
    metrics = Metrics()
    commits = 0

    def count(_: float) -> None:
        nonlocal commits
        commits += 1

    metrics.spool_commit_seconds.observe = count  # type: ignore[method-assign]
    async with _opened(ground, cluster, engine, metrics) as spool:

        async def append(end: float) -> None:
            while trio.current_time() < end:
                notification = new_append(now_ms()).notification
                started = time.perf_counter()
                await spool.append(notification)
                took.append(time.perf_counter() - started)

        async def load(for_seconds: float) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(append, trio.current_time() + for_seconds)

        await load(seconds / 4)  # warms up: statements are prepared, the first bucket and day are there
        took.clear()
        commits = 0
        own, theirs, log = _own_seconds(), cluster.cpu_seconds(), cluster.wal_bytes()
        began = time.perf_counter()
        await load(seconds)
        lasted = time.perf_counter() - began
        own, theirs, log = _own_seconds() - own, cluster.cpu_seconds() - theirs, cluster.wal_bytes() - log
    took.sort()
    return Appends(
        engine=engine,
        round=number,
        tasks=tasks,
        per_second=len(took) / lasted,
        p50_ms=took[len(took) // 2] * 1e3,
        p99_ms=took[len(took) * 99 // 100] * 1e3,
        gateway_us=own / len(took) * 1e6,
        database_us=theirs / len(took) * 1e6 if engine != "sqlite" else 0.0,
        commits_per_second=commits / lasted,
        rows_a_commit=len(took) / max(1, commits),
        wal_bytes=log / len(took) if engine != "sqlite" else 0.0,
    )


def _own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
