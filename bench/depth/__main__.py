"""What a million pending deliveries, a full duplicates window and a `kill -9` cost.

Run: `.venv/bin/python -m bench.depth [--parts pending window pruning resident restart]`. It needs 3 GB of
disk in bench/.run, which it gives back, and some nine minutes. With --parts, the results of the others stay.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.depth import report
from bench.depth.filling import MAX_KEYS
from bench.depth.pending import (
    BATCH,
    DEEP,
    RESTARTED_WITH,
    SHALLOW,
    measure_pending,
    measure_resident,
    measure_restart,
)
from bench.depth.window import measure_pruning, measure_window
from bench.ground import RUN, Ground, made_ground
from bench.machine import describe
from bench.processes import BenchError, ended_by_signals, run_to_exit_code
from gateway.spool.duplicates import YOUNG_KEYS

PARTS: Final = ("pending", "resident", "restart", "window", "pruning")
PRUNED_KEYS: Final = 4_000_000
"""Enough that the pruning lasts for a thousand commits."""
DISK_BYTES: Final = 4 * 10**9


class Run:
    """What the parts share."""

    def __init__(self, given: argparse.Namespace, ground: Ground, bars: Progress) -> None:
        self._given = given
        self._ground = ground
        self._bars = bars

    def _progress(self, text: str, total: int) -> Callable[[int], object]:
        task = self._bars.add_task(text, total=total)
        return lambda more: self._bars.advance(task, more)

    async def measure(self, parts: list[str]) -> dict[str, Any]:
        """Do the parts asked for; the spool with much pending serves two of them."""
        found: dict[str, Any] = {}
        given, ground = self._given, self._ground
        if "pending" in parts or "resident" in parts:
            directory = ground.fresh("pending")
            compared = measure_pending(
                directory, deep=given.pending, rounds=given.rounds, progress=self._progress
            )
            found["pending"] = {
                "shallow": SHALLOW,
                "deep": given.pending,
                "compared": [asdict(one) for one in compared],
            }
            if "resident" in parts:
                (directory / "deep").rename(directory / "spool")
                found["resident"] = asdict(await measure_resident(ground, directory, given.pending))
            shutil.rmtree(directory)
        if "restart" in parts:
            told = self._progress("filling", RESTARTED_WITH)
            found["restart"] = asdict(await measure_restart(ground, told))
        if "window" in parts:
            found["window"] = asdict(
                await measure_window(
                    ground, keys=given.keys, rounds=given.window_rounds, progress=self._progress
                )
            )
        if "pruning" in parts:
            directory = ground.fresh("pruning")
            keys = min(PRUNED_KEYS, given.keys)
            found["pruning"] = asdict(
                measure_pruning(directory, keys=keys, rounds=4 * given.rounds, progress=self._progress)
            )
            shutil.rmtree(directory)
        return found


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.depth", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--pending", type=int, default=DEEP)
    parser.add_argument("--keys", type=int, default=MAX_KEYS)
    parser.add_argument("--rounds", type=int, default=300, help="of append, claim and settle, on both sides")
    parser.add_argument(
        "--window-rounds",
        type=int,
        default=YOUNG_KEYS // BATCH,
        help="of the same with a full window; by default, until a whole generation of keys is in its bucket",
    )
    parser.add_argument("--no-publish", action="store_true", help="leave results/ and the page alone")
    return parser.parse_args()


async def _run(given: argparse.Namespace, console: Console) -> None:
    RUN.mkdir(exist_ok=True)
    if shutil.disk_usage(RUN).free < DISK_BYTES:
        raise BenchError(f"{RUN} has less than {DISK_BYTES / 1e9:.0f} GB free")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with ended_by_signals():
        with made_ground() as ground, Progress(*columns, console=Console(stderr=True)) as bars:
            found = await Run(given, ground, bars).measure(given.parts)
    report.show(found, console)
    if not given.no_publish:
        before = _stored(report.RESULT)
        report.publish({**before, "schema": 1, "machine": describe(), **found})
        console.print(f"wrote {report.RESULT} and {report.PAGE}")


def _stored(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def main() -> int:
    """Run from the command line."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    given = _read_arguments()
    return run_to_exit_code(lambda: _run(given, console), console)


if __name__ == "__main__":
    sys.exit(main())
