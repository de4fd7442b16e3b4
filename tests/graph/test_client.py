"""Calls on a Graph API over real TLS: what goes out, what is taken, and what no answer can do to us."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from OpenSSL import crypto

from gateway.errors import UsageError
from gateway.graph import client as client_module
from gateway.graph.answers import SubscribedApp, UnreadableAnswerError
from gateway.graph.client import Api, GraphClient, NoAnswerError, NotSentError, Pacing, open_graph
from gateway.graph.refusals import RefusedError
from gateway.graph.usage import Usage, UsageBook
from gateway.settings.secret import Secret
from tests.graph.stand_in import (
    APP_ID,
    APP_SECRET,
    OTHER_APP,
    PHONE,
    TOKEN,
    WABA,
    WHATSAPP,
    Canned,
    StandIn,
    Trouble,
    limited,
)

HOOK = "https://gw.example.com/hooks"
VERIFY = Secret(b"verify-me-91", source="env V")


def api(stand_in: StandIn, token: str = TOKEN) -> Api:
    secret = Secret(token.encode(), source="env META_ACCESS_TOKEN")
    return Api(base_url=stand_in.base_url, version="v25.0", token=secret)


class Naps:
    """Takes the place of sleep, and remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@asynccontextmanager
async def opened(
    stand_in: StandIn, *, token: str = TOKEN, naps: Naps | None = None, book: UsageBook | None = None
) -> AsyncIterator[GraphClient]:
    pacing = Pacing(book=book or UsageBook([WABA]), sleep=naps or Naps())
    async with open_graph(api(stand_in, token), pacing, hidden=(VERIFY,)) as graph:
        yield graph


async def test_subscribe_look_and_unsubscribe(stand_in: StandIn) -> None:
    async with opened(stand_in) as graph:
        assert await graph.subscribed_apps(WABA) == ()
        await graph.subscribe(WABA)
        assert await graph.subscribed_apps(WABA) == (
            SubscribedApp(app_id=APP_ID, name="Kestrel GW", override_url=None),
        )
        await graph.unsubscribe(WABA)
    assert stand_in.accounts[WABA] == {}
    assert [call.method for call in stand_in.calls] == ["GET", "POST", "GET", "DELETE"]


async def test_subscribing_sends_no_body_and_an_override_sends_both(stand_in: StandIn) -> None:
    stand_in.accounts[WABA] = {APP_ID: None}
    async with opened(stand_in) as graph:
        await graph.set_override(WABA, url=HOOK, verify_token=VERIFY)
        await graph.subscribe(WABA)
    override, subscription = stand_in.calls
    assert override.body == {"override_callback_uri": HOOK, "verify_token": "verify-me-91"}
    assert override.headers["content-type"] == "application/json"
    assert subscription.body is None
    assert subscription.headers["content-length"] == "0"
    assert "content-type" not in subscription.headers


async def test_success_may_be_a_text(stand_in: StandIn) -> None:
    stand_in.success = "true"
    async with opened(stand_in) as graph:
        await graph.subscribe(WABA)


async def test_the_token_goes_into_the_header_and_nowhere_else(stand_in: StandIn) -> None:
    stand_in.page_size = 1
    stand_in.accounts[WABA] = {APP_ID: None, OTHER_APP: None}
    async with opened(stand_in) as graph:
        await graph.subscribed_apps(WABA)
        await graph.subscribe(WABA)
        await graph.phone_configuration(PHONE)
    for call in stand_in.calls:
        assert call.headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in json.dumps([call.path, dict(call.query), call.body])


async def test_all_pages_are_read_by_their_cursor_alone(stand_in: StandIn) -> None:
    """The `next` URL leads elsewhere, with a token in it: it is not followed."""
    stand_in.page_size = 2
    stand_in.accounts[WABA] = {str(number): None for number in range(1, 6)}
    async with opened(stand_in) as graph:
        apps = await graph.subscribed_apps(WABA)
    assert [app.app_id for app in apps] == ["1", "2", "3", "4", "5"]
    assert [dict(call.query) for call in stand_in.calls] == [{}, {"after": "c2"}, {"after": "c4"}]


async def test_pages_that_run_in_circles_end(stand_in: StandIn) -> None:
    circle = Canned(body={"data": [], "paging": {"cursors": {"after": "x&y"}, "next": "https://x"}})
    stand_in.scripted = [("GET", "/", circle)] * 3
    async with opened(stand_in) as graph:
        with pytest.raises(UnreadableAnswerError, match="no end"):
            await graph.subscribed_apps(WABA)
    assert [dict(call.query) for call in stand_in.calls] == [{}, {"after": "x&y"}]


