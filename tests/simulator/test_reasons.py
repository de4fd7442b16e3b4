"""Routes, told in words."""

from gateway.core.envelope import Envelope, parse_envelope
from gateway.core.routing import UNROUTED, Route, RoutingTable
from gateway.simulator.reasons import describe, why

ROUTES = (
    Route(field=("messages",), kind=("status", "error"), to=("a",)),
    Route(to=("b", "a")),
    Route(waba=("1029*",), app=("main",), to=("c",)),
)


def test_a_route_is_described_by_what_it_states() -> None:
    assert [describe(route) for route in ROUTES] == [
        "field messages, kind status or error",
        "everything",
        "app main, waba 1029*",
    ]


def envelope(*fields: str) -> Envelope:
    changes = ",".join(f'{{"field":"{field}","value":{{"statuses":[]}}}}' for field in fields)
    body = f'{{"object":"whatsapp_business_account","entry":[{{"id":"7","changes":[{changes}]}}]}}'
    parsed = parse_envelope(body.encode())
    assert isinstance(parsed, Envelope)
    return parsed


def test_why_names_the_routes_that_matched() -> None:
    table = RoutingTable(ROUTES, payload_original=frozenset(), drop_unrouted=False)
    found = why(table, ROUTES, app="main", envelope=envelope("messages", "security"), target="a")
    assert found == "route 1 (field messages, kind status or error); route 2 (everything)"
    assert why(table, ROUTES, app="main", envelope=envelope("security"), target="c") == ""


def test_what_no_route_takes_is_told_as_such() -> None:
    table = RoutingTable(ROUTES[:1], payload_original=frozenset(), drop_unrouted=False)
    unrouted = why(table, ROUTES, app="main", envelope=envelope("security"), target=UNROUTED)
    assert unrouted == "no route takes it"
    assert why(table, ROUTES, app="main", envelope=envelope("messages"), target=UNROUTED) == ""
