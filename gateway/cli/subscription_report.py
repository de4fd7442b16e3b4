"""What `gateway subscriptions` prints: tables for eyes, tab-separated lines for pipes, JSON for scripts."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from gateway.cli.output import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, err, out, out_json
from gateway.graph.accounts import write_remaining
from gateway.graph.errands import GOOD, Outcome, Result
from gateway.graph.usage import Usage, UsageBook, say_usage
from gateway.telemetry.redaction import visible

_WORDS = {Outcome.NOT_TRIED: "not tried", Outcome.WOULD: "would"}


def exit_code(results: Iterable[Result]) -> int:
    """Return 0 if all went well, 2 if nothing failed and somebody must decide, else 1."""
    outcomes = {result.outcome for result in results} - GOOD
    if not outcomes:
        return EXIT_DONE
    return EXIT_USAGE if outcomes == {Outcome.QUESTION} else EXIT_FAILED


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: a table on a terminal, tab-separated lines in a pipe."""
    if not os.isatty(1):
        for row in rows:
            out("\t".join(map(visible, row)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in {"account", "phone", "outcome", "app"})
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    Console().print(table)


def print_results(results: Sequence[Result], book: UsageBook, *, what: str, as_json: bool) -> None:
    """Print what became of each account or phone number; remedies and usage go to stderr."""
    if as_json:
        out_json(
            {
                "ok": exit_code(results) == EXIT_DONE,
                f"{what}s": [
                    result.plain(what) | {"usage": [usage.plain() for usage in book.told_of(result.account)]}
                    for result in results
                ],
            }
        )
    else:
        rows = [(one.account, _WORDS.get(one.outcome, str(one.outcome)), one.what) for one in results]
        print_table((what, "outcome", "what"), rows)
    tell_remedies(results)
    tell_usage(results, book)
    if len(results) > 1:
        counts = Counter(_WORDS.get(result.outcome, str(result.outcome)) for result in results)
        err(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))


def tell_remedies(results: Iterable[Result]) -> None:
    """Say what to do next, each once."""
    for remedy in dict.fromkeys(one.remedy for one in results if one.remedy and one.outcome not in GOOD):
        err(f"next step: {remedy}")


def tell_usage(results: Sequence[Result], book: UsageBook) -> None:
    """Say how much of Meta's limits is used up: of the account with the least left."""
    worst: tuple[Usage, ...] = ()
    whose = ""
    for result in results:
        told = book.told_of(result.account)
        if told and max(one.percent for one in told) > max((one.percent for one in worst), default=-1.0):
            worst, whose = told, result.account
    if worst:
        err(f"used up, as Meta tells: {whose}: {visible(say_usage(worst))}")


def print_apps(results: Sequence[Result], book: UsageBook, app_id: str | None, *, as_json: bool) -> None:
    """Print who is subscribed to each account."""
    if as_json:
        out_json(
            {
                "ok": exit_code(results) == EXIT_DONE,
                "accounts": [_plain_apps(result, book, app_id) for result in results],
            }
        )
    else:
        print_table(
            ("account", "app", "name", "override"), [row for one in results for row in _app_rows(one)]
        )
    tell_remedies(results)
    tell_usage(results, book)


def _app_rows(result: Result) -> list[tuple[str, str, str, str]]:
    if result.outcome not in GOOD:
        return [(result.account, "-", f"{result.outcome}: {result.what}", "")]
    if not result.apps:
        return [(result.account, "-", "no app is subscribed", "")]
    return [(result.account, app.app_id, app.name, app.override_url or "-") for app in result.apps]


def _plain_apps(result: Result, book: UsageBook, app_id: str | None) -> dict[str, object]:
    apps = [
        {
            "id": app.app_id,
            "name": app.name,
            "override_url": app.override_url,
            "ours": None if app_id is None else app.app_id == app_id,
        }
        for app in result.apps
    ]
    usage = [one.plain() for one in book.told_of(result.account)]
    return result.plain("account") | {"apps": apps, "usage": usage}


def write_rest(file: Path | None, results: Sequence[Result], *, command: str) -> None:
    """Write what remains to a file that --waba-file takes."""
    if file is None:
        return
    rest = [
        (one.account, f"{one.outcome}: {visible(one.what)}") for one in results if one.outcome not in GOOD
    ]
    heading = f"{command}: {len(rest)} of {len(results)} remain"
    part = file.with_name(f".{file.name}.part")
    part.write_text(write_remaining(rest, heading=heading), encoding="utf-8")
    part.replace(file)
    err(f"{len(rest)} of {len(results)} remain: {file}")


def may_ask() -> bool:
    """Say whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()
