"""A million deliveries are pending in PostgreSQL: what accepting, claiming and settling cost, on both sides.

As `bench.depth.rounds`: one engine without its thread and without Trio, two clusters measured in turn, batch
by batch. What counts is CPU time: of this thread, and of the one server process that serves it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench.depth.filling import FILL_BATCH, LIMITS, new_append, now_ms
from bench.depth.rounds import Side
from bench.postgresql.cluster import Cluster, backend_seconds, running_cluster
from gateway.spool.postgresql.engine import Engine
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.partitions import Days

KINDS: Final = ("accept", "claim", "settle")
WARM_UP: Final = 10
"""Rounds after which the server has settled on its plans."""


@dataclass(slots=True)
class SharedSide(Side):
    """One of the two databases."""

    pid: int = 0
    """Of the server process behind the engine."""
    database: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """CPU seconds of it, of each batch."""

    def step(self, kind: str, work: Callable[[], object]) -> None:
        """Do one batch, measured on both sides."""
        before = backend_seconds(self.pid)
        Side.step(self, kind, work)
        self.database[kind].append(backend_seconds(self.pid) - before)

    def forget(self) -> None:
        """Begin anew, warmed up."""
        for found in (self.cpu, self.wall, self.database):
            found.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One kind of batch in both: CPU microseconds a row, medians, and the ratios of pairs of neighbours."""

    kind: str
    shallow_gateway_us: float
    deep_gateway_us: float
    shallow_database_us: float
    deep_database_us: float
    gateway_ratio: float
    database_ratio: float
    ratio: float
    """Of both together."""
    shallow_ms: float
    """Of a batch, by the clock on the wall."""
    deep_ms: float


@contextmanager
def opened_side(cluster: Cluster, pending: int, told: Callable[[int], object]) -> Iterator[SharedSide]:
    """Open an engine on a fresh spool with so many pending."""
    cluster.renew()
    link = Link(cluster.dsn)
    engine = Engine(link, writer=1, limits=LIMITS, keep_ms=0, days=Days(), now_ms=now_ms)
    engine.learn()
    try:
        [(pid,)] = link.execute("SELECT pg_backend_pid()")
        side = SharedSide(engine, pid=pid)  # type: ignore[arg-type]
        for start in range(0, pending, FILL_BATCH):
            size = min(FILL_BATCH, pending - start)
            engine.run([new_append(now_ms()) for _ in range(size)])
            told(size)
        cluster.server.sql("CHECKPOINT")
        yield side
    finally:
        engine.close(clean=True)


def measure_depth(
    *,
    shallow: int,
    deep: int,
    rounds: int,
    size: int,
    progress: Callable[[str, int], Callable[[int], object]],
) -> list[Compared]:
    """Compare a database with some pending and one with many; a batch is of `size` rows."""
    told = progress("filling", shallow + deep)
    with (
        running_cluster() as few,
        running_cluster() as many,
        opened_side(few, shallow, told) as one,
        opened_side(many, deep, told) as other,
    ):
        measuring = progress("measuring", rounds)
        for number in range(-WARM_UP, rounds):
            if number == 0:
                one.forget()
                other.forget()
            for side in (one, other) if number % 2 else (other, one):
                side.round(size)
            measuring(number >= 0)
        return [_compare(kind, one, other, size) for kind in KINDS]


def _compare(kind: str, one: SharedSide, other: SharedSide, size: int) -> Compared:
    def both(side: SharedSide) -> list[float]:
        return [own + theirs for own, theirs in zip(side.cpu[kind], side.database[kind], strict=True)]

    def us(values: Sequence[float]) -> float:
        return median(values) / size * 1e6

    return Compared(
        kind=kind,
        shallow_gateway_us=us(one.cpu[kind]),
        deep_gateway_us=us(other.cpu[kind]),
        shallow_database_us=us(one.database[kind]),
        deep_database_us=us(other.database[kind]),
        gateway_ratio=_ratio(one.cpu[kind], other.cpu[kind]),
        database_ratio=_ratio(one.database[kind], other.database[kind]),
        ratio=_ratio(both(one), both(other)),
        shallow_ms=median(one.wall[kind]) * 1e3,
        deep_ms=median(other.wall[kind]) * 1e3,
    )


def _ratio(before: Sequence[float], after: Sequence[float]) -> float:
    return median(d / s for s, d in zip(before, after, strict=True))
