"""What is subscribed, beside what the configuration and its routes expect. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.fields import FIELDS
from gateway.core.globs import compile_globs
from gateway.graph.answers import AppSubscription
from gateway.graph.plan import STATE_IT, WHICH_IS_OURS, State
from gateway.settings.graph import Graph
from gateway.settings.model import Route, Settings

WHATSAPP: Final = "whatsapp_business_account"
"""The object that all of this is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is not as expected."""

    subject: str
    """`account 735190284461207`, `field messages`, `callback URL`."""
    what: str
    remedy: str

    def plain(self) -> dict[str, str]:
        """Return it fit for JSON."""
        return {"subject": self.subject, "what": self.what, "remedy": self.remedy}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Fields that one pattern of a route asks for."""

    pattern: str
    fields: tuple[str, ...]
    """Known ones that it matches; where it has no wildcard, itself, known or not."""


def expected_accounts(settings: Settings, app: str) -> tuple[str, ...]:
    """Return the accounts that the configuration names: under `graph`, and by whole id in an app's routes."""
    named = [waba for entry in settings.graph.subscriptions for waba in entry.waba]
    routes = _routes_of(settings.routes, app)
    routed = [waba for route in routes for waba in route.waba or () if waba.isdecimal()]
    return tuple(dict.fromkeys((*named, *routed)))


def wanted_overrides(graph: Graph) -> Mapping[str, str | None]:
    """Return account -> the override that is stated for it, for the accounts under `graph`."""
    return {waba: entry.override_url for entry in graph.subscriptions for waba in entry.waba}


def compare_account(account: str, state: State, wanted: Mapping[str, str | None]) -> tuple[Difference, ...]:
    """Compare one account with what is stated; of one that only routes name, whether it is subscribed."""
    subject = f"account {account}"
    if state.subscribed is None:
        return (
            Difference(
                subject=subject,
                what=WHICH_IS_OURS,
                remedy=STATE_IT,
            ),
        )
    if not state.subscribed:
        return (
            Difference(
                subject=subject,
                what="the app is not subscribed: nothing comes from it",
                remedy=f"gateway subscriptions subscribe --waba {account}",
            ),
        )
    if account not in wanted or state.override_url == wanted[account]:
        return ()
    what = f"the override is {state.override_url or 'none'}, and {wanted[account] or 'none'} is stated"
    return (Difference(subject=subject, what=what, remedy="gateway subscriptions ensure"),)


def expected_fields(routes: Sequence[Route], app: str) -> tuple[Expected, ...]:
    """Return what the routes of an app ask for, pattern by pattern.

    A route that takes every field asks for none in particular.
    """
    known = [field.name for field in FIELDS if field.object == WHATSAPP]
    found: dict[str, Expected] = {}
    for route in _routes_of(routes, app):
        for pattern in route.field or ():
            matches = compile_globs([pattern])
            if set(pattern) == {"*"}:
                continue
            literal = not set(pattern) & {"*", "?"}
            fields = (pattern,) if literal else tuple(filter(matches, known))
            found[pattern] = Expected(pattern=pattern, fields=fields)
    return tuple(found.values())


def compare_app(subscription: AppSubscription | None, settings: Settings, app: str) -> tuple[Difference, ...]:
    """Compare the app-level subscription (None: there is none for WhatsApp) with routes and callback URL."""
    if subscription is None:
        return (
            Difference(
                subject="app",
                what=f"the app has no subscription for {WHATSAPP}: nothing comes at all",
                remedy="gateway subscriptions subscribe --app",
            ),
        )
    return (
        *_compare_callback(subscription, settings, app),
        *_missing_fields(expected_fields(settings.routes, app), frozenset(subscription.fields)),
        *_unrouted_fields(subscription.fields, settings, app),
    )


def _compare_callback(subscription: AppSubscription, settings: Settings, app: str) -> Iterable[Difference]:
    remedy = "gateway subscriptions subscribe --app"
    if not subscription.active:
        yield Difference(subject="app", what="the subscription is not active", remedy=remedy)
    ours = callback_url(settings, app)
    if ours is not None and subscription.callback_url != ours:
        what = f"it is {subscription.callback_url or 'none'}, and this gateway's is {ours}"
        yield Difference(subject="callback URL", what=what, remedy=remedy)


def callback_url(settings: Settings, app: str) -> str | None:
    """Return the callback URL of an app; None where `listen.public_url` does not say it."""
    public = settings.listen.public_url
    return None if public is None else public + settings.apps[app].path


def _missing_fields(expected: Iterable[Expected], subscribed: frozenset[str]) -> Iterable[Difference]:
    told: set[str] = set()
    for one in expected:
        missing = [field for field in one.fields if field not in subscribed | told]
        told.update(missing)
        remedy = "gateway subscriptions subscribe --app subscribes to what is routed"
        if one.fields == (one.pattern,):
            for field in missing:
                what = "is routed, but the app is not subscribed to it"
                yield Difference(subject=f"field {field}", what=what, remedy=remedy)
        elif missing:
            names = ", ".join(missing)
            what = (
                f"is routed, but the app is not subscribed to it: {names}"
                if len(missing) == len(one.fields)
                else f"is routed, but the app is not subscribed to all of it: {names}"
            )
            yield Difference(subject=f"field {one.pattern}", what=what, remedy=remedy)


def _unrouted_fields(fields: Iterable[str], settings: Settings, app: str) -> Iterable[Difference]:
    """Find what comes and goes nowhere: a dead letter each time, unless the file says that it is dropped."""
    if settings.unrouted == "drop":
        return
    routes = _routes_of(settings.routes, app)
    for field in fields:
        if not any(compile_globs(route.field)(field) for route in routes):
            yield Difference(
                subject=f"field {field}",
                what="is subscribed, but no route takes it: each one becomes a dead letter",
                remedy="add a route, or write unrouted: drop, or end the subscription in the App Dashboard",
            )


def _routes_of(routes: Sequence[Route], app: str) -> tuple[Route, ...]:
    return tuple(
        route for route in routes if compile_globs(route.app)(app) and compile_globs(route.object)(WHATSAPP)
    )