async def test_phone_numbers_and_the_app_itself(stand_in: StandIn) -> None:
    async with opened(stand_in) as graph:
        await graph.set_phone_override(PHONE, url=HOOK, verify_token=VERIFY)
        assert (await graph.phone_configuration(PHONE)).phone_number == HOOK
        await graph.set_phone_override(PHONE, url="", verify_token=None)
        assert stand_in.calls[-1].body == {"webhook_configuration": {"override_callback_uri": ""}}
        assert (await graph.phone_configuration(PHONE)).phone_number is None
    async with opened(stand_in, token=f"{APP_ID}|{APP_SECRET}") as graph:
        await graph.set_app_subscription(
            APP_ID, object_=WHATSAPP, callback_url=HOOK, fields=("messages", "calls"), verify_token=VERIFY
        )
        (subscription,) = await graph.app_subscriptions(APP_ID)
    assert subscription.fields == ("messages", "calls")
    assert stand_in.calls[-2].body["fields"] == "messages,calls"


async def test_the_apps_secret_proves_whose_app_it_is(stand_in: StandIn) -> None:
    secret = Secret(APP_SECRET.encode(), source="env S")
    async with opened(stand_in) as graph:
        graph.hide(secret)
        assert await graph.is_app_of(APP_ID, secret)
        assert not await graph.is_app_of(OTHER_APP, secret)
        assert not await graph.is_app_of(APP_ID, Secret(b"old", source="env S"))
        stand_in.scripted = [("GET", "/", limited(APP_ID))]
        with pytest.raises(RefusedError):
            await graph.is_app_of(APP_ID, secret)
        body = {"error": {"code": 1, "message": f"with {APP_SECRET}"}}
        stand_in.scripted = [("GET", "/", Canned(status=500, body=body))]
        with pytest.raises(RefusedError) as caught:
            await graph.subscribed_apps(WABA)
    assert stand_in.calls[0].headers["authorization"] == f"Bearer {APP_ID}|{APP_SECRET}"
    assert APP_SECRET not in str(caught.value)


async def test_a_refusal_is_told_without_the_token_that_meta_quotes(stand_in: StandIn) -> None:
    async with opened(stand_in, token="EAAwrong-one") as graph:
        with pytest.raises(RefusedError) as caught:
            await graph.subscribed_apps(WABA)
    assert caught.value.refusal.code == 190
    assert "EAAwrong" not in str(caught.value)


async def test_what_an_answer_quotes_of_our_secrets_is_hidden(stand_in: StandIn) -> None:
    body = {"error": {"code": 100, "message": f"{TOKEN} and verify-me-91 are no good"}}
    stand_in.scripted = [("GET", "/", Canned(status=400, body=body))]
    async with opened(stand_in) as graph:
        with pytest.raises(RefusedError) as caught:
            await graph.subscribed_apps(WABA)
    assert "[hidden] and [hidden] are no good" in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "", "ä"])
