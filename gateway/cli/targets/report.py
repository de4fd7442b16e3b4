"""How targets are shown: one table for eyes, here and in `gateway status`; lines with tabs in a pipe."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.cli.gateways_report import differences
from gateway.doctor.finding import plural, say_duration
from gateway.telemetry.redaction import visible

WIDE_COLUMNS: Final = 120
"""From here on there is room for what was delivered, and for notes beside the numbers."""

NONE: Final = "-"
"""Also the state of the pseudo-target of what no route takes, and of a former target with dead letters."""
OPEN: Final = "open"
PAUSED: Final = "paused"

_SHOWN: Final[Mapping[str, str]] = {OPEN: "breaker open"}
"""States for eyes, as the dashboard has them; the others as they are."""
_COLOURS: Final[Mapping[str, str]] = {
    "delivering": "green",
    "recovering": "yellow",
    PAUSED: "cyan",
    OPEN: "bold red",
    "unknown": "yellow",
    "stopped": "dim",
}

Targets = Mapping[str, Mapping[str, Any]]
"""As `/api/status` has them."""


def show(targets: Targets, now: datetime) -> None:
    """Print `gateway targets list` on a terminal."""
    console = Console()
    parts = list(draw(targets, now, width=console.width))
    if any(target.get("state") == OPEN for target in targets.values()):
        parts.append(step("gateway status says since when, why, and what to do"))
    console.print(Group(*parts))


def draw(targets: Targets, now: datetime, *, width: int) -> Iterator[RenderableType]:
    """Draw the table, what there is to say of single targets, and where the dead letters are."""
    if not targets:
        yield Padding(Text("nothing waits, and nothing is known of targets"), (1, 0))
        return
    wide = width >= WIDE_COLUMNS
    yield _table(targets, now, wide=wide)
    for name, target in targets.items():
        if not wide and (note := note_of(target, now)):
            told = f"{name}: paused {note}" if target.get("pause") else f"{name}: {note}"
            yield Padding(Text(visible(told), style="dim"), (0, 0, 0, 2))
    dead = {name: target["dead_letters"] for name, target in targets.items() if target.get("dead_letters")}
    if dead:
        which = f" --target {next(iter(dead))}" if len(dead) == 1 else ""
        yield step(visible(f"{plural(sum(dead.values()), 'dead letter')}: gateway dead-letters list{which}"))


def step(text: str) -> RenderableType:
    """Draw a next step below a table."""
    return Padding(Text(f"→ {text}"), (0, 0, 0, 2))


def _table(targets: Targets, now: datetime, *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("target", overflow="fold")
    table.add_column("state", no_wrap=True)
    for title in ("pending", "oldest", "next", "gives up", "dead\nletters"):
        table.add_column(title, justify="right", no_wrap=True)
    if wide:
        table.add_column("delivered", justify="right")
        table.add_column("note", overflow="fold")
    for name, target in targets.items():
        state = str(target.get("state", NONE))
        cells = [Text(visible(cell)) for cell in cells_of(name, target, now)]
        cells[1] = Text(visible(_SHOWN.get(state, state)), _COLOURS.get(state, ""))
        if target.get("dead_letters"):
            cells[6].stylize("yellow")
        if wide:
            cells += [Text(str(target.get("delivered", NONE))), Text(visible(note_of(target, now)))]
        table.add_row(*cells)
    return table


def cells_of(name: str, target: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    """Return name, state, pending, and for eyes oldest, next attempt, first give-up; dead letters."""
    waits = bool(target["pending"])
    return (
        name,
        str(target.get("state", NONE)),
        str(target["pending"]),
        say_duration(target["oldest_seconds"]) if waits else NONE,
        _until(target.get("next_attempt_at"), now) if waits else NONE,
        _until(target.get("next_give_up_at"), now) if waits else NONE,
        str(target["dead_letters"]),
    )


def _until(moment: str | None, now: datetime) -> str:
    if moment is None:
        return NONE
    seconds = (datetime.fromisoformat(moment) - now).total_seconds()
    return say_duration(seconds) if seconds >= 1 else "now"


def note_of(target: Mapping[str, Any], now: datetime) -> str:
    """Say for eyes what there is to say of a state, with ages for times, and why the last attempt failed."""

    def since(at: str) -> str:
        return f"for {say_duration((now - datetime.fromisoformat(at)).total_seconds())}"

    def moment(at: str) -> str:
        when = datetime.fromisoformat(at).astimezone(UTC)
        same_day = when.date() == now.astimezone(UTC).date()
        return f"{when:%H:%M} UTC" if same_day else f"{when:%Y-%m-%d %H:%M} UTC"

    notes = [plain_note(target, since=since, moment=moment)]
    if (pause := target.get("pause")) and pause.get("from"):
        notes.append(f"since {moment(pause['from'])}")
    if (failure := target.get("last_error")) and target.get("pending"):
        came = failure["error"] or f"answered {failure['status']}"
        ago = say_duration((now - datetime.fromisoformat(failure["at"])).total_seconds())
        notes.append(f"last failure {ago} ago: {came}")
    notes.append(differences(target))
    return ", ".join(filter(None, notes))


def sentence_of(name: str, target: Mapping[str, Any], now: datetime) -> str:
    """Say for eyes how a target is after it was paused or resumed, and what is next."""
    state, note = str(target.get("state", NONE)), note_of(target, now)
    pending = int(target.get("pending", 0))  # the running gateway leaves it out
    parts = [f"{name}: {_SHOWN.get(state, state)}"]
    if note:
        parts.append(f" {note}" if state == PAUSED else f", {note}")
    if pending:
        parts.append(f"; {plural(pending, 'delivery', 'deliveries')} {'waits' if pending == 1 else 'wait'}")
    told = visible("".join(parts))
    return f"{told}\n→ gateway targets resume {name}" if state == PAUSED else told


_LOST: Final = "not in the configuration: bring it back, or gateway targets discard"
_LOST_SOMEWHERE: Final = "not in every gateway's configuration: put it into all, or take it out of all"
"""While one still has it, and delivers, `discard` is refused."""


def line_of(name: str, target: Mapping[str, Any]) -> str:
    """Return the line of `gateway targets list` in a pipe; times as RFC 3339."""
    age = f"{target['oldest_seconds']:.0f}s" if target["pending"] else NONE
    cells = (
        name,
        str(target.get("state", NONE)),
        str(target["pending"]),
        age,
        str(target["dead_letters"]),
        target["next_attempt_at"] or NONE,
        ", ".join(filter(None, (plain_note(target), differences(target)))),
    )
    return "\t".join(cells)


def plain_note(
    target: Mapping[str, Any],
    *,
    since: Callable[[str], str] = "since {}".format,
    moment: Callable[[str], str] = str,
) -> str:
    """Say what there is to say of a state, in one line; `since` and `moment` write a time (RFC 3339)."""
    notes = []
    if target.get("state") == "unknown":
        elsewhere = any(one["state"] != "unknown" for one in target.get("gateways") or ())
        notes.append(_LOST_SOMEWHERE if elsewhere else _LOST)
    if pause := target.get("pause"):
        notes.append(f"until {moment(pause['until'])}" if pause["until"] else "until resumed")
        if pause["reason"]:
            notes.append(pause["reason"])
    if (breaker := target.get("breaker")) and breaker["open"]:
        notes.append(f"{breaker['state']} {since(breaker['opened_at'])}")
    if rate := target.get("rate_per_second"):
        notes.append(f"{rate:g}/s until caught up")
    return ", ".join(notes)
