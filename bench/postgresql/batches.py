"""What a transaction costs by its size: the inputs of `bench.model`."""

from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.postgresql.cluster import Cluster
from bench.postgresql.depth import KINDS, WARM_UP, opened_side

SIZES: Final = (1, 8, 64, 256)
STANDING: Final = 256
"""Pending beside what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One kind of transaction of one size: medians, in microseconds for the whole of it."""

    kind: str
    size: int
    gateway_us: float
    database_us: float
    wall_us: float


def measure_batches(cluster: Cluster, *, rounds: int) -> list[Batch]:
    """Measure accept, claim and settle in every size, in turn."""
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    with opened_side(cluster, STANDING, lambda _: None) as side:
        for number in range(-WARM_UP, rounds):
            for size in SIZES:
                side.forget()
                side.round(size)
                for kind in KINDS if number >= 0 else ():
                    figures = (side.cpu[kind][0], side.database[kind][0], side.wall[kind][0])
                    found.setdefault((kind, size), []).append(figures)
    return [
        Batch(
            kind=kind,
            size=size,
            gateway_us=median(one[0] for one in seen) * 1e6,
            database_us=median(one[1] for one in seen) * 1e6,
            wall_us=median(one[2] for one in seen) * 1e6,
        )
        for (kind, size), seen in found.items()
    ]
