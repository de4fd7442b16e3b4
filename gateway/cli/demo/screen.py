"""The demo on a terminal: a table a stage, filled as things happen. In the words of `demo_plain`."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gateway.cli.demo.plain import (
    tell_addresses,
    tell_answers,
    tell_counts,
    tell_dead_letter,
    tell_end,
    tell_received,
    tell_why,
)
from gateway.simulator.journeys import DeadLetterFile, Journey, State
from gateway.simulator.report import Addresses, Report, Step
from gateway.simulator.target import Received

_ROOM_FOR_ROUTES: Final = 100
"""Columns; on a narrower terminal the numbers of the routes stand for them, which were listed before."""
_ROUTE_TEXTS: Final = re.compile(r"(?<=\d) \([^)]*\)")


class ScreenTeller:
    """Colours, tables that grow, a panel at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None
        self._table: Table | None = None
        self._number = 0

    def stage(self, title: str, sense: str) -> None:
        self.close()
        self._number += 1
        self._console.print()
        self._console.print(Text.assemble((f"{self._number}  {title}", "bold cyan"), "  ", (sense, "dim")))

    def step(self, step: Step) -> None:
        if self._table is None:
            self._table = _steps_table()
        took = "" if step.milliseconds is None else f"{step.milliseconds:.0f} ms"
        happened = Text(step.happened, style="green" if step.ok else "red")
        if not step.ok:
            happened.append(f"  expected {step.expected}", style="bold red")
        self._table.add_row(_mark(step.ok), Text(step.what), happened, took)
        self._show(self._table)

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        table = Table(box=None, padding=(0, 1), show_header=False)
        table.add_column(width=1)
        table.add_column(style="magenta")
        table.add_column()
        for name, told in facts:
            table.add_row("", name, told)
        self._console.print(table)

    def journeys(self, journeys: tuple[Journey, ...], *, final: bool) -> None:
        # While it goes on, what is still under way: the whole is longer than most screens.
        shown = journeys if final else [one for one in journeys if one.state is State.UNDER_WAY]
        blocks: list[RenderableType] = []
        if not final:
            blocks.append(Text(f" {len(journeys) - len(shown)} of {len(journeys)} settled", style="cyan"))
        for label, group in groupby(shown, key=lambda journey: journey.label):
            table = _journeys_table()
            for journey in group:
                table.add_row(*self._journey(journey, final=final))
                if journey.difference:
                    table.add_row("", "", "", "", Text(journey.difference, style="bold red"))
            blocks += [Text(f" {label}", style="bold"), table]
        self._show(Group(*blocks))
        if final:
            self.close()

    def _journey(self, journey: Journey, *, final: bool) -> Iterator[RenderableType]:
        if journey.state is State.UNDER_WAY and not final:
            yield self._spinner
        else:
            yield _mark(journey.state is State.AS_EXPECTED)
        yield Text(journey.target, style="magenta")
        yield Text(" ").join(
            Text(told, style=_status_style(status)) for status, told in tell_answers(journey)
        )
        yield Text(tell_end(journey), style={"delivered": "green", "": "cyan"}.get(journey.end, "yellow"))
        why = tell_why(journey)
        yield Text(why if self._console.width >= _ROOM_FOR_ROUTES else _ROUTE_TEXTS.sub("", why))

    def dead_letters(self, letters: tuple[DeadLetterFile, ...]) -> None:
        for letter in letters:
            self._console.print(Text.assemble("    ", (letter.path, "yellow")), soft_wrap=True)
            self._console.print(Padding(Text(tell_dead_letter(letter), style="dim"), (0, 0, 0, 6)))

    def summary(self, report: Report) -> None:
        self.close()
        lines: list[RenderableType] = [Text(tell_counts(report))]
        lines += [Text(f"- {difference}", style="red") for difference in report.differences]
        lines += [Text(line, style="dim") for line in report.log_tail]
        title = "Everything happened as it should" if report.ok else "NOT everything happened as it should"
        style = "green" if report.ok else "red"
        self._console.print()
        self._console.print(Panel(Group(*lines), title=title, border_style=style, title_align="left"))

    def serving(self, addresses: Addresses, report: Report) -> None:
        self.summary(report)
        self._console.print(Text("\nStill running; Ctrl-C ends it.", style="bold"))
        for name, value in tell_addresses(addresses):
            # soft_wrap: what is to be copied is not broken into lines of our own
            self._console.print(Text.assemble((f"  {name:<17} ", "cyan"), value), soft_wrap=True)
        self._console.print()

    def received(self, target: str, received: Received) -> None:
        self._console.print(
            Text(f"  {tell_received(target, received)}", style=_status_style(received.status))
        )

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = self._table = None

    def _show(self, shown: RenderableType) -> None:
        if self._live is None:
            self._live = Live(shown, console=self._console, refresh_per_second=12)
            self._live.start()
        self._live.update(shown, refresh=True)


def _mark(ok: bool) -> Text:
    return Text("✓", style="bold green") if ok else Text("✗", style="bold red")


def _steps_table() -> Table:
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(width=1)
    table.add_column(min_width=30, overflow="fold")
    table.add_column(overflow="fold")  # subjects and series have no spaces to break at
    table.add_column(justify="right", style="dim")
    return table


def _journeys_table() -> Table:
    """All columns but the last have widths of their own, so that the tables of all notifications align."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    for width in (1, 10, 11, 24):
        table.add_column(width=width)
    table.add_column(style="dim")
    return table


def _status_style(status: int) -> str:
    if 200 <= status < 300:
        return "green"
    return "yellow" if status >= 500 else "red"
