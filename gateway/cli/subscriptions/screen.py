"""A run over many accounts on stderr: a bar and a countdown on a terminal, a line or two in a pipe."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gateway.cli.output import err
from gateway.graph.errands import Result
from gateway.graph.usage import Usage, say_minutes, say_usage

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def say_countdown(seconds: float) -> str:
    """Write what is left, to the second: `6 min 59 s`, `59 s`."""
    whole = max(0, int(-(-seconds // 1)))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


class Screen(AbstractContextManager["Screen"]):
    """Told by the run and by the client."""

    def __init__(self, *, total: int) -> None:
        self._total = total
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._told_pause = False
        self._told_wait = False

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(bar_width=12), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Progress(
                *columns,
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def progress(self, done: int, total: int, result: Result) -> None:
        self._show(result.account, done=done, total=total)

    def pausing(self, account: str, seconds: float, usages: Sequence[Usage]) -> None:
        """Slower, since much of a limit is used up."""
        why = say_usage(usages[:1])
        self._show(f"{account}: slowly, {usages[0].percent:.0f} % used")
        if self._bar is None and not self._told_pause:
            self._told_pause = True
            err(f"slowing down, {seconds:.0f} s before each call: {why} is used up")

    def waiting(self, seconds: float, accounts: int) -> None:
        whom = "1 account" if accounts == 1 else f"{accounts} accounts"
        self._show(f"rate limit, {whom} waiting: {say_countdown(seconds)}")
        if self._bar is None and seconds and not self._told_wait:
            err(f"rate limit: waiting {say_minutes(seconds / 60)} for {whom}")
        self._told_wait = seconds > 0

    def _show(self, text: str, *, done: int | None = None, total: int | None = None) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text, completed=done, total=total)
