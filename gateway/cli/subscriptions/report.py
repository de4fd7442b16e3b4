"""What `gateway subscriptions` prints: tables for eyes, tab-separated lines for pipes, JSON for scripts."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from gateway.cli.output import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, err, out, out_json
from gateway.cli.table import print_table
from gateway.graph.accounts import write_remaining
from gateway.graph.errands import GOOD, Outcome, Result
from gateway.graph.usage import Usage, UsageBook, say_usage
from gateway.private_file import make_private_file
from gateway.telemetry.redaction import visible

_SCREENFUL: Final = 50
"""Of rows; beyond it a terminal is shown what failed alone."""
_WORDS: Final = {Outcome.NOT_TRIED: "not tried", Outcome.WOULD: "would"}


def exit_code(results: Iterable[Result]) -> int:
    """Return 0 if all went well, 2 if nothing failed and somebody must decide, else 1."""
    outcomes = {result.outcome for result in results} - GOOD
    if not outcomes:
        return EXIT_DONE
    return EXIT_USAGE if outcomes == {Outcome.UNDECIDED} else EXIT_FAILED


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: a table on a terminal, tab-separated lines in a pipe."""
    if os.isatty(1):
        print_table(columns, rows, whole={"account", "phone", "outcome", "app"})
        return
    for row in rows:
        out("\t".join(map(visible, row)))


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
        shown = _worth_a_row(results) if os.isatty(1) else results
        rows = [(one.account, _WORDS.get(one.outcome, str(one.outcome)), one.what) for one in shown]
        if rows:
            print_rows((what, "outcome", "what"), rows)
    tell_remedies(results)
    tell_usage(results, book)
    if len(results) > 1:
        counts = Counter(_WORDS.get(result.outcome, str(result.outcome)) for result in results)
        err(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))


def _worth_a_row(results: Sequence[Result]) -> Sequence[Result]:
    """Of many, those that somebody must look at: the others are counted below, and all stand in a pipe."""
    if len(results) <= _SCREENFUL:
        return results
    return [result for result in results if result.outcome not in {Outcome.DONE, Outcome.UNCHANGED}]


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
        rows = [row for one in results for row in _app_rows(one)]
        print_rows(("account", "app", "name", "override"), rows)
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
    failed = result.outcome not in GOOD
    told = result.plain("account")
    return {
        "waba": result.account,
        "apps": apps,
        "error": result.what if failed else None,
        **{key: told[key] if failed else None for key in ("remedy", "code", "regain_minutes", "trace")},
        "usage": [one.plain() for one in book.told_of(result.account)],
    }


def write_rest(file: Path | None, results: Sequence[Result], *, command: str) -> None:
    """Write what remains to a file that --waba-file takes."""
    if file is None:
        return
    rest = [
        (one.account, f"{one.outcome}: {visible(one.what)}") for one in results if one.outcome not in GOOD
    ]
    heading = f"{command}: {len(rest)} of {len(results)} remain"
    # Not by a name that others could have made a link, in a directory such as /tmp.
    make_private_file(file, write_remaining(rest, heading=heading).encode())
    err(f"{len(rest)} of {len(results)} remain: {file}")


def may_ask() -> bool:
    """Say whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()
