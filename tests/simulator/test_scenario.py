"""The demo's script: it covers what it has to show, and its expectations are those of its own routes."""

import itertools
import json
from pathlib import Path

import pytest

from gateway.core.envelope import Envelope, parse_envelope
from gateway.core.routing import RoutingTable
from gateway.settings.load import load_settings
from gateway.simulator.pki import make_pki
from gateway.simulator.scenario import (
    APP,
    CUSTOMER_TEXT,
    ORIGINAL_TARGET,
    ROUTES,
    SCRIPT,
    TARGETS,
    Notification,
    Secrets,
    notifications,
    write_gateway,
)

MUST_BE_SHOWN = {
    "phone_number_name_update",
    "messages",
    "account_review_update",
    "account_update",
    "business_capability_update",
    "message_template_status_update",
    "phone_number_quality_update",
    "security",
    "field_that_does_not_exist_yet",
}


def sent() -> tuple[Notification, ...]:
    numbers = itertools.count()
    return notifications(now_ms=1_900_000_000_000, draw=lambda: str(next(numbers)))


def test_every_field_that_the_demo_has_to_show_is_sent_alone() -> None:
    alone = set()
    for notification in sent():
        envelope = parse_envelope(notification.body)
        if isinstance(envelope, Envelope) and len(envelope.changes) == 1:
            alone.add(envelope.changes[0].field)
    assert alone >= MUST_BE_SHOWN


def test_metas_own_sample_goes_out_as_it_stands() -> None:
    body = json.loads(sent()[0].body)
    assert isinstance(body, list)
    assert body[0]["entry"][0]["id"] == "0"
    assert body[0]["entry"][0]["time"] == 1795330800
    assert "simulation_id" not in body[0]["entry"][0]


def test_all_bodies_differ_but_the_duplicate() -> None:
    bodies = {one.line.label: one.body for one in sent()}
    duplicate = next(line.label for line in SCRIPT if not line.deliveries)
    assert bodies.pop(duplicate) == bodies[CUSTOMER_TEXT]
    assert len(set(bodies.values())) == len(bodies)


@pytest.mark.parametrize("notification", sent(), ids=lambda one: one.line.label)
def test_expectations_and_routes_agree(notification: Notification) -> None:
    """Two who were written apart: the expectations by hand, the plan by the core."""
    table = RoutingTable(ROUTES, payload_original=frozenset({ORIGINAL_TARGET}), drop_unrouted=False)
    plan = table.plan(APP, parse_envelope(notification.body))
    if notification.line.deliveries:
        assert {one.target for one in plan} == {one.target for one in notification.line.deliveries}


def test_every_target_and_every_route_has_something_to_do() -> None:
    expected = {delivery.target for line in SCRIPT for delivery in line.deliveries}
    assert set(TARGETS) <= expected
    assert {target for route in ROUTES for target in route.to} == set(TARGETS)


def test_the_configuration_is_valid_and_its_secrets_are_closed(tmp_path: Path) -> None:
    make_pki(tmp_path / "certs")
    config = write_gateway(
        tmp_path,
        port=18443,
        admin_port=19090,
        target_urls={name: f"http://127.0.0.1:1/{name}" for name in TARGETS},
        secrets=Secrets(app_secret=b"app secret", verify_token=b"verify token"),
    )
    settings = load_settings(config, environ={}).settings
    assert settings.listen.address.port == 18443
    assert settings.apps[APP].app_secrets[0].reveal() == b"app secret"
    assert settings.apps[APP].verify_token.reveal() == b"verify token"
    assert settings.targets[ORIGINAL_TARGET].payload == "original"
    assert [route.to for route in settings.routes] == [route.to for route in ROUTES]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o600}
