"""`gateway subscriptions check`: what is subscribed beside what the configuration expects."""

from collections.abc import Sequence

import typer

from gateway.cli.output import EXIT_DONE, EXIT_FAILED, err, out, out_json
from gateway.cli.subscriptions.app import known_app_id, look_at_app, whatsapp_of
from gateway.cli.subscriptions.call import Site
from gateway.cli.subscriptions.report import tell_remedies, tell_usage
from gateway.cli.subscriptions.run import go
from gateway.errors import GatewayError
from gateway.graph.client import GraphClient
from gateway.graph.comparison import (
    Difference,
    compare_account,
    compare_app,
    expected_accounts,
    wanted_overrides,
)
from gateway.graph.errands import GOOD, Errand, Looker, Result
from gateway.graph.own_app import OwnApp
from gateway.telemetry.redaction import visible


def check_all(site: Site, accounts: Sequence[str], *, with_app: bool, wait: bool, as_json: bool) -> None:
    """Compare, print, and end the command: 0 only if everything could be compared, and is as expected."""
    settings = site.needed("check")
    chosen = tuple(
        dict.fromkeys((*accounts, *(expected_accounts(settings, site.app_name) if with_app else ())))
    )
    differences: list[Difference] = []
    failures: list[Result] = []
    owns: list[OwnApp] = []
    interrupted = False
    if chosen:

        def errand(client: GraphClient) -> Errand:
            owns.append(site.own_app(client))
            return Looker(calls=client, own=owns[0])

        ran = go(site, chosen, errand, wait=wait)
        results, interrupted = ran.results, ran.interrupted
        tell_usage(results, ran.book)
        wanted = wanted_overrides(settings.graph)
        for result in results:
            if result.outcome not in GOOD or result.now is None:
                failures.append(result)
            else:
                differences += compare_account(result.account, result.now, wanted)
    untold: list[str] = []
    if with_app and not interrupted:
        try:
            app_id = (owns[0].app_id if owns else None) or known_app_id(site)
            subscription = whatsapp_of(look_at_app(site, app_id))
            differences += compare_app(subscription, settings, site.app_name)
        except GatewayError as error:
            untold.append(f"the app's fields could not be compared: {error}")
    _print(differences, failures, untold, compared=len(chosen) - len(failures), as_json=as_json)
    if interrupted:
        raise KeyboardInterrupt
    raise typer.Exit(EXIT_FAILED if differences or failures or untold else EXIT_DONE)


def _print(
    differences: Sequence[Difference],
    failures: Sequence[Result],
    untold: Sequence[str],
    *,
    compared: int,
    as_json: bool,
) -> None:
    if as_json:
        out_json(
            {
                "ok": not (differences or failures or untold),
                "differences": [one.plain() for one in differences],
                "failures": [one.plain("account") for one in failures],
                "errors": list(untold),
                "accounts_compared": compared,
            }
        )
        return
    for one in differences:
        out(visible(f"{one.subject}: {one.what}; {one.remedy}"))
    for result in failures:
        out(visible(f"account {result.account}: {result.outcome}: {result.what}"))
    for text in untold:
        out(visible(text))
    tell_remedies(failures)
    if not (differences or failures or untold):
        out(f"no difference (accounts compared: {compared})")
    else:
        err(f"differences: {len(differences)}, not compared: {len(failures) + len(untold)}")
