"""The demo on a terminal: a table a stage, filled as things happen. With gateway.cli.demo_plain's words."""

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gateway.cli.demo_plain import tell_addresses, tell_counts, tell_dead_letter, tell_end, tell_received
from gateway.simulator.journeys import DeadLetterFile, Journey, State
from gateway.simulator.report import Addresses, Report, Step
from gateway.simulator.target import Received


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
        self._table.add_row(self._mark(step.ok), Text(step.what), happened, took)
        self._show(self._table)

    def journeys(self, journeys: tuple[Journey, ...], *, final: bool) -> None:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1), header_style="bold")
        table.add_column("")
        table.add_column("Meta sent", ratio=4)
        table.add_column("target")
        table.add_column("it answered", max_width=16)
        table.add_column("ended as", ratio=2)
        table.add_column("because", ratio=4, style="dim")
        label = ""
        for journey in journeys:
            if label and journey.label != label:
                table.add_section()
            mark: RenderableType = (
                self._spinner
                if journey.state is State.UNDER_WAY and not final
                else self._mark(journey.state is State.AS_EXPECTED)
            )
            table.add_row(
                mark,
                Text(journey.label if journey.label != label else "", style="bold"),
                Text(journey.target, style="magenta"),
                Text(" ").join(Text(str(one), style=_status_style(one)) for one in journey.answers),
                _end(journey),
                Text(journey.because),
            )
            if journey.difference:
                table.add_row("", "", "", "", "", Text(journey.difference, style="bold red"))
            label = journey.label
        self._show(table)

    def dead_letters(self, letters: tuple[DeadLetterFile, ...]) -> None:
        for letter in letters:
            self._console.print(Text.assemble("   ", (letter.path, "yellow")), soft_wrap=True)
            self._console.print(Text.assemble("     ", (tell_dead_letter(letter), "dim")))

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

    def _show(self, table: Table) -> None:
        if self._live is None:
            self._live = Live(table, console=self._console, refresh_per_second=12)
            self._live.start()
        self._live.update(table, refresh=True)

    def _mark(self, ok: bool) -> Text:
        if "utf" in self._console.encoding:
            return Text("✓", style="bold green") if ok else Text("✗", style="bold red")
        return Text("ok", style="bold green") if ok else Text("!!", style="bold red")


def _steps_table() -> Table:
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column()
    table.add_column(min_width=44)
    table.add_column()
    table.add_column(justify="right", style="dim")
    return table


def _status_style(status: int) -> str:
    if 200 <= status < 300:
        return "green"
    return "yellow" if status >= 500 else "red"


def _end(journey: Journey) -> Text:
    return Text(tell_end(journey), style={"delivered": "green", "": "cyan"}.get(journey.end, "yellow"))
