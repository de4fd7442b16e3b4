"""The app-level subscription: shown, and set to this gateway's callback URL and what the routes name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

from gateway.cli.agreement import demand_agreement
from gateway.cli.output import EXIT_DONE, EXIT_FAILED, err, out, out_json
from gateway.cli.subscriptions.call import Site, call_meta, given_token, read_again
from gateway.cli.subscriptions.report import may_ask, print_rows
from gateway.errors import UsageError
from gateway.graph.answers import AppSubscription
from gateway.graph.client import Api, NoAnswerError, app_token
from gateway.graph.comparison import WHATSAPP, callback_url, expected_fields
from gateway.graph.usage import UsageBook
from gateway.settings.secret import Secret

if TYPE_CHECKING:
    from gateway.cli.subscriptions.screen import Screen
    from gateway.graph.client import GraphClient

_NO_ID: Final = "state apps.{}.app_id (App settings, Basic)"


def app_api(site: Site, app_id: str) -> Api:
    """Speak as the app itself.

    Raises:
        UsageError: the secret is not there.
    """
    token = app_token(app_id, site.app_secret())
    return Api(base_url=site.graph.base_url, version=site.graph.version, token=token)


def look_at_app(site: Site, app_id: str) -> tuple[AppSubscription, ...]:
    """Ask Meta what the app is subscribed to.

    Raises:
        GatewayError: no answer, or a refusal.
    """
    found: list[AppSubscription] = []

    async def work(client: "GraphClient", _: "Screen") -> None:
        found.extend(await client.app_subscriptions(app_id))

    call_meta(
        site, UsageBook([app_id]), work, total=1, api=app_api(site, app_id), hidden=(site.app_secret(),)
    )
    return tuple(found)


def known_app_id(site: Site) -> str:
    """Return the app's id.

    Raises:
        UsageError: it is not stated.
    """
    site.needed("--app")
    if site.app_id is None:
        raise UsageError("the app's id is not stated", remedy=_NO_ID.format(site.app_name))
    return site.app_id


def show_app(site: Site, *, as_json: bool) -> None:
    """Print what the app is subscribed to."""
    app_id = known_app_id(site)
    _print(app_id, look_at_app(site, app_id), as_json=as_json)


def _plain(one: AppSubscription) -> dict[str, object]:
    return {
        "object": one.object,
        "callback_url": one.callback_url,
        "active": one.active,
        "fields": list(one.fields),
    }


def _print(app_id: str, found: Sequence[AppSubscription], *, as_json: bool) -> None:
    if as_json:
        out_json({"app_id": app_id, "subscriptions": [_plain(one) for one in found]})
        return
    if not found:
        out(f"app {app_id}: no subscription")
        return
    print_rows(
        ("object", "callback URL", "active", "fields"),
        [
            (one.object, one.callback_url, "yes" if one.active else "no", ", ".join(one.fields))
            for one in found
        ],
    )


def whatsapp_of(found: Sequence[AppSubscription]) -> AppSubscription | None:
    """Return the subscription for WhatsApp; None where there is none."""
    return next((one for one in found if one.object == WHATSAPP), None)


def set_app(
    site: Site, fields: Sequence[str], verify_token: str | None, *, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Set callback URL and fields; what is subscribed already stays so. Looks before and after.

    Raises:
        UsageError: something that is needed is not stated, or nobody can be asked.
        typer.Exit: not agreed, or it did not come about.
    """
    settings = site.needed("--app")
    app_id = known_app_id(site)
    url = callback_url(settings, site.app_name)
    if url is None:
        raise UsageError(
            "the callback URL is not known", remedy="state listen.public_url: https://HOST as Meta reaches it"
        )
    before = whatsapp_of(look_at_app(site, app_id))
    routed = [field for one in expected_fields(settings.routes, site.app_name) for field in one.fields]
    wanted = tuple(dict.fromkeys((*(before.fields if before else ()), *routed, *fields)))
    if not wanted:
        raise UsageError(
            "no field is routed by name", remedy="give --field messages, and whatever else shall come"
        )
    difference = _difference(before, url, wanted)
    now = before
    if difference and not dry_run:
        if before is not None and before.callback_url != url:
            _agree(before.callback_url, url, yes=yes)
        token = given_token(verify_token) or read_again(settings.apps[site.app_name].verify_token)
        now = _set(site, app_id, url, wanted, token)
    brought = not _difference(now, url, wanted)
    if as_json:
        told = None if now is None else _plain(now)
        out_json({"ok": brought or dry_run, "app_id": app_id, "difference": difference, "now": told})
    else:
        for line in difference or ["it is so already"]:
            out(f"app {app_id}: {line}")
    if dry_run:
        err("dry run: nothing was changed")
        raise typer.Exit(EXIT_DONE)
    if not brought:
        err("Meta took it, and it is not so: look with gateway subscriptions list --app")
        raise typer.Exit(EXIT_FAILED)


def _difference(before: AppSubscription | None, url: str, wanted: Sequence[str]) -> list[str]:
    if before is None:
        return [f"callback URL none -> {url}", f"fields: {', '.join(wanted)}"]
    told = []
    if before.callback_url != url:
        told.append(f"callback URL {before.callback_url or 'none'} -> {url}")
    if not before.active:
        told.append("not active -> active")
    if missing := [field for field in wanted if field not in before.fields]:
        told.append(f"fields besides those that are subscribed: {', '.join(missing)}")
    return told


def _agree(there: str, url: str, *, yes: bool) -> None:
    """The callback URL is where everything goes: nobody moves it by the way."""
    if yes:
        return
    if not may_ask():
        raise UsageError(
            f"the app's callback URL is {there}: everything goes there", remedy=f"--yes sets it to {url}"
        )
    demand_agreement(
        f"The app's callback URL is {there}. Have everything go to {url} from now on?",
        otherwise="nothing was changed",
    )


def _set(
    site: Site, app_id: str, url: str, fields: tuple[str, ...], verify_token: Secret
) -> AppSubscription | None:
    """Set it, and look: also where no answer came, since it may be done. It is not sent twice."""

    async def work(client: "GraphClient", _: "Screen") -> None:
        try:
            await client.set_app_subscription(
                app_id, object_=WHATSAPP, callback_url=url, fields=fields, verify_token=verify_token
            )
        except NoAnswerError as error:
            err(f"{error.message}: looking whether it was done")

    hidden = (site.app_secret(), verify_token)
    call_meta(site, UsageBook([app_id]), work, total=1, api=app_api(site, app_id), hidden=hidden)
    return whatsapp_of(look_at_app(site, app_id))
