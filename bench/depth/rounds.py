"""Two spools, measured in turn, many times: what a batch costs in each, and the ratio.

The engine is driven without the writer thread and without Trio, so that what is measured is SQLite's work and
the engine's alone, in CPU time of the thread (user and system): neighbours on the machine lengthen the wall
clock, and hardly that. Ratios are of each pair of neighbours in time; medians are shown.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from bench.depth.filling import TARGET, new_append, now_ms
from bench.processes import BenchError
from gateway.spool.contract import Done
from gateway.spool.engine import Engine
from gateway.spool.requests import Request, Settle, Take
from gateway.spool.writer import CHECKPOINT_EVERY, CHECKPOINT_PAGES

RETRY_MS: Final = 3_600_000


@dataclass(slots=True)
class Side:
    """One of the two spools, and what each kind of batch has cost there."""

    engine: Engine
    cpu: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """CPU seconds of each batch."""
    wall: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    batches: int = 0

    def step(self, kind: str, work: Callable[[], object]) -> None:
        """Do one batch, measured."""
        wall, cpu = time.perf_counter(), time.thread_time()
        work()
        self.cpu[kind].append(time.thread_time() - cpu)
        self.wall[kind].append(time.perf_counter() - wall)

    def run(self, kind: str, batch: Sequence[Request]) -> None:
        """Do one batch as the writer does, checkpoints included; those are counted for themselves."""
        self.step(kind, lambda: self.engine.run(list(batch)))
        for request in batch:
            if request.error is not None:
                raise request.error
        self.batches += 1
        self.step("checkpoint", self._checkpoint)

    def _checkpoint(self) -> None:
        if self.batches % CHECKPOINT_EVERY == 0 and self.engine.wal_pages() >= CHECKPOINT_PAGES:
            self.engine.checkpoint()

    def round(self, size: int) -> None:
        """Append so many, lease as many, settle them: the depth stays what it is."""
        at_ms = now_ms()
        self.run("accept", [new_append(at_ms) for _ in range(size)])
        take = Take(
            target=TARGET, now_ms=at_ms, limit=size, next_due_ms=lambda _: at_ms + RETRY_MS, merging=None
        )
        self.run("claim", [take])
        if len(take.result) != size:
            raise BenchError(f"{len(take.result)} of {size} could be leased")
        self.run("settle", [Settle(settled=((lease.token, Done()),)) for lease in take.result])


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One kind of batch in both spools."""

    kind: str
    shallow_us: float
    """CPU microseconds a row: the median."""
    deep_us: float
    ratio: float
    """The median of the ratios of each pair."""


def alternate(
    shallow: Side, deep: Side, *, rounds: int, size: int, progress: Callable[[int], object]
) -> None:
    """Do rounds on both, each time the other first."""
    for number in range(rounds):
        for side in (shallow, deep) if number % 2 else (deep, shallow):
            side.round(size)
        progress(1)


def compare(shallow: Side, deep: Side, *, size: int) -> list[Compared]:
    """Return what each kind costs in both, and the sum of all, checkpoints included."""
    found = [
        Compared(
            kind=kind,
            shallow_us=median(shallow.cpu[kind]) / size * 1e6,
            deep_us=median(deep.cpu[kind]) / size * 1e6,
            ratio=median(d / s for s, d in zip(shallow.cpu[kind], deep.cpu[kind], strict=True)),
        )
        for kind in ("accept", "claim", "settle")
    ]
    rounds = len(shallow.cpu["accept"])
    whole = [sum(sum(one) for one in side.cpu.values()) / rounds / size * 1e6 for side in (shallow, deep)]
    found.append(
        Compared(
            kind="all, checkpoints included", shallow_us=whole[0], deep_us=whole[1], ratio=whole[1] / whole[0]
        )
    )
    return found


def percentile_ms(values: Sequence[float], percent: int) -> float:
    """Return a percentile of seconds, in milliseconds."""
    return quantiles(values, n=100)[percent - 1] * 1e3
