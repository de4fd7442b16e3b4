"""The duplicates window is full: what an append costs, a key takes on disk, and the pruning of old days."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.depth.filling import (
    FILL_BATCH,
    LIMITS,
    WINDOW_MS,
    fill_window,
    fill_young,
    make_older,
    opened,
)
from bench.depth.pending import BATCH
from bench.depth.process import compare_processes
from bench.depth.rounds import Compared, Side, alternate, compare, percentile_ms
from bench.ground import Ground
from gateway.spool.database import FILE_NAME
from gateway.spool.duplicates import excess
from gateway.spool.engine import Engine

WITHIN_MS: Final = WINDOW_MS * 7 // 8
"""How far back the first bucket began: nothing of it is too old."""
AGED_MS: Final = WINDOW_MS * 3 // 8
"""How much older the keys are made where days are to be pruned: a quarter of them is too old then."""
BURSTS: Final = 8
"""Of load on each process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a full window costs."""

    keys: int
    compared: list[Compared]
    bytes_a_key: float
    open_seconds: float
    filter_seconds: float
    """CPU to make all filters anew, as after an upgrade; in upkeep, a step at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Commits, wall clock, while keys that are too old go and while none do."""

    keys: int
    """Too old at the start."""
    left: int
    quiet_p50_ms: float
    quiet_p99_ms: float
    pruning_p50_ms: float
    pruning_p99_ms: float
    pruning_max_ms: float
    upkeep_p99_ms: float
    """Of the steps of upkeep between them."""


Progress = Callable[[str, int], Callable[[int], object]]


async def measure_window(ground: Ground, *, keys: int, rounds: int, progress: Progress) -> Window:
    """Compare an empty window and a full one, `rounds` long."""
    directory = ground.fresh("window")
    full, empty = directory / "full" / "spool", directory / "empty" / "spool"
    fill_window(full, keys, span_ms=WITHIN_MS, progress=progress("filling the window", keys))
    bytes_a_key = (full / "0" / FILE_NAME).stat().st_size / keys
    with opened(full) as engine:
        started = time.thread_time()
        _make_filters(engine, progress("making filters", keys))
        filter_seconds = time.thread_time() - started
    started = time.perf_counter()
    with opened(full) as other, opened(empty) as one:
        open_seconds = time.perf_counter() - started
        _make_filters(other, lambda _: None)  # that of the bucket that takes keys ends with its process
        young = rounds * BATCH
        told = progress("young keys", 2 * young)
        for engine in (one, other):
            fill_young(engine, young, told)
        sides = Side(one), Side(other)
        alternate(*sides, rounds=rounds, size=BATCH, progress=progress("measuring", rounds))
        compared = compare(*sides, size=BATCH)
    told = progress("measuring the process", BURSTS + 1)
    compared.append(await compare_processes(ground, empty.parent, full.parent, rounds=BURSTS, progress=told))
    shutil.rmtree(directory)
    return Window(
        keys=keys,
        compared=compared,
        bytes_a_key=bytes_a_key,
        open_seconds=open_seconds,
        filter_seconds=filter_seconds,
    )


def measure_pruning(directory: Path, *, keys: int, rounds: int, progress: Progress) -> Pruning:
    """Let days become too old, and look at the commits meanwhile, beside a spool where none do."""
    fill_window(directory / "old", keys, span_ms=WITHIN_MS, progress=progress("filling the window", keys))
    with opened(directory / "old") as engine:
        _make_filters(engine, progress("making filters", keys))
    make_older(directory / "old", AGED_MS)
    upkeep: list[float] = []
    with opened(directory / "old") as other, opened(directory / "quiet") as one:
        at_start = _too_old(other)
        quiet, pruning = Side(one), Side(other)
        told = progress("pruning", rounds)
        for _ in range(rounds):
            if not _too_old(other):
                break
            quiet.round(BATCH)
            pruning.round(BATCH)
            started = time.perf_counter()
            other.tidy(time.time_ns() // 1_000_000)
            upkeep.append(time.perf_counter() - started)
            told(1)
        left = _too_old(other)
    return Pruning(
        keys=at_start,
        left=left,
        quiet_p50_ms=percentile_ms(quiet.wall["accept"], 50),
        quiet_p99_ms=percentile_ms(quiet.wall["accept"], 99),
        pruning_p50_ms=percentile_ms(pruning.wall["accept"], 50),
        pruning_p99_ms=percentile_ms(pruning.wall["accept"], 99),
        pruning_max_ms=max(pruning.wall["accept"]) * 1e3,
        upkeep_p99_ms=percentile_ms(upkeep, 99),
    )


def _make_filters(engine: Engine, told: Callable[[int], object]) -> None:
    while engine.tidy(time.time_ns() // 1_000_000):
        told(FILL_BATCH)


def _too_old(engine: Engine) -> int:
    at_ms = time.time_ns() // 1_000_000
    found = excess(engine.buckets, at_ms, LIMITS)
    return found.keys if found is not None and found.bucket.end_ms <= at_ms - LIMITS.window_ms else 0
