"""A target of the settings, made ready."""

from typing import Any

import pytest

from gateway.delivery.target import dispatch_target
from gateway.errors import GatewayError
from gateway.settings.model import Target
from gateway.settings.values import Secret


def settings(**changes: Any) -> Target:
    return Target.model_construct(url="http://support.internal/hook", **changes)


def test_secrets_and_plain_headers_become_bytes() -> None:
    headers = {"Authorization": Secret(b"s3cr3t", source="env X"), "X-Plain": "ä"}
    made = dispatch_target(settings(headers=headers, signing_secret=Secret(b"whsec_YWJj", source="env Y")))
    assert made.headers == {"Authorization": b"s3cr3t", "X-Plain": "ä".encode()}
    assert made.webhook_key == b"abc"


def test_the_defaults_are_those_of_the_contract() -> None:
    made = dispatch_target(settings())
    assert made.endpoint.url == "http://support.internal/hook"
    assert made.endpoint.timeout_seconds == 10
    assert made.concurrency == 8
    assert list(made.policy.schedule_seconds) == [1, 5, 30, 120, 600, 1800, 3600, 10800, 21600]
    assert made.policy.give_up_after_seconds == 7 * 86400
    assert made.refuse_statuses == {400, 410, 413, 415, 422}
    assert (made.drops, made.webhook_key) == (False, None)


@pytest.mark.parametrize(("on_give_up", "drops"), [("dead_letter", False), ("drop", True)])
def test_a_shadow_target_drops(on_give_up: str, drops: bool) -> None:
    assert dispatch_target(settings(on_give_up=on_give_up)).drops is drops


def test_what_cannot_be_used_is_told_at_start() -> None:
    with pytest.raises(GatewayError, match="signing secret"):
        dispatch_target(settings(signing_secret=Secret(b"whsec_!", source="env Y")))
