"""What is subscribed beside what the routes expect."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.graph.answers import AppSubscription
from gateway.graph.comparison import (
    WHATSAPP,
    compare_account,
    compare_app,
    expected_accounts,
    expected_fields,
    wanted_overrides,
)
from gateway.graph.plan import State
from gateway.settings.load import load_settings
from gateway.settings.model import Settings

HOOK = "https://hooks.example.com/webhooks/main"
TEMPLATES = (
    "message_template_components_update",
    "message_template_quality_update",
    "message_template_status_update",
)
CONFIG = """
listen: {public_url: https://hooks.example.com}
tls: {certificate: a, private_key: b, clients: {meta: {trust_anchors: [c]}}}
apps:
  main: {path: /webhooks/main, app_secrets: [{env: A}], verify_token: {env: B}}
  side: {path: /webhooks/side, app_secrets: [{env: A}], verify_token: {env: B}}
targets: {support: {url: "http://a"}}
"""

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(text: str) -> Settings:
        file = tmp_path / "gateway.yaml"
        file.write_text(CONFIG + text)
        return load_settings(file, environ={}, with_secrets=False).settings

    return load_text


def routed(*routes: str) -> str:
    return "routes:\n" + "".join(f"  - {{{route}, to: support}}\n" for route in routes)


def subscription(*fields: str, url: str = HOOK, active: bool = True) -> AppSubscription:
    return AppSubscription(object=WHATSAPP, callback_url=url, active=active, fields=fields)


def test_accounts_are_those_of_graph_and_of_routes_by_whole_id(load: Load) -> None:
    settings = load(
        routed('waba: ["1", "2*", "3"]', "field: messages", "app: side, waba: '9'")
        + "graph: {subscriptions: [{waba: [4, 1]}]}\n"
    )
    assert expected_accounts(settings, "main") == ("4", "1", "3")


@pytest.mark.parametrize(
    ("state", "wanted", "words"),
    [
        (State(subscribed=True, override_url=None), {"1": None}, None),
        (State(subscribed=True, override_url=HOOK), {"1": HOOK}, None),
        (State(subscribed=True, override_url=HOOK), {}, None),
        (State(subscribed=False, override_url=None), {}, "nothing comes from it"),
        (State(subscribed=None, override_url=None), {}, "which of them is ours is not known"),
        (
            State(subscribed=True, override_url=None),
            {"1": HOOK},
            f"the override is none, and {HOOK} is stated",
        ),
        (
            State(subscribed=True, override_url=HOOK),
            {"1": None},
            f"the override is {HOOK}, and none is stated",
        ),
    ],
)
def test_accounts_are_compared(state: State, wanted: dict[str, str | None], words: str | None) -> None:
    found = compare_account("1", state, wanted)
    assert len(found) == (words is not None)
    if words is not None:
        assert words in found[0].what


def test_what_is_stated_is_wanted(load: Load) -> None:
    text = f"graph: {{subscriptions: [{{waba: [1, 2], override_url: '{HOOK}'}}, {{waba: 3}}]}}\n"
    assert wanted_overrides(load(routed("field: messages") + text).graph) == {"1": HOOK, "2": HOOK, "3": None}


def test_routes_expect_what_their_patterns_match(load: Load) -> None:
    settings = load(
        routed(
            'field: [messages, "message_template_*"]',
            'field: "*"',
            "kind: status",
            "field: brand_new",
            "{app: side, field: calls}".strip("{}"),
            "{object: page, field: feed}".strip("{}"),
        )
    )
    expected = {one.pattern: one.fields for one in expected_fields(settings.routes, "main")}
    assert expected == {
        "messages": ("messages",),
        "message_template_*": TEMPLATES,
        "brand_new": ("brand_new",),
    }


def test_what_is_as_expected_is_no_difference(load: Load) -> None:
    settings = load(routed("field: messages"))
    assert compare_app(subscription("messages"), settings, "main") == ()


def test_a_field_that_is_routed_and_not_subscribed_is_named(load: Load) -> None:
    settings = load(routed("field: messages", 'field: "template_*"', 'field: "message_template_*"'))
    found = compare_app(subscription("messages", TEMPLATES[0]), settings, "main")
    assert [(one.subject, one.what) for one in found] == [
        (
            "field template_*",
            "is routed, but the app is not subscribed to it: template_category_update,"
            " template_correct_category_detection",
        ),
        (
            "field message_template_*",
            f"is routed, but the app is not subscribed to all of it: {TEMPLATES[1]}, {TEMPLATES[2]}",
        ),
    ]


def test_a_field_that_is_subscribed_and_not_routed_becomes_dead_letters(load: Load) -> None:
    text = routed("field: messages")
    (found,) = compare_app(subscription("messages", "calls"), load(text), "main")
    assert found.subject == "field calls"
    assert "no route takes it" in found.what
    assert compare_app(subscription("messages", "calls"), load(text + "unrouted: drop\n"), "main") == ()


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (None, "no subscription for whatsapp_business_account"),
        (subscription("messages", active=False), "not active"),
        (subscription("messages", url="https://old.example/hooks"), f"this gateway's is {HOOK}"),
    ],
)
def test_where_the_app_leads_elsewhere_it_is_said(
    load: Load, there: AppSubscription | None, words: str
) -> None:
    (found,) = compare_app(there, load(routed("field: messages")), "main")
    assert words in found.what
    assert "--app" in found.remedy
