"""The figures on the screen, as JSON, and as the table of docs/performance.md."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.compare import Kind, Measurement, Plan
from bench.figures import Figure
from bench.ground import BENCH, REPOSITORY
from bench.page import Section, store
from bench.plot import Bar, Panel, draw
from bench.sustained import Sustained

RESULT: Final = BENCH / "results" / "latest.json"
PLOT: Final = REPOSITORY / "docs" / "performance.svg"
PAGE: Final = REPOSITORY / "docs" / "performance.md"
SECTION: Final = Section(begin="<!-- figures: written by make bench -->", end="<!-- end of the figures -->")

HEADINGS: Final[Mapping[Kind, str]] = {
    "keep-alive": "Notifications a second, kept-alive connections",
    "handshake": "Full handshakes a second, each with one notification",
}
COLUMNS: Final = (
    *("", "a 200 means", "accepted/s", "slowest-fastest", "delivered/s"),
    *("p50 ms", "p99 ms", "server µs", "gateway is", "asked (aim)"),
)


def show_measurement(one: Measurement, console: Console) -> None:
    """Print one measurement as it is made."""
    outcome = one.outcome
    rate = one.delivered_per_second
    delivered = "" if rate is None else f" delivered {rate:6.0f}/s"
    bad = f" [red]bad {outcome.bad}[/]" if outcome.bad else ""
    console.print(
        f"round {one.round + 1} {one.contender:12} {one.kind:10} {outcome.rps:7.0f}/s"
        f" p50 {outcome.p50:6.2f} p99 {outcome.p99:7.2f} ms"
        f" {one.server_us_per_request:5.0f} µs{delivered}{bad}"
    )


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the tables."""
    for kind, heading in HEADINGS.items():
        mine = [one for one in figures if one.kind == kind]
        if mine:
            # What a 200 means is told on the page: a screen is not wide enough.
            table = Table(COLUMNS[0], *COLUMNS[2:], title=heading, title_justify="left")
            for column in table.columns[1:]:
                column.justify = "right"
            for one in mine:
                title, _, *figures_of_it = _cells(one)
                table.add_row(title, *figures_of_it, style="bold" if one.ratio is None else "")
            console.print(table)


def _cells(one: Figure) -> list[str]:
    bad = f" ({one.bad} bad)" if one.bad else ""
    undelivered = f" ({one.undelivered} not in time)" if one.undelivered else ""
    delivered = "" if one.delivered_per_second is None else f"{one.delivered_per_second:,.0f}{undelivered}"
    asked = "" if one.floor is None else f"{one.floor:g}x ({one.aim:g}x)"
    return [
        one.title,
        one.does,
        f"{one.accepted_per_second:,.0f}{bad}",
        f"{one.low:,.0f}-{one.high:,.0f}",
        delivered,
        f"{one.p50_ms:.1f}",
        f"{one.p99_ms:.1f}",
        f"{one.server_us_per_request:.0f}",
        "" if one.ratio is None else f"{one.ratio:.2f}x",
        asked,
    ]


def result(
    *,
    plan: Plan,
    machine: Mapping[str, object],
    figures: Sequence[Figure],
    measurements: Sequence[Measurement],
    sustained: Sustained | None,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """Put everything into one JSON object."""
    return {
        "schema": 1,
        "machine": dict(machine),
        "plan": asdict(plan),
        "left_out": dict(left_out),
        "figures": [{**asdict(one), "verdict": one.verdict} for one in figures],
        "sustained": None if sustained is None else sustained.as_dict(),
        "measurements": [asdict(one) for one in measurements],
    }


def publish(found: Mapping[str, Any]) -> list[Path]:
    """Write the JSON, the plot, and the tables of the page; return what was written."""
    store(RESULT, found)
    PLOT.write_text(draw(panels(found)))
    SECTION.rewrite(PAGE, markdown(found))
    return [RESULT, PLOT, PAGE]


def panels(found: Mapping[str, Any]) -> list[Panel]:
    """Say what the plot shows."""
    drawn = []
    for kind, heading in HEADINGS.items():
        bars = [
            Bar(
                label=one["title"],
                note=one["does"],
                value=one["accepted_per_second"],
                low=one["low"],
                high=one["high"],
                ours=one["ratio"] is None,
            )
            for one in found["figures"]
            if one["kind"] == kind
        ]
        if bars:
            drawn.append(Panel(title=heading, bars=tuple(bars)))
    return drawn


def markdown(found: Mapping[str, Any]) -> str:
    """Render the tables of the page."""
    machine, plan = found["machine"], found["plan"]
    lines = [
        f"Measured {machine['measured_at'][:10]}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, Linux {machine['kernel']}, {machine['file_system']}; "
        f"{plan['rounds']} rounds of {plan['seconds']:g} s, {plan['connections']} connections, medians.",
        "",
    ]
    for kind, heading in HEADINGS.items():
        mine = [one for one in found["figures"] if one["kind"] == kind]
        if mine:
            lines += [f"**{heading}**", "", _markdown_table(mine), ""]
    if found["sustained"]:
        lines += ["**Meta's top tier, sustained**", "", *_markdown_sustained(found["sustained"]), ""]
    for name, why in found["left_out"].items():
        lines += [f"Left out: {name} ({why}).", ""]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines += [f"Versions: {versions}."]
    return "\n".join(lines)


def _markdown_table(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = [COLUMNS, ("---", "---", *["---:"] * (len(COLUMNS) - 2))]
    rows += [tuple(_cells(_figure(one))) for one in figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _figure(one: Mapping[str, Any]) -> Figure:
    return Figure(**{name: value for name, value in one.items() if name != "verdict"})


def _markdown_sustained(found: Mapping[str, Any]) -> list[str]:
    outcome = found["outcome"]
    return [
        f"{found['rate']:g} notifications/s for {found['seconds']:g} s over {found['connections']} "
        f"connections, paced: {outcome['ok']:,} accepted, {outcome['bad']} refused, {found['unsent']} not "
        f"sent in time; acknowledged in {outcome['p50']:.1f} ms (median), {outcome['p99']:.1f} ms (p99), "
        f"{outcome['max']:.0f} ms (slowest); {found['lost']} lost, {found['late']} delivered later than 5 s "
        f"after the end, {found['twice']} delivered twice; the last delivery "
        f"{found['last_after_seconds']:+.2f} s after the end; "
        f"{found['peak_bytes'] / 1e6:.0f} MB resident at most.",
    ]
