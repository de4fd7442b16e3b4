"""Why a change went where it went: routes, told in words."""

from collections.abc import Sequence
from typing import Final

from gateway.core.envelope import Envelope
from gateway.core.routing import UNROUTED, Route, RoutingTable
from gateway.settings import model as settings

ROUTE_KEYS: Final = ("app", "object", "field", "kind", "waba", "phone_number_id", "display_phone_number")
"""What a route may state, in the order in which it is told."""


def stated(route: Route | settings.Route) -> dict[str, tuple[str, ...]]:
    """Return what a route states of the changes that it takes; empty: it takes everything."""
    return {key: value for key in ROUTE_KEYS if (value := getattr(route, key)) is not None}


def describe(route: Route | settings.Route) -> str:
    """Tell what a route takes: `field messages, kind status`."""
    words = [f"{key} {' or '.join(patterns)}" for key, patterns in stated(route).items()]
    return ", ".join(words) or "everything"


def why(table: RoutingTable, routes: Sequence[Route], *, app: str, envelope: Envelope, target: str) -> str:
    """Tell why a notification, or a part of it, goes to a target: `route 2 (field messages, kind status)`."""
    explanations = [table.explain(app, change) for change in envelope.changes]
    if target == UNROUTED:
        return "no route takes it" if any(not one.targets for one in explanations) else ""
    matched = {position for one in explanations for position in one.matched if target in routes[position].to}
    return "; ".join(f"route {position + 1} ({describe(routes[position])})" for position in sorted(matched))
