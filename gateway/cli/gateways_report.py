"""How the gateways on one database are told of: a line for all, and one for each that does not answer."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gateway.doctor.finding import plural, say_duration
from gateway.telemetry.redaction import visible

Gateways = Sequence[Mapping[str, Any]]
"""As `/api/status` has them; empty where a spool is one gateway's own."""

ANSWERS: Final = "answers"
NO_ANSWER: Final = "no_answer"
_SHOWN: Final[Mapping[str, str]] = {NO_ANSWER: "no answer", "silent": "not heard of"}
"""States for eyes; the others as they are."""


def told_of_gateways(gateways: Gateways) -> str:
    """Say how many answered, and who did not; nothing where there is only the one that was asked."""
    if len(gateways) <= 1 and all(one["own"] for one in gateways):
        return ""
    answering = sum(one["state"] == ANSWERS for one in gateways)
    head = f"{answering} of {plural(len(gateways), 'gateway')} answered"
    if not any(one["own"] for one in gateways):
        head = (
            f"this gateway is stopped: the others tell what follows ({answering} of {len(gateways)} answered)"
        )
    return "; ".join([head, *_absent(gateways)])


def told_of_absent(gateways: Gateways) -> str:
    """Name those that did not answer; nothing where all did."""
    return "; ".join(_absent(gateways))


def _absent(gateways: Gateways) -> Iterator[str]:
    return (_why(one) for one in gateways if one["state"] != ANSWERS)


def lines_of_gateways(gateways: Gateways) -> Iterator[str]:
    """Return a line for each, tabs between the fields."""
    for one in gateways:
        cells = ("replica", *cells_of_gateway(one), "this" if one["own"] else "other")
        yield "\t".join(visible(cell) for cell in cells)


def cells_of_gateway(one: Mapping[str, Any]) -> tuple[str, ...]:
    """Return name, state, since when it runs, when it was heard of, version."""
    return (
        str(one["gateway"]),
        str(one["state"]),
        str(one["started_at"] or "-"),
        str(one["last_heard_at"] or "-"),
        str(one["version"]),
    )


def draw_gateways(gateways: Gateways, now: datetime) -> Iterator[RenderableType]:
    """Draw a table of them, for eyes; nothing where there is only one."""
    told = told_of_gateways(gateways)
    if not told:
        return
    if any(one["own"] for one in gateways):  # else it stands above all
        yield Text(told, style="yellow" if told_of_absent(gateways) else "")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("gateway", overflow="fold")
    table.add_column("state", no_wrap=True)
    for title in ("runs for", "heard of"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("version", no_wrap=True)
    for one in gateways:
        started = datetime.fromisoformat(one["started_at"]) if one["started_at"] else now
        colour = "green" if one["state"] == ANSWERS else "yellow"
        table.add_row(
            Text(visible(f"{one['gateway']}{' (this one)' if one['own'] else ''}")),
            Text(visible(_SHOWN.get(one["state"], str(one["state"]))), colour),
            Text(say_duration(max(0.0, (now - started).total_seconds()))),
            Text(f"{say_duration(one['silent_seconds'])} ago"),
            Text(visible(str(one["version"]))),
        )
    yield table


def differences(target: Mapping[str, Any]) -> str:
    """Say how a target is on each gateway, where they differ."""
    told = (f"{one['state']} on {visible(str(one['gateway']))}" for one in target.get("gateways") or ())
    return ", ".join(told)


def _why(one: Mapping[str, Any]) -> str:
    name = visible(str(one["gateway"]))
    if one["state"] == NO_ANSWER:
        return f"{name} did not answer in time"
    return f"{name} not heard of for {say_duration(one['silent_seconds'])}"
