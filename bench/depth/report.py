"""The figures of depth on the screen, as JSON, and on the page."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markdown import Markdown

from bench.ground import BENCH
from bench.page import Section, store
from bench.report import PAGE

RESULT: Final = BENCH / "results" / "depth.json"
SECTION: Final = Section(
    begin="<!-- depth: written by python -m bench.depth -->", end="<!-- end of depth -->"
)
ENOUGH: Final = {"pending": 1.5, "window": 1.3}
"""The ratios that the project asked of itself."""


def publish(found: Mapping[str, Any]) -> None:
    """Write the JSON and the page."""
    store(RESULT, found)
    SECTION.rewrite(PAGE, markdown(found))


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print them."""
    console.print(Markdown(markdown(found)))


def markdown(found: Mapping[str, Any]) -> str:
    """Render what was measured."""
    parts: list[str] = []
    if pending := found.get("pending"):
        parts += [
            f"**CPU µs a row, with {pending['shallow']:,} and with {pending['deep']:,} deliveries pending**",
            _table(pending["compared"], f"{pending['shallow']:,}", f"{pending['deep']:,}", ENOUGH["pending"]),
        ]
    if window := found.get("window"):
        parts += [
            f"**CPU µs a row, with the duplicates window empty and with {window['keys']:,} keys in it**",
            _table(window["compared"], "empty", "full", ENOUGH["window"]),
            f"A key takes {window['bytes_a_key']:.0f} bytes on disk. The file opens in "
            f"{window['open_seconds']:.2f} s; to make all filters anew takes "
            f"{window['filter_seconds']:.0f} s of CPU, in upkeep.",
        ]
    if pruning := found.get("pruning"):
        parts += [
            f"While {pruning['keys'] - pruning['left']:,} keys that had become too old went, a commit of 64 "
            f"took {pruning['pruning_p50_ms']:.1f} ms (median), {pruning['pruning_p99_ms']:.1f} ms (p99), "
            f"{pruning['pruning_max_ms']:.0f} ms (slowest); beside it, where none went, "
            f"{pruning['quiet_p50_ms']:.1f} and {pruning['quiet_p99_ms']:.1f} ms. A step of upkeep between "
            f"two commits: {pruning['upkeep_p99_ms']:.1f} ms (p99)."
        ]
    if resident := found.get("resident"):
        parts += [
            f"The process with {resident['pending']:,} pending for a dead target: ready "
            f"{resident['ready_seconds']:.1f} s after exec, {resident['peak_bytes'] / 1e6:.0f} MB resident "
            f"at most (asked: 250) under 500 notifications/s, acknowledged in "
            f"{resident['p99_ms']:.0f} ms (p99)."
        ]
    if restart := found.get("restart"):
        parts += [
            f"`kill -9` with {restart['pending']:,} pending: ready {restart['ready_seconds']:.1f} s, first "
            f"delivery {restart['first_delivery_seconds']:.1f} s after exec (asked: 3)."
        ]
    return "\n\n".join(parts)


def _table(rows: Sequence[Mapping[str, Any]], shallow: str, deep: str, enough: float) -> str:
    lines = [f"|  | {shallow} | {deep} | ratio | asked |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {one['kind']} | {one['shallow_us']:.1f} | {one['deep_us']:.1f} "
        f"| {one['ratio']:.2f}x | {enough:g}x |"
        for one in rows
    ]
    return "\n".join(lines)
