"""`gateway subscriptions explain`, and the overrides of phone numbers: whose callback URL holds."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from gateway.cli.output import EXIT_DONE, out, out_json
from gateway.cli.subscriptions.call import Site, call_meta
from gateway.cli.subscriptions.report import exit_code, print_rows, tell_remedies, tell_usage
from gateway.cli.subscriptions.run import go
from gateway.graph.answers import PhoneConfiguration
from gateway.graph.comparison import callback_url
from gateway.graph.errands import Errand, Outcome, Result
from gateway.graph.plan import State
from gateway.graph.precedence import Level, Precedence, decide, overridable_fields
from gateway.graph.usage import UsageBook
from gateway.telemetry.redaction import visible

if TYPE_CHECKING:
    from gateway.cli.subscriptions.screen import Screen
    from gateway.graph.client import GraphClient

_WIDTH: Final = 78
"""Columns of running text: fits into 80."""


def explain_route(site: Site, waba: str | None, phone: str | None, *, as_json: bool) -> None:
    """Ask Meta, decide, print."""
    seen: dict[str, PhoneConfiguration | State] = {}

    async def work(client: "GraphClient", _: "Screen") -> None:
        if phone is not None:
            seen["phone"] = await client.phone_configuration(phone)
        if waba is not None:
            seen["waba"] = await site.own_app(client).state_among(await client.subscribed_apps(waba))

    asked = [one for one in (waba, phone) if one is not None]
    call_meta(site, UsageBook(asked), work, total=len(asked))
    configuration, state = seen.get("phone"), seen.get("waba")
    precedence = decide(
        _levels(
            site,
            configuration if isinstance(configuration, PhoneConfiguration) else None,
            state if isinstance(state, State) else None,
        )
    )
    subscribed = state.subscribed if isinstance(state, State) else None
    if as_json:
        out_json(_plain(site, precedence, waba, phone, subscribed))
        return
    _print(site, precedence, waba, phone)
    if subscribed is False:
        out(f"The app is not subscribed to account {waba}: nothing comes from it until it is.")


def _levels(site: Site, configuration: PhoneConfiguration | None, state: State | None) -> tuple[Level, ...]:
    """Put together what the phone number says, what the account says, and what this configuration knows."""
    app = configuration.application if configuration else None
    if app is None and site.settings is not None:
        app = callback_url(site.settings, site.app_name)
    if configuration is not None:
        waba, known = configuration.waba, True
    else:
        # Of several apps, the override of another would be taken for ours.
        waba, known = (state.override_url, state.subscribed is not None) if state else (None, False)
    phone = configuration.phone_number if configuration else None
    return (
        Level(name="phone number", url=phone, known=configuration is not None),
        Level(name="account", url=waba, known=known),
        Level(name="app", url=app, known=app is not None),
    )


def _print(site: Site, precedence: Precedence, waba: str | None, phone: str | None) -> None:
    whose = f"phone number {phone}" if phone else f"account {waba}"
    out(f"Messaging-type fields of {whose}: the first of these that is set.")
    for number, level in enumerate(precedence.levels, 1):
        holds = "  <- holds" if level is precedence.holds else ""
        url = (level.url or "not set") if level.known else "not known"
        out(visible(f"  {number}. {level.name:<14}{url}{holds}"))
    if precedence.holds is None:
        out("Which holds cannot be told without the id of the phone number: give --phone.")
        below = decide(precedence.levels[1:]).holds
        if below is not None:
            out(visible(f"Of numbers without an override of their own, the {below.name}'s does: {below.url}"))
    elif note := _whose(site, precedence.holds.url):
        out(f"That is {note}.")
    out("")
    out("They are:")
    out(textwrap.fill(", ".join(overridable_fields()), _WIDTH, initial_indent="  ", subsequent_indent="  "))
    other = precedence.otherwise.url or "whatever is set in the App Dashboard"
    out(visible(f"All other fields (accounts, templates) always go to the app's own URL: {other}"))


def _whose(site: Site, url: str | None) -> str:
    """Say whether a URL is one of this gateway's."""
    settings = site.settings
    if settings is None or settings.listen.public_url is None:
        return ""
    for name in settings.apps:
        if callback_url(settings, name) == url:
            return f"this gateway, app {name}"
    return "not a callback URL of this gateway"


def _plain(
    site: Site, precedence: Precedence, waba: str | None, phone: str | None, subscribed: bool | None
) -> dict[str, object]:
    holds = precedence.holds
    return {
        "waba": waba,
        "phone": phone,
        "subscribed": subscribed,
        "levels": [
            {"level": one.name, "url": one.url, "known": one.known, "holds": one is holds}
            for one in precedence.levels
        ],
        "messaging_fields": {"url": holds.url if holds else None, "fields": list(overridable_fields())},
        "other_fields": {"url": precedence.otherwise.url},
        "ours": (_whose(site, holds.url) if holds else "") or None,
    }


def show_phones(site: Site, phones: Sequence[str], *, wait: bool, as_json: bool) -> NoReturn:
    """Print the callback URLs of phone numbers, and end the command."""
    found: dict[str, PhoneConfiguration] = {}

    def errand(client: "GraphClient") -> Errand:
        async def look(phone: str) -> Result:
            found[phone] = await client.phone_configuration(phone)
            return Result(account=phone, outcome=Outcome.UNCHANGED, what="")

        return look

    ran = go(site, phones, errand, wait=wait)
    if as_json:
        rows = [_plain_phone(result, found.get(result.account)) for result in ran.results]
        out_json({"ok": exit_code(ran.results) == EXIT_DONE, "phones": rows})
    else:
        columns = ("phone", "its own override", "account's override", "app's URL")
        print_rows(columns, [_cells(result, found.get(result.account)) for result in ran.results])
    tell_remedies(ran.results)
    tell_usage(ran.results, ran.book)
    ran.end()


def _cells(result: Result, one: PhoneConfiguration | None) -> tuple[str, ...]:
    if one is None:
        return (result.account, f"{result.outcome}: {result.what}", "", "")
    return (result.account, one.phone_number or "-", one.waba or "-", one.application or "-")


def _plain_phone(result: Result, one: PhoneConfiguration | None) -> dict[str, object]:
    if one is None:
        told = result.plain("phone")
        keys = ("phone", "remedy", "code", "regain_minutes", "trace")
        return {key: told[key] for key in keys} | {"error": result.what}
    return {
        "phone": result.account,
        "phone_number": one.phone_number,
        "whatsapp_business_account": one.waba,
        "application": one.application,
    }
