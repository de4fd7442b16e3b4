"""`gateway subscriptions check`: what is subscribed beside what the configuration expects."""

from collections.abc import Sequence

import typer

from gateway.cli.output import EXIT_DONE, EXIT_FAILED, err, out, out_json
from gateway.cli.subscription_app import look_at_app, whatsapp_of
from gateway.cli.subscription_call import Site
from gateway.cli.subscription_report import tell_remedies, tell_usage
from gateway.cli.subscription_run import go
from gateway.errors import GatewayError, UsageError
from gateway.graph.comparison import (
    Difference,
    compare_account,
    compare_app,
    expected_accounts,
    wanted_overrides,
)
from gateway.graph.errands import GOOD, Looker, Result
from gateway.telemetry.redaction import visible


def check_all(site: Site, accounts: Sequence[str], *, with_app: bool, wait: bool, as_json: bool) -> None:
    """Compare, print, and end the command: 0 only if everything could be compared, and is as expected."""
    settings = site.needed("check")
    chosen = tuple(
        dict.fromkeys((*accounts, *(expected_accounts(settings, site.app_name) if with_app else ())))
    )
    differences: list[Difference] = []
    failures: list[Result] = []
    results: Sequence[Result] = ()
    interrupted = False
    if chosen:
        ran = go(site, chosen, lambda client: Looker(calls=client, app_id=site.app_id), wait=wait)
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
            app_id = site.app_id or _only_app(results, site)
            subscription = whatsapp_of(look_at_app(site, app_id))
            differences += compare_app(subscription, settings, site.app_name)
        except GatewayError as error:
            untold.append(f"the app's fields could not be compared: {error}")
    _print(differences, failures, untold, compared=len(chosen) - len(failures), as_json=as_json)
    if interrupted:
        raise KeyboardInterrupt
    raise typer.Exit(EXIT_FAILED if differences or failures or untold else EXIT_DONE)


def _only_app(results: Sequence[Result], site: Site) -> str:
    """Without a stated id: the one app that is subscribed. Its secret, shown next, proves it ours."""
    ids = {app.app_id for result in results for app in result.apps}
    if len(ids) != 1:
        raise UsageError(
            "the app's id is not stated", remedy=f"state apps.{site.app_name}.app_id (App settings, Basic)"
        )
    return ids.pop()


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
