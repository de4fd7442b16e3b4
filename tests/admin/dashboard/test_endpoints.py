"""The dashboard's requests, without JavaScript: who sees what, and who may act."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from gateway.admin.dashboard.pages import SECURITY_HEADERS
from gateway.admin.health import Check
from gateway.errors import SpoolUnavailableError
from tests.admin.dashboard.rig import HOSTILE, ID, URL, Stage, a_letter, a_row
from tests.admin.rig import TOKEN

PAGES = ("/", "/targets/support", "/dead-letters", f"/dead-letters/{ID}", "/refusals", "/changes", "/login")
ACTS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("/dead-letters/confirm", {"action": "replay", "id": ID}),
    ("/dead-letters/act", {"action": "discard", "id": ID}),
    ("/targets/support/act", {"action": "pause", "for": "2h"}),
)


@pytest.fixture
def stage() -> Stage:
    return Stage()


# -- looking


@pytest.mark.parametrize("path", [*PAGES, "/dead-letters/none", "/targets/none", "/static/none"])
async def test_every_page_goes_out_with_the_headers_that_keep_it_to_itself(stage: Stage, path: str) -> None:
    async with stage.client() as client:
        answer = await client.get(path)
    assert answer.status_code == (404 if "none" in path else 200)
    assert SECURITY_HEADERS.items() <= dict(answer.headers).items()
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_has_what_its_policy_would_stop(stage: Stage, path: str) -> None:
    visitor = await stage.logged_in()
    text = (await visitor.client.get(path)).text
    assert "<style" not in text
    assert " style=" not in text
    assert " onclick" not in text
    assert text.count("<script") == 1
    assert '<script src="/static/dashboard.js" defer></script>' in text
    assert "http://" not in text.replace("http://support.internal/hook", "")


@pytest.mark.parametrize("path", [*PAGES, "/events", "/static/dashboard.css"])
async def test_a_name_that_was_rebound_to_loopback_sees_nothing(stage: Stage, path: str) -> None:
    async with stage.client() as client:
        answer = await client.get(path, headers={"host": "evil.example"})
        assert answer.status_code == 421
        acted = await client.post("/login", data={"token": TOKEN.decode()}, headers={"host": "evil.example"})
        assert acted.status_code == 421


async def test_however_many_ask_one_page_is_made_at_a_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stage.dashboard._pages.render
    under_way, most = 0, 0

    def render(name: str, values: Mapping[str, Any]) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        threading.Event().wait(0.02)  # others may begin meanwhile
        text = real(name, values)
        under_way -= 1
        return text

    monkeypatch.setattr(stage.dashboard._pages, "render", render)
    async with stage.client() as client, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(client.get, "/changes")
    assert most == 1, "each more takes its share of the one that acknowledges"


async def test_the_overview_says_first_how_things_are(stage: Stage) -> None:
    async with stage.client() as client:
        text = (await client.get("/")).text
    assert "Ready, and nothing has been received yet." in text
    assert "https://hooks.example.com/webhooks/main" in text, "the next step"
    assert 'href="/dead-letters"' in text


async def test_a_gateway_that_cannot_be_asked_still_has_a_page(stage: Stage) -> None:
    stage.fault = SpoolUnavailableError("no worker answers now")
    async with stage.client() as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    assert "no worker answers now" in answer.text


async def test_what_is_not_accepted_is_said_before_all_else(stage: Stage) -> None:
    stage.checks["spool"] = Check(ok=False, detail="the disk is full")
    async with stage.client() as client:
        text = (await client.get("/")).text
    assert "The gateway accepts nothing." in text
    assert "the disk is full" in text


async def test_strangers_texts_are_text_and_nothing_else(stage: Stage) -> None:
    texts = ("reason", "subject", "issuer", "detail", "address", "claims", "staged_says")
    stage.refusals = [{"at": "2026-01-01T00:00:00Z", "kind": "connection", **dict.fromkeys(texts, HOSTILE)}]
    stage.lines = [{"at": "2026-01-01T00:00:00Z", "action": HOSTILE, "by": HOSTILE, "reason": HOSTILE}]
    stage.targets = {"support": {"state": "open", "last_error": {"error": HOSTILE}}}
    stage.rows = (a_row(last=HOSTILE, fields=(HOSTILE,)), a_row("b", problem=HOSTILE))
    stage.letter = a_letter(body=HOSTILE.encode(), excerpt=HOSTILE)
    visitor = await stage.logged_in()
    for path in (*PAGES, f"/dead-letters/{ID}?payload=1"):
        text = (await visitor.client.get(path)).text
        assert "<script>alert" not in text, path
        assert "\u202e" not in text, path
        assert "\x1b" not in text, path
    text = (await visitor.client.get("/dead-letters", params={"field": HOSTILE, "target": HOSTILE})).text
    assert "<script>alert" not in text


async def test_filters_reach_the_files_and_a_bad_one_is_explained(stage: Stage) -> None:
    async with stage.client() as client:
        text = (await client.get("/dead-letters?target=support&field=mess*&reason=refused&since=2h")).text
        (wanted,) = stage.wanted
        assert (wanted.target, wanted.field, wanted.reason, wanted.since) == (
            "support",
            "mess*",
            "refused",
            "2h",
        )
        assert "after=2026-01-01%2F00%2Fsupport%2Fx" in text, "the way to older ones keeps the filter"
        assert "target=support&amp;" in text
        answer = await client.get("/dead-letters?since=never")
    assert answer.status_code == 400
    assert "is no time" in answer.text


# -- the token


@pytest.mark.parametrize("path", [f"/dead-letters/{ID}?payload=1", f"/dead-letters/{ID}/payload"])
async def test_a_payload_needs_the_token(stage: Stage, path: str) -> None:
    async with stage.client() as client:
        answer = await client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=%2Fdead-letters%2F")
        assert "sauce" not in (await client.get(f"/dead-letters/{ID}")).text, "nor what the target answered"
    visitor = await stage.logged_in()
    answer = await visitor.client.get(path)
    assert "the secret sauce" in answer.text
    assert answer.headers["cache-control"] == "no-store"


async def test_a_payload_is_shown_only_when_asked_for(stage: Stage) -> None:
    visitor = await stage.logged_in()
    for path in PAGES:
        assert "secret sauce" not in (await visitor.client.get(path)).text


async def test_the_bytes_of_a_payload_are_a_file_that_no_browser_opens(stage: Stage) -> None:
    stage.letter = a_letter(body=b"<html>\xff")
    visitor = await stage.logged_in()
    answer = await visitor.client.get(f"/dead-letters/{ID}/payload")
    assert answer.content == b"<html>\xff"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="{ID}.json"'
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_cookie_is_no_token_and_goes_nowhere_else(stage: Stage) -> None:
    async with stage.client() as client:
        answer = await client.post("/login", data={"token": TOKEN.decode(), "next": "/changes"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/changes")
    cookie = answer.headers["set-cookie"]
    assert TOKEN.decode() not in cookie
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=28800"):
        assert part in cookie


@pytest.mark.parametrize(
    "leads_to", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\r\nx: y"]
)
async def test_a_login_leads_to_this_port_alone(stage: Stage, leads_to: str) -> None:
    async with stage.client() as client:
        answer = await client.post("/login", data={"token": TOKEN.decode(), "next": leads_to})
        assert answer.headers["location"] == "/"
        page = await client.get("/login", params={"next": leads_to})
        assert "evil.example" not in page.text


async def test_a_wrong_token_opens_nothing_and_is_on_record(stage: Stage) -> None:
    with capture_logs() as lines:
        async with stage.client() as client:
            answer = await client.post("/login", data={"token": "a guess that is wrong"})
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
            assert (await client.get(f"/dead-letters/{ID}/payload")).status_code == 303
    assert [line["event"] for line in lines] == ["admin_token_refused"]
    assert "guess" not in repr(lines)


async def test_whoever_is_wrong_keeps_nobody_out_who_is_right(stage: Stage) -> None:
    async with stage.client() as client:
        answers = [await client.post("/login", data={"token": "x"}) for _ in range(9)]
        assert [one.status_code for one in answers] == [401] * 5 + [429] * 4
        assert answers[-1].headers["retry-after"] == "10"
    async with stage.client() as client:
        assert (await client.post("/login", data={"token": TOKEN.decode()})).status_code == 303


async def test_logging_out_makes_the_cookie_worthless(stage: Stage) -> None:
    visitor = await stage.logged_in()
    cookies = dict(visitor.client.cookies)
    assert (await visitor.client.post("/logout", data={"bye": ""})).status_code == 303
    async with stage.client() as client:
        client.cookies.update(cookies)
        assert (await client.get(f"/dead-letters/{ID}/payload")).status_code == 303


async def test_a_token_that_changed_ends_the_sessions(stage: Stage) -> None:
    visitor = await stage.logged_in()
    stage.token = b"another-token-0123456789-0123456789-0123"
    assert (await visitor.client.get(f"/dead-letters/{ID}/payload")).status_code == 303


# -- acting


async def test_replay_is_confirmed_and_told_without_javascript(stage: Stage) -> None:
    visitor = await stage.logged_in()
    asked = await visitor.post("/dead-letters/confirm", action="replay", id=[ID, "other-support"])
    assert asked.status_code == 200
    assert "Deliver 2 dead letters again?" in asked.text
    assert stage.done == []
    done = await visitor.post("/dead-letters/act", action="replay", id=[ID, "other-support"])
    assert (done.status_code, done.headers["location"]) == (303, "/dead-letters")
    assert stage.done == [("replay", ([ID, "other-support"], False))]
    assert "2 of 2 dead letters stored again" in (await visitor.client.get("/dead-letters")).text
    assert "stored again" not in (await visitor.client.get("/dead-letters")).text, "told once"


@pytest.mark.parametrize(
    ("back", "leads_to"),
    [
        ("/dead-letters?target=support&field=mess*", "/dead-letters?target=support&field=mess*"),
        (f"/dead-letters/{ID}", "/dead-letters"),
        ("//evil.example/dead-letters?", "/dead-letters"),
        ("/dead-letters?x=\\evil", "/"),
        ("", "/dead-letters"),
    ],
)
async def test_an_action_leads_back_to_the_list_as_it_was(stage: Stage, back: str, leads_to: str) -> None:
    visitor = await stage.logged_in()
    done = await visitor.post("/dead-letters/act", action="discard", id=ID, back=back)
    assert done.headers["location"] == leads_to


async def test_a_discard_that_found_nothing_says_so(stage: Stage) -> None:
    visitor = await stage.logged_in()
    await visitor.post("/dead-letters/act", action="discard", id=ID)
    assert stage.done == [("discard", [ID])]
    text = (await visitor.client.get("/dead-letters")).text
    assert "0 of 1 dead letter removed for good" in text
    assert "not found, gone" in text


async def test_a_target_is_paused_and_resumed_by_forms(stage: Stage) -> None:
    visitor = await stage.logged_in()
    assert 'name="reason"' in (await visitor.client.get("/targets/support")).text
    await visitor.post("/targets/support/act", **{"action": "pause", "for": "2h", "reason": "deploy"})
    await visitor.post("/targets/support/act", **{"action": "pause", "for": ""})
    await visitor.post("/targets/support/act", action="resume")
    assert stage.done == [
        ("pause", ("support", 7200.0, "deploy")),
        ("pause", ("support", None, "")),
        ("resume", ("support", None)),
    ]
    stage.targets["support"] = {"state": "paused", "pause": {"reason": "deploy"}}
    answer = await visitor.post("/targets/support/act", **{"action": "pause", "for": "a year"})
    assert answer.status_code == 400


@pytest.mark.parametrize(("path", "form"), ACTS)
async def test_nothing_is_done_without_a_session(stage: Stage, path: str, form: Mapping[str, str]) -> None:
    async with stage.client() as client:
        answer = await client.post(path, data=dict(form))
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2F")
    assert stage.done == []


@pytest.mark.parametrize(("path", "form"), ACTS)
@pytest.mark.parametrize("csrf", [None, "", "guessed", "\u00e9"])
async def test_nothing_is_done_without_the_sessions_word(
    stage: Stage, path: str, form: Mapping[str, str], csrf: str | None
) -> None:
    visitor = await stage.logged_in()
    data = {**form, **({} if csrf is None else {"csrf": csrf})}
    answer = await visitor.client.post(path, data=data)
    assert answer.status_code == 403
    assert stage.done == []


@pytest.mark.parametrize(("path", "form"), [*ACTS, ("/login", {"token": TOKEN.decode()}), ("/logout", {})])
@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "http://127.0.0.1:9091"}, True),
        ({"sec-fetch-site": "cross-site", "origin": URL}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, False),
        ({"origin": URL}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
async def test_a_form_of_another_sites_page_is_refused(
    stage: Stage, path: str, form: Mapping[str, str], headers: Mapping[str, str], refused: bool
) -> None:
    visitor = await stage.logged_in()
    data = {**form, "csrf": await visitor.csrf()}
    answer = await visitor.client.post(path, data=data, headers=dict(headers))
    assert (answer.status_code == 403) is refused
    if refused:
        assert stage.done == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""]
)
async def test_what_is_no_form_is_415(stage: Stage, content_type: str) -> None:
    visitor = await stage.logged_in()
    answer = await visitor.client.post(
        "/dead-letters/act", content=b"action=discard", headers={"content-type": content_type}
    )
    assert answer.status_code == 415
    assert stage.done == []


@pytest.mark.parametrize(
    "content",
    [b"&".join(b"id=a%d" % n for n in range(500)), "id=\u00e9".encode(), b"%ff=%fe"],
)
async def test_a_form_has_bounds(stage: Stage, content: bytes) -> None:
    visitor = await stage.logged_in()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await visitor.client.post("/dead-letters/act", content=content, headers=headers)
    assert answer.status_code in (400, 403, 413)
    assert stage.done == []


async def test_ids_that_are_none_and_too_many_of_them_are_refused(stage: Stage) -> None:
    visitor = await stage.logged_in()
    for ids in (["../../etc/passwd"], ["a.b"], [""], [f"a{n}" for n in range(101)]):
        answer = await visitor.post("/dead-letters/act", action="discard", id=ids)
        assert answer.status_code == 400
    assert stage.done == []


async def test_a_fault_is_a_page_and_tells_nothing_of_its_inside(stage: Stage) -> None:
    visitor = await stage.logged_in()
    csrf = await visitor.csrf()
    stage.fault = ZeroDivisionError("the secret sauce")
    answer = await visitor.client.post(
        "/dead-letters/act", data={"csrf": csrf, "action": "discard", "id": ID}
    )
    assert answer.status_code == 500
    assert "sauce" not in answer.text
    stage.fault = SpoolUnavailableError("no worker serves now", remedy="ask again in a moment")
    answer = await visitor.client.post(
        "/dead-letters/act", data={"csrf": csrf, "action": "discard", "id": ID}
    )
    assert answer.status_code == 503
    assert "ask again in a moment" in answer.text


async def test_sessions_are_each_others_strangers(stage: Stage) -> None:
    first, second = await stage.logged_in(), await stage.logged_in()
    answer = await second.client.post(
        "/dead-letters/act", data={"csrf": await first.csrf(), "action": "discard", "id": ID}
    )
    assert answer.status_code == 403
    assert stage.done == []


async def test_the_gateways_on_a_database_are_named_with_what_they_see_differently(stage: Stage) -> None:
    def one(name: str, **changes: object) -> dict[str, object]:
        usual = {
            "gateway": name, "own": False, "state": "answers", "version": "0.1", "directory": "/srv",
            "started_at": "2026-01-01T00:00:00Z", "silent_seconds": 0.5,
        }  # fmt: skip
        return {**usual, **changes}

    async with stage.client() as client:
        assert "Gateways" not in (await client.get("/")).text, "there is only the one"
    stage.gateways = [one("db-a:11", own=True), one("<b>:12", state="silent", silent_seconds=240.0)]
    each = [{"gateway": "db-a:11", "state": "delivering"}, {"gateway": "db-b:12", "state": "open"}]
    stage.targets = {"support": {"state": "open", "gateways": each}}
    stage.lines = [
        {"at": "2026-01-01T00:00:00Z", "action": "pause", "by": "admin_port", "gateway": "db-b:12"}
    ]
    stage.refusals = [{"at": "2026-01-01T00:00:00Z", "reason": "unknown_issuer", "gateway": "db-b:12"}]
    stage.dashboard.board.forget()
    async with stage.client() as client:
        text = (await client.get("/")).text
        assert 'db-a:11 <span class="fine">this one</span>' in text
        assert "&lt;b&gt;:12" in text
        assert "Not to be had now: gateway &lt;b&gt;:12: not heard of for 4 min" in text
        assert "delivering on db-a:11, breaker open on db-b:12" in text
        assert "at db-b:12" in text
        assert "per second, all gateways" in text
        assert "By gateway" in (await client.get("/targets/support")).text
        assert "of those of the other gateways" in (await client.get("/changes")).text
