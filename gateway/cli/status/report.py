"""What `gateway status` shows: rich tables on a terminal, from 80 columns on; lines with tabs in a pipe."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.cli.gateways_report import draw_gateways, lines_of_gateways, told_of_gateways
from gateway.cli.targets.report import NONE, WIDE_COLUMNS, cells_of, note_of, step
from gateway.cli.targets.report import draw as draw_targets
from gateway.doctor.finding import plural
from gateway.telemetry.redaction import visible

FAR_DAYS: Final = 30
"""Days left of a certificate: below it, it is coloured as the log warns."""
NEAR_DAYS: Final = 14

_COMMON_NAME: Final = re.compile(r"(?:^|,)CN=((?:\\.|[^,\\])+)")
"""Of a subject (RFC 4514): what tells one certificate from the other where there is little room."""


def lines(seen: Mapping[str, Any]) -> Iterator[str]:
    """Return one line a thing: its kind first, tabs between the fields."""
    yield f"gateway\t{_headline(seen)}"
    for name, remark in seen["remarks"].items():
        yield f"remark\t{visible(name)}\t{visible(remark)}"
    for one in seen["conditions"]:
        yield "\t".join(
            visible(part)
            for part in ("condition", one["condition"], one["since"], one["summary"], *one["next_steps"][:1])
        )
    now = datetime.fromisoformat(seen["at"])
    for name, target in seen["targets"].items():
        cells = (*cells_of(name, target, now), str(target.get("delivered", NONE)), note_of(target, now))
        yield "\t".join(visible(cell) for cell in ("target", *cells))
    for worker in seen["workers"]:
        yield f"worker\t{worker['worker']}\t{worker['state']}\t{worker['restarts']} restarts"
    yield from lines_of_gateways(seen["gateways"])
    for one in _by_days(seen["certificates"]):
        cells = ("certificate", _named(one), f"{one['days_left']} d", one["not_after"], one["subject"])
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
            live.update(fitting(seen, console), refresh=True)


def fitting(seen: Mapping[str, Any], console: Console) -> RenderableType:
    """Return the report, in short where the whole does not fit: what is drawn anew cannot be scrolled."""
    whole = report(seen, width=console.width)
    if len(console.render_lines(whole)) <= console.height:
        return whole
    return report(seen, width=console.width, brief=True)


def report(seen: Mapping[str, Any], *, width: int, brief: bool = False) -> RenderableType:
    """Return what is shown: what is the matter first; `brief`: no evidence, no cures, nothing far off."""
    now = datetime.fromisoformat(seen["at"])
    parts: list[RenderableType] = [Text(_headline(seen), style="bold" if seen["running"] else "bold yellow")]
    for name, remark in seen["remarks"].items():
        parts.append(Text(f"! {name}: {visible(remark)}", style="yellow"))
    for _, alike in groupby(seen["conditions"], key=_steps_of):
        for one in (together := list(alike)):
            parts += [_headed(one, now)] if brief else _condition(one, now)
        if not brief:
            parts += _cures(together)
    if brief and seen["conditions"]:
        parts.append(step("gateway status, without --watch, has evidence and next steps"))
    parts += draw_targets(seen["targets"], now, width=width)
    if ill := [one for one in seen["workers"] if one["state"] != "serving"]:
        told = ", ".join(f"worker {one['worker']} is {one['state']}" for one in ill)
        parts.append(Text(told, style="yellow"))
    parts += [Text(told_of_gateways(seen["gateways"]))] if brief else draw_gateways(seen["gateways"], now)
    if brief:
        ending = [one for one in _by_days(seen["certificates"]) if one["days_left"] < FAR_DAYS]
        parts += [Text(visible(f"! {_named(one)}: {one['days_left']} days left"), "yellow") for one in ending]
    else:
        parts.append(_certificates(seen["certificates"], wide=width >= WIDE_COLUMNS))
    return Group(*parts)


def _headline(seen: Mapping[str, Any]) -> str:
    if not seen["running"]:
        others = told_of_gateways(seen["gateways"])
        return others or "no gateway runs: this is what lies in the spool"
    failing = seen["ready"]
    if failing:
        told = "; ".join(f"{name}: {detail}" if detail else name for name, detail in failing.items())
        return visible(f"the gateway runs, and is not ready ({told})")
    counts = {"condition": len(seen["conditions"]), "remark": len(seen["remarks"])}
    matter = ", ".join(plural(count, noun) for noun, count in counts.items() if count)
    workers = f", {plural(len(seen['workers']), 'worker')}" if seen["workers"] else ""
    return f"the gateway runs and is ready{workers}; {matter or 'nothing is the matter'}"


def _headed(one: Mapping[str, Any], now: datetime) -> Text:
    began = datetime.fromisoformat(one["since"])
    since = f"{began:%H:%M} UTC" if began.date() == now.date() else f"{began:%Y-%m-%d %H:%M} UTC"
    return Text.assemble(
        ("✗ ", "bold red"), (one["condition"], "bold red"), f"  {visible(one['summary'])} (since {since})"
    )


def _condition(one: Mapping[str, Any], now: datetime) -> Iterator[RenderableType]:
    yield Padding(_headed(one, now), (1, 0, 0, 0))
    for evidence in one["evidence"]:
        yield Padding(Text(visible(evidence), style="dim"), (0, 0, 0, 4))


def _steps_of(condition: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what to do about it, whichever target it is about."""
    target = condition.get("target")
    if not target:
        return tuple(condition["next_steps"])
    named = re.compile(rf"(?<!\S){re.escape(target)}(?!\S)")
    return tuple(named.sub("NAME", cure) for cure in condition["next_steps"])


def _cures(alike: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Draw once what is to be done about conditions that differ in their target alone."""
    for cure in alike[0]["next_steps"] if len(alike) == 1 else _steps_of(alike[0]):
        yield Padding(Text(f"→ {visible(cure)}"), (0, 0, 0, 4))


def _certificates(certificates: Iterable[Mapping[str, Any]], *, wide: bool) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("certificate", no_wrap=True, min_width=16)
    table.add_column("days left", justify="right", no_wrap=True, min_width=9)
    if wide:
        table.add_column("until", no_wrap=True, min_width=24)
    table.add_column("subject", overflow="fold")
    for one in _by_days(certificates):
        days = one["days_left"]
        colour = "bold red" if days < NEAR_DAYS else "yellow" if days < FAR_DAYS else ""
        until = (Text(one["not_after"]),) if wide else ()
        common = _COMMON_NAME.search(one["subject"])
        told = one["subject"] if wide or common is None else common[1]
        table.add_row(Text(visible(_named(one))), Text(str(days), colour), *until, Text(visible(told)))
    return table


def _named(one: Mapping[str, Any]) -> str:
    """Name a certificate: `server`, `client:meta`, `anchor:meta 9dc8f59d6e51d148`."""
    is_anchor = one["role"] in ("anchor", "staged")
    return f"{one['role']}:{one['client']} {one['name']}" if is_anchor else str(one["name"])


def _by_days(certificates: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(certificates, key=lambda one: (one["days_left"], one["name"]))
