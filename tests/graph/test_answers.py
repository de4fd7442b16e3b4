"""Answers of the Graph API, as documented and otherwise."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graph import answers
from gateway.graph.answers import AppSubscription, PhoneConfiguration, SubscribedApp, UnreadableAnswerError

SAMPLES = Path(__file__).parents[1] / "data/payloads/_graph_api"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
READERS = (
    answers.read_success,
    answers.read_apps_page,
    answers.read_app_subscriptions,
    answers.read_phone_configuration,
)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())["body"]


def app(**more: object) -> dict[str, object]:
    return {"whatsapp_business_api_data": {"id": "1", "link": "l", "name": "n"}, **more}


def test_subscribed_apps_as_documented() -> None:
    page = answers.read_apps_page(sample("subscribed_apps.get.ok.json"))
    assert page.after is None
    assert page.apps == (
        SubscribedApp(
            app_id="264419870315578",
            name="Kestrel GW",
            override_url="https://waba.gw.example.com/hooks/735190284461207",
        ),
    )


def test_the_subscriptions_of_an_app_as_documented() -> None:
    assert answers.read_app_subscriptions(sample("app_subscriptions.get.json")) == (
        AppSubscription(
            object="whatsapp_business_account",
            callback_url="https://gw.example.com/hooks",
            active=True,
            fields=("messages", "account_update"),
        ),
    )


def test_the_overrides_of_a_phone_number_as_documented() -> None:
    body = sample("phone_number.get_webhook_configuration.json")
    assert answers.read_phone_configuration(body) == PhoneConfiguration(
        phone_number="https://pn.gw.example.com/hooks/541870239965418",
        waba="https://waba.gw.example.com/hooks/735190284461207",
        application="https://gw.example.com/hooks",
    )


def test_a_phone_number_without_overrides() -> None:
    assert answers.read_phone_configuration({"id": "5"}) == PhoneConfiguration(
        phone_number=None, waba=None, application=None
    )


@pytest.mark.parametrize("name", ["subscribed_apps.post.ok.json", "subscribed_apps.delete.ok.json"])
def test_success_as_documented(name: str) -> None:
    answers.read_success(sample(name))


def test_success_as_an_older_page_shows_it() -> None:
    answers.read_success({"success": "true"})


@pytest.mark.parametrize("said", [False, "false", 1, "True", None, [], "yes"])
def test_nothing_else_is_success(said: object) -> None:
    with pytest.raises(UnreadableAnswerError):
        answers.read_success({"success": said})


def test_an_empty_override_is_none() -> None:
    page = answers.read_apps_page({"data": [app(override_callback_uri="")]})
    assert page.apps[0].override_url is None


@pytest.mark.parametrize(
    ("paging", "after"),
    [
        ({"cursors": {"before": "a", "after": "b"}}, None),  # Meta gives cursors on the last page, too
        ({"cursors": {"after": "b"}, "next": "https://graph/x?after=c&access_token=t"}, "b"),
        ({"next": "https://graph/x?access_token=t&after=c%3D"}, "c="),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_the_cursor_of_the_next_page_is_found(paging: object, after: str | None) -> None:
    assert answers.read_apps_page({"data": [], "paging": paging}).after == after


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, {"data": {}}, {"data": [1]}, {"data": [{}]}, {"data": [app(override_callback_uri=7)]},
        {"data": [{"whatsapp_business_api_data": {}}]}, {"data": [], "paging": {"next": "https://graph/x"}},
        {"data": [app(override_callback_uri="x" * 5000)]},
    ],
)  # fmt: skip
def test_another_shape_is_an_error_of_ours(body: object) -> None:
    with pytest.raises(UnreadableAnswerError):
        answers.read_apps_page(body)


@given(JSON, JSON)
def test_no_json_whatever_raises_anything_else(body: object, inner: object) -> None:
    bodies = (body, {"data": [inner]}, {"webhook_configuration": inner}, {"data": [], "paging": inner})
    for read, content in itertools.product(READERS, bodies):
        with contextlib.suppress(UnreadableAnswerError):
            read(content)
