"""The doctor's report: for a terminal, for a pipe, for scripts."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.doctor.finding import Area, Finding, Level, Report, plural
from gateway.telemetry.redaction import visible

_MARKS: Final = {
    Level.OK: ("✓", "green"),
    Level.NOTE: ("·", "cyan"),
    Level.WARNING: ("!", "yellow"),
    Level.PROBLEM: ("✗", "bold red"),
}
_AREAS: Final = tuple(Area)
_WORST_FIRST: Final = (Level.PROBLEM, Level.WARNING, Level.NOTE)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for scripts."""
    return {
        "ok": report.ok,
        "at": report.at.isoformat(timespec="seconds"),
        "running": report.running,
        "counts": {level.value: report.count(level) for level in Level},
        "findings": [
            {
                "code": finding.code,
                "level": finding.level.value,
                "area": finding.area.value,
                "what": finding.what,
                "why": finding.why,
                "remedy": finding.remedy,
                "facts": dict(finding.facts),
            }
            for finding in report.findings
        ],
    }


def lines(report: Report) -> Iterator[str]:
    """Return a line for each finding, and one that counts them: `LEVEL CODE: what; why; remedy (facts)`."""
    for finding in map(_harmless, report.findings):
        told = "; ".join(part for part in (finding.what, finding.why, finding.remedy) if part)
        facts = ", ".join(f"{label} {value}" for label, value in finding.facts)
        yield f"{finding.level} {finding.code}: {told}" + (f" ({facts})" if facts else "")
    yield summary(report)


def summary(report: Report) -> str:
    """Count what was found: `2 problems, 1 warning, 3 notes`."""
    counted = [plural(report.count(level), level.value) for level in _WORST_FIRST if report.count(level)]
    return ", ".join(counted) or "everything is well"


def show(report: Report, console: Console | None = None) -> None:
    """Print the report on a terminal: by area, and at the end, where the eye is, what to do first."""
    screen = console or Console(highlight=False)
    harmless = tuple(map(_harmless, report.findings))
    for area, findings in groupby(
        sorted(harmless, key=lambda one: _AREAS.index(one.area)), key=attrgetter("area")
    ):
        screen.print(Text(f"\n{area.value.capitalize()}", style="bold cyan"))
        screen.print(_area(findings))
    screen.print()
    urgent = [one for one in harmless if one.level is Level.PROBLEM]
    style = "bold red" if urgent else "bold yellow" if report.count(Level.WARNING) else "bold green"
    screen.print(Text(summary(report).capitalize(), style=style))
    todo = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    todo.add_column(width=2, justify="right")
    todo.add_column(overflow="fold")
    for number, finding in enumerate(urgent, start=1):
        todo.add_row(f"{number}.", Text(finding.what))
        if finding.remedy:
            todo.add_row("", Text(finding.remedy, style="dim"))
    if urgent:
        screen.print(Padding(todo, (0, 0, 0, 1)))


def _harmless(finding: Finding) -> Finding:
    """Escape what could steer a terminal: certificates and answers are strangers' texts."""
    return replace(
        finding,
        what=visible(finding.what),
        why=visible(finding.why),
        remedy=visible(finding.remedy),
        facts=tuple((label, visible(value)) for label, value in finding.facts),
    )


def _area(findings: Iterator[Finding]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=2, justify="right")
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.level]
        plain = finding.level in {Level.OK, Level.NOTE}
        table.add_row(Text(mark, style=style), Text(finding.what, style="" if plain else style))
        if finding.why:
            table.add_row("", Text(finding.why, style="dim"))
        if finding.remedy:
            table.add_row("", Text(f"→ {finding.remedy}"))
        if finding.facts:
            table.add_row("", _facts(finding.facts))
    return table


def _facts(facts: tuple[tuple[str, str], ...]) -> Table:
    grid = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(style="dim", overflow="fold")
    for label, value in facts:
        grid.add_row(label, Text(value))
    return grid
