"""What `gateway status` shows: rich tables on a terminal, from 80 columns on; lines with tabs in a pipe."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.cli.targets.commands import brief_note
from gateway.doctor.finding import plural, say_duration
from gateway.telemetry.redaction import visible

WIDE_COLUMNS: Final = 120
"""From here on there is room for what was delivered and for notes."""
FAR_DAYS: Final = 30
"""Days left of a certificate: below it, it is coloured as the log warns."""
NEAR_DAYS: Final = 14

_COLOURS: Final = {
    "delivering": "green",
    "recovering": "yellow",
    "paused": "cyan",
    "open": "bold red",
    "unknown": "yellow",
    "stopped": "dim",
}
_NONE: Final = "-"


def lines(seen: Mapping[str, Any]) -> Iterator[str]:
    """Return one line a thing: its kind first, tabs between the fields."""
    yield f"gateway\t{_headline(seen)}"
    for one in seen["conditions"]:
        yield "\t".join(
            visible(part)
            for part in ("condition", one["condition"], one["since"], one["summary"], *one["next_steps"][:1])
        )
    now = datetime.fromisoformat(seen["at"])
    for name, target in seen["targets"].items():
        cells = (*_cells(name, target, now), str(target.get("delivered", _NONE)), _note(target, now))
        yield "\t".join(visible(cell) for cell in ("target", *cells))
    for worker in seen["workers"]:
        yield f"worker\t{worker['worker']}\t{worker['state']}\t{worker['restarts']} restarts"
    for one in _by_days(seen["certificates"]):
        cells = ("certificate", one["name"], f"{one['days_left']} d", one["not_after"], one["subject"])
        yield "\t".join(visible(cell) for cell in cells)


def show(seen: Mapping[str, Any]) -> None:
    """Print it once."""
    console = Console()
    console.print(report(seen, width=console.width))


def draw(looks: Iterable[Mapping[str, Any]]) -> None:
    """Draw it anew with each look, until Ctrl-C."""
    console = Console()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        for seen in looks:
            live.update(report(seen, width=console.width), refresh=True)


def report(seen: Mapping[str, Any], *, width: int) -> RenderableType:
    """Return what is shown: what is the matter first."""
    now = datetime.fromisoformat(seen["at"])
    parts: list[RenderableType] = [Text(_headline(seen), style="bold" if seen["running"] else "bold yellow")]
    for one in seen["conditions"]:
        parts += _condition(one, now)
    parts.append(_targets(seen["targets"], now, wide=width >= WIDE_COLUMNS))
    if width < WIDE_COLUMNS:
        parts += _notes(seen["targets"], now)
    if ill := [one for one in seen["workers"] if one["state"] != "serving"]:
        told = ", ".join(f"worker {one['worker']} is {one['state']}" for one in ill)
        parts.append(Text(told, style="yellow"))
    parts.append(_certificates(seen["certificates"], wide=width >= WIDE_COLUMNS))
    return Group(*parts)


def _headline(seen: Mapping[str, Any]) -> str:
    if not seen["running"]:
        return "no gateway runs: this is what lies in the spool"
    failing = seen["ready"]
    if failing:
        told = "; ".join(f"{name}: {detail}" if detail else name for name, detail in failing.items())
        return visible(f"the gateway runs, and is not ready ({told})")
    matter = plural(len(seen["conditions"]), "condition") if seen["conditions"] else "nothing is the matter"
    workers = f", {plural(len(seen['workers']), 'worker')}" if seen["workers"] else ""
    return f"the gateway runs and is ready{workers}; {matter}"


def _condition(one: Mapping[str, Any], now: datetime) -> Iterator[RenderableType]:
    began = datetime.fromisoformat(one["since"])
    since = f"{began:%H:%M} UTC" if began.date() == now.date() else f"{began:%Y-%m-%d %H:%M} UTC"
    head = Text.assemble(
        ("✗ ", "bold red"), (one["condition"], "bold red"), f"  {visible(one['summary'])} (since {since})"
    )
    yield Padding(head, (1, 0, 0, 0))
    for evidence in one["evidence"]:
        yield Padding(Text(visible(evidence), style="dim"), (0, 0, 0, 4))
    for step in one["next_steps"]:
        yield Padding(Text(f"→ {visible(step)}"), (0, 0, 0, 4))


def _targets(targets: Mapping[str, Mapping[str, Any]], now: datetime, *, wide: bool) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("target", overflow="fold")
    table.add_column("state", no_wrap=True)
    for title in ("pending", "oldest", "next", "gives up", "dead letters"):
        table.add_column(title, justify="right", no_wrap=True)
    if wide:
        table.add_column("delivered", justify="right")
        table.add_column("note", overflow="fold")
    for name, target in targets.items():
        cells = [Text(visible(cell)) for cell in _cells(name, target, now)]
        cells[1].stylize(_COLOURS.get(cells[1].plain, ""))
        if target.get("dead_letters"):
            cells[6].stylize("yellow")
        if wide:
            cells += [Text(str(target.get("delivered", _NONE))), Text(visible(_note(target, now)))]
        table.add_row(*cells)
    return table if targets else Padding(Text("nothing waits, and nothing is known of targets"), (1, 0))


def _notes(targets: Mapping[str, Mapping[str, Any]], now: datetime) -> Iterator[RenderableType]:
    for name, target in targets.items():
        if note := _note(target, now):
            yield Padding(Text(visible(f"{name}: {note}"), style="dim"), (0, 0, 0, 2))


def _cells(name: str, target: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    waits = bool(target["pending"])
    return (
        name,
        str(target.get("state", _NONE)),
        str(target["pending"]),
        say_duration(target["oldest_seconds"]) if waits else _NONE,
        _until(target.get("next_attempt_at"), now) if waits else _NONE,
        _until(target.get("next_give_up_at"), now) if waits else _NONE,
        str(target["dead_letters"]),
    )


def _until(moment: str | None, now: datetime) -> str:
    if moment is None:
        return _NONE
    seconds = (datetime.fromisoformat(moment) - now).total_seconds()
    return say_duration(seconds) if seconds >= 1 else "now"


def _note(target: Mapping[str, Any], now: datetime) -> str:
    notes = [brief_note(target, round(now.timestamp() * 1000))]
    if (failure := target.get("last_error")) and target.get("pending"):
        came = failure["error"] or f"answered {failure['status']}"
        ago = say_duration((now - datetime.fromisoformat(failure["at"])).total_seconds())
        notes.append(f"last failure {ago} ago: {came}")
    return ", ".join(filter(None, notes))


def _certificates(certificates: Iterable[Mapping[str, Any]], *, wide: bool) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("certificate", no_wrap=True, min_width=16)
    table.add_column("days left", justify="right", no_wrap=True, min_width=9)
    if wide:
        table.add_column("until", no_wrap=True, min_width=24)
    table.add_column("subject", overflow="ellipsis", no_wrap=True)
    for one in _by_days(certificates):
        days = one["days_left"]
        colour = "bold red" if days < NEAR_DAYS else "yellow" if days < FAR_DAYS else ""
        until = (Text(one["not_after"]),) if wide else ()
        table.add_row(
            Text(visible(one["name"])), Text(str(days), colour), *until, Text(visible(one["subject"]))
        )
    return table


def _by_days(certificates: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(certificates, key=lambda one: (one["days_left"], one["name"]))