def test_what_cannot_be_a_token_is_refused_and_not_quoted(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        Api(base_url="https://localhost", version="v25.0", token=Secret(token.encode(), source="env T"))
    assert not token or token not in str(caught.value)


async def test_a_limit_is_a_refusal_with_its_minutes(stand_in: StandIn) -> None:
    stand_in.scripted = [("GET", "/", limited(WABA, minutes=7))]
    async with opened(stand_in) as graph:
        with pytest.raises(RefusedError) as caught:
            await graph.subscribed_apps(WABA)
        assert caught.value.refusal.limit is not None
        assert caught.value.refusal.limit.minutes == 7
        with pytest.raises(RefusedError, match="rate limit of this account"):
            await graph.subscribed_apps(WABA)
    assert len(stand_in.calls) == 1, "a call that is known to be refused lengthens the block"


async def test_retry_after_says_it_where_the_header_of_usage_does_not(stand_in: StandIn) -> None:
    stand_in.scripted = [("GET", "/", Canned(status=429, body=b"slow down", headers={"Retry-After": "90"}))]
    async with opened(stand_in) as graph:
        with pytest.raises(RefusedError) as caught:
            await graph.subscribed_apps(WABA)
    assert caught.value.refusal.limit is not None
    assert caught.value.refusal.limit.minutes == 1.5


async def test_a_good_answer_may_tell_of_a_block_and_the_next_call_is_not_made(stand_in: StandIn) -> None:
    stand_in.usage[WABA] = json.loads(limited(WABA, minutes=3).headers["x-business-use-case-usage"])
    async with opened(stand_in) as graph:
        await graph.subscribed_apps(WABA)
        with pytest.raises(RefusedError):
            await graph.subscribe(WABA)
    assert stand_in.asked("POST") == []


async def test_above_80_percent_the_next_call_waits(stand_in: StandIn) -> None:
    told: list[tuple[str, float, tuple[Usage, ...]]] = []
    naps = Naps()
    stand_in.usage[WABA] = {WABA: [{"type": "whatsapp_business_management", "call_count": 90}]}
    pacing = Pacing(book=UsageBook([WABA]), sleep=naps, on_pause=lambda *words: told.append(words))
    async with open_graph(api(stand_in), pacing) as graph:
        await graph.subscribed_apps(WABA)
        assert naps.seconds == []
        await graph.subscribed_apps(WABA)
    assert naps.seconds == [9.0]
    assert told[0][:2] == (WABA, 9.0)


@pytest.mark.parametrize("usage", ["[" * 60_000, '{"1": 7}', "\x7f", '{"1": [{"call_count": "NaN"}]}', "ÿ"])
async def test_garbage_in_the_header_spoils_no_good_answer(stand_in: StandIn, usage: str) -> None:
    stand_in.usage[WABA] = usage.replace("\x7f", "~").replace("ÿ", "\\u00ff")
    naps = Naps()
    async with opened(stand_in, naps=naps) as graph:
        await graph.subscribed_apps(WABA)
        await graph.subscribed_apps(WABA)
    assert naps.seconds == []


# -- answers that are none


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Canned(body=b"<html>"), UnreadableAnswerError, "no JSON"),
        (Canned(body={"data": 7}), UnreadableAnswerError, "data"),
        (Canned(body={"data": []}, headers={"Content-Encoding": "gzip"}), UnreadableAnswerError, "packed"),
        (Canned(body=b"[" * 200_000), UnreadableAnswerError, "no JSON"),
        (Canned(body=b" " * 2**20 + b"{}"), UnreadableAnswerError, "no end"),
        (Canned(status=302, headers={"Location": "https://evil.example/"}), RefusedError, "redirect"),
        (Canned(status=301, headers={"Location": "/v25.0/1/subscribed_apps"}), RefusedError, "redirect"),
        (Canned(body={"error": {"code": 190}}), RefusedError, "access token"),
        (Canned(status=204, body=b""), RefusedError, "204"),
        (Trouble.GARBAGE, NoAnswerError, "not HTTP"),
        (Trouble.ENDLESS, UnreadableAnswerError, "no end"),
    ],
)
async def test_what_is_no_good_answer_is_an_error_of_ours(
    stand_in: StandIn, answer: Canned | Trouble, error: type[Exception], words: str
) -> None:
    stand_in.scripted = [("GET", "/", answer)]
    async with opened(stand_in) as graph:
        with pytest.raises(error, match=words):
            await graph.subscribed_apps(WABA)
        assert len(stand_in.calls) == 1
        await graph.subscribed_apps(WABA)  # and the next call is as good as ever


@pytest.mark.parametrize("trouble", [Trouble.HANG, Trouble.DRIP])
async def test_a_call_ends_in_time_however_slowly_it_is_answered(
    stand_in: StandIn, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CALL_SECONDS", 0.3)
    stand_in.scripted = [("POST", "/", trouble)]
    async with opened(stand_in) as graph:
        with trio.fail_after(5), pytest.raises(NoAnswerError, match=r"within 0\.3 s"):
            await graph.subscribe(WABA)


async def test_where_nobody_listens_nothing_was_sent(trusted: None, graph_ca: trustme.CA) -> None:
    absent = StandIn(graph_ca)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    absent.port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    async with opened(absent) as graph:
        with pytest.raises(NotSentError, match="connection refused"):
            await graph.subscribe(WABA)


async def test_a_certificate_of_another_ca_gets_no_token(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(trustme.CA().cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    async with opened(stand_in) as graph:
        with pytest.raises(NotSentError, match="certificate not accepted") as caught:
            await graph.subscribe(WABA)
    assert "SSL_CERT_FILE" in caught.value.remedy
    assert stand_in.calls == []


async def test_anchors_that_are_not_there_are_named(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mistyped.pem"))
    async with opened(stand_in) as graph:
        with pytest.raises(NotSentError) as caught:
            await graph.subscribe(WABA)
    assert f"{tmp_path}/mistyped.pem, which is no file" in caught.value.remedy


async def test_a_certificate_for_another_name_gets_no_token(
    graph_ca: trustme.CA, trusted: None, nursery: trio.Nursery
) -> None:
    misnamed = StandIn(graph_ca, names=("elsewhere.example",))
    await nursery.start(misnamed.serve)
    async with opened(misnamed) as graph:
        with pytest.raises(NotSentError, match="certificate not accepted"):
            await graph.subscribe(WABA)
    assert misnamed.calls == []


async def test_anchors_may_stand_in_a_directory(
    stand_in: StandIn, graph_ca: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SSL_CERT_DIR: files are found by the hash of the subject (c_rehash)."""
    directory = tmp_path / "anchors"
    directory.mkdir()
    pem = graph_ca.cert_pem.bytes().decode()
    name_hash = crypto.load_certificate(crypto.FILETYPE_PEM, pem.encode()).subject_name_hash()
    (directory / f"{name_hash:08x}.0").write_text(pem)
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    async with opened(stand_in) as graph:
        await graph.subscribe(WABA)
