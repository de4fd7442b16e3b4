"""A run of `gateway subscriptions` over accounts or phone numbers, from its start to its exit code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NoReturn

import typer

from gateway.cli.output import err
from gateway.cli.subscriptions.call import Site, call_meta, choose_ids
from gateway.cli.subscriptions.report import exit_code, may_ask, print_results, write_rest
from gateway.cli.subscriptions.screen import Screen
from gateway.graph.client import GraphClient
from gateway.graph.errands import Bringer, Errand, Outcome, Result, Run, not_tried
from gateway.graph.phones import PhoneBringer
from gateway.graph.plan import Existing, Wish
from gateway.graph.usage import UsageBook
from gateway.settings.secret import Secret
from gateway.telemetry.redaction import visible

_SHOWN_QUESTIONS: Final = 20
"""A screenful; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a command that changes something goes about it."""

    dry_run: bool
    wait: bool
    remaining: Path | None
    as_json: bool
    name: str


@dataclass(slots=True, kw_only=True)
class Ran:
    """A run that is over, or was ended by Ctrl-C."""

    results: list[Result]
    book: UsageBook
    interrupted: bool

    def end(self) -> NoReturn:
        """End the command.

        Raises:
            KeyboardInterrupt: it was interrupted. typer.Exit: with the code that the results ask for.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        raise typer.Exit(exit_code(self.results))


def go(
    site: Site,
    accounts: Sequence[str],
    errand: Callable[[GraphClient], Errand],
    *,
    wait: bool,
    hidden: Sequence[Secret] = (),
    book: UsageBook | None = None,
) -> Ran:
    """Run an errand for every account. Ctrl-C ends it, with what is done so far."""
    book = UsageBook(accounts) if book is None else book
    runs: list[Run] = []
    interrupted = False

    async def work(client: GraphClient, screen: Screen) -> None:
        run = Run(accounts=tuple(accounts), book=book, teller=screen, wait=wait)
        runs.append(run)
        await run.go(errand(client))

    try:
        call_meta(site, book, work, total=len(accounts), hidden=hidden)
    except KeyboardInterrupt:
        interrupted = True
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        interrupted = True
    results = runs[0].ordered if runs else tuple(map(not_tried, accounts))
    return Ran(results=list(results), book=book, interrupted=interrupted)


def bring(site: Site, wishes: Mapping[str, Wish], tokens: Mapping[str, Secret], manner: Manner) -> NoReturn:
    """Bring accounts to what is wished, asking about overrides in the way, and end the command."""

    def errand(wishes: Mapping[str, Wish]) -> Callable[[GraphClient], Errand]:
        return lambda client: Bringer(
            calls=client,
            own=site.own_app(client),
            wishes=wishes,
            tokens=tokens,
            dry_run=manner.dry_run,
        )

    hidden = tuple(tokens.values())
    ran = go(site, tuple(wishes), errand(wishes), wait=manner.wait, hidden=hidden)
    asked = [result for result in ran.results if result.outcome is Outcome.UNDECIDED]
    if asked and may_ask() and not ran.interrupted and not manner.dry_run:
        existing = _ask(asked)
        if existing is None:
            ran.interrupted = True
        else:
            decided = {one.account: replace(wishes[one.account], existing=existing) for one in asked}
            again = go(site, tuple(decided), errand(decided), wait=manner.wait, hidden=hidden, book=ran.book)
            latest = {result.account: result for result in again.results}
            ran.results = [latest.get(result.account, result) for result in ran.results]
            ran.interrupted = again.interrupted
    print_results(ran.results, ran.book, what="account", as_json=manner.as_json)
    write_rest(manner.remaining, ran.results, command=f"gateway subscriptions {manner.name}")
    if manner.dry_run:
        err("dry run: nothing was changed")
    ran.end()


def _ask(asked: Sequence[Result]) -> Existing | None:
    """Have somebody decide, once for all; None: nobody did."""
    for result in asked[:_SHOWN_QUESTIONS]:
        err(f"{result.account} {visible(result.what)}")
    if len(asked) > _SHOWN_QUESTIONS:
        err(f"and {len(asked) - _SHOWN_QUESTIONS} more")
    try:
        agreed = typer.confirm(f"Remove {_overrides(len(asked))}? No leaves them", err=True)
    except typer.Abort:
        err("")  # the question has no line end
        return None
    return Existing.REMOVE if agreed else Existing.KEEP


def _overrides(count: int) -> str:
    return "this override" if count == 1 else f"these {count} overrides"


def bring_phones(
    site: Site,
    phones: Sequence[str],
    url: str | None,
    token: Secret | None,
    *,
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> NoReturn:
    """Set or delete the override of phone numbers, and end the command."""

    def errand(client: GraphClient) -> Errand:
        return PhoneBringer(calls=client, override_url=url, verify_token=token, dry_run=dry_run)

    ids = choose_ids(phones, None, what="--phone")
    ran = go(site, ids, errand, wait=wait, hidden=() if token is None else (token,))
    print_results(ran.results, ran.book, what="phone", as_json=as_json)
    ran.end()
