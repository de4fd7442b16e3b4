"""The routes of the configuration, as the core sees them."""

import json
from collections.abc import Callable

import pytest

from gateway.core.envelope import Envelope, parse_envelope
from gateway.settings.load import Loaded
from gateway.settings.routes import routing_table

Load = Callable[..., Loaded]


def envelope_of(field: str, *, waba: str = "0123456") -> Envelope:
    body = {
        "object": "whatsapp_business_account",
        "entry": [{"id": waba, "changes": [{"field": field, "value": {"statuses": [{}]}}]}],
    }
    envelope = parse_envelope(json.dumps(body).encode())
    assert isinstance(envelope, Envelope)
    return envelope


@pytest.mark.parametrize(
    ("route", "taken"),
    [
        ("field: messages", True),
        ("field: [calls, mess*]", True),
        ("field: calls", False),
        ("kind: status", True),
        ("kind: message", False),
        ("waba: 0123456", True),
        ("waba: 123456", False),
        ("app: main", True),
        ("app: [ma?n]", True),
        ("object: page", False),
    ],
)
def test_a_route_takes_what_it_states(route: str, taken: bool, good: str, load: Load) -> None:
    table = routing_table(load(good.replace("field: messages", route)).settings)
    (delivery,) = table.plan("main", envelope_of("messages"))
    assert delivery.target == ("support" if taken else "_unrouted")


def test_unrouted_may_be_dropped(good: str, load: Load) -> None:
    text = good.replace("unrouted: dead_letter", "unrouted: drop")
    assert routing_table(load(text).settings).plan("main", envelope_of("calls")) == ()


def test_a_target_may_want_the_original(good: str, load: Load) -> None:
    text = good.replace("timeout: 10s", "payload: original")
    (delivery,) = routing_table(load(text).settings).plan("main", envelope_of("messages"))
    assert delivery.selection is None
