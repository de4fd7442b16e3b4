"""`gateway subscriptions` against a Graph API over real TLS."""

import json
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.cli.subscriptions import app as subscription_app
from gateway.cli.subscriptions import run as subscription_run
from tests.cli.calling import Called, call
from tests.graph.stand_in import (
    APP_ID,
    APP_SECRET,
    OTHER_APP,
    PHONE,
    TOKEN,
    WABA,
    Canned,
    StandIn,
    Trouble,
    in_a_thread,
    limited,
    refused,
    write_ca,
)

PUBLIC = "https://hooks.example.com"
HOOK = f"{PUBLIC}/webhooks/main"
ELSEWHERE = "https://elsewhere.example/hooks"
VERIFY = "verify-me-91"

Command = Callable[..., Called]
Write = Callable[..., None]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Return the CA of the Graph API."""
    return trustme.CA()


@pytest.fixture
def meta(ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Return a Graph API that listens; its CA is trusted, and the token is in the environment."""
    monkeypatch.setenv("SSL_CERT_FILE", str(write_ca(ca, tmp_path)))
    monkeypatch.setenv("META_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("APP_SECRET", APP_SECRET)
    monkeypatch.setenv("VERIFY_TOKEN", VERIFY)
    with in_a_thread(StandIn(ca)) as stand_in:
        yield stand_in


@pytest.fixture
def write(meta: StandIn, tmp_path: Path) -> Write:
    """Return a function that writes the configuration; `graph` and `routes` are JSON, which is YAML."""

    def write_config(
        *,
        subscriptions: object = (),
        routes: object = ({"field": ["messages", "account_update"], "to": "support"},),
        app_id: str | None = APP_ID,
        public: bool = True,
        base_url: str | None = None,
        more: dict[str, object] | None = None,
    ) -> None:
        app = {
            "path": "/webhooks/main",
            "app_secrets": [{"env": "APP_SECRET"}],
            "verify_token": {"env": "VERIFY_TOKEN"},
        }
        config = {
            "listen": {"public_url": PUBLIC} if public else {},
            "tls": {"certificate": "a", "private_key": "b", "clients": {"meta": {"trust_anchors": ["c"]}}},
            "apps": {"main": app | ({"app_id": app_id} if app_id else {})},
            "targets": {"support": {"url": "http://127.0.0.1:1"}},
            "routes": routes,
            "graph": {"base_url": base_url or meta.base_url, "subscriptions": subscriptions, **(more or {})},
        }
        (tmp_path / "gateway.yaml").write_text(json.dumps(config))

    return write_config


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, write: Write) -> Command:
    """Return a function that runs `gateway subscriptions ...`."""
    write()

    def run(*arguments: str) -> Called:
        called = call(capsys, "--config", str(tmp_path / "gateway.yaml"), "subscriptions", *arguments)
        for secret in (TOKEN, APP_SECRET, VERIFY):
            assert secret not in called.out + called.err, "a secret is printed"
        return called

    return run


def told(called: Called) -> Any:
    return json.loads(called.out)


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody there to answer."""
    for module in (subscription_app, subscription_run):
        monkeypatch.setattr(module, "may_ask", lambda: True)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(text))


# -- subscribe, list, unsubscribe


def test_subscribe_list_unsubscribe(command: Command, meta: StandIn) -> None:
    first = command("subscribe", "--waba", WABA)
    assert (first.code, first.out) == (0, f"{WABA}\tdone\tsubscribe\n")
    assert command("subscribe", "--waba", WABA).out == f"{WABA}\tunchanged\tsubscribed\n"
    assert command("list", "--waba", WABA).out == f"{WABA}\t{APP_ID}\tKestrel GW\t-\n"
    assert command("unsubscribe", "--waba", WABA).out == f"{WABA}\tdone\tunsubscribe\n"
    assert command("list", "--waba", WABA).out == f"{WABA}\t-\tno app is subscribed\t\n"
    assert [one.method for one in meta.calls] == ["GET", "POST", "GET", "GET", "GET", "DELETE", "GET"]


def test_list_for_scripts_shows_all_pages_and_which_is_ours(command: Command, meta: StandIn) -> None:
    meta.page_size = 1
    meta.accounts[WABA] = {OTHER_APP: ELSEWHERE, APP_ID: None}
    meta.usage[WABA] = {WABA: [{"type": "whatsapp_business_management", "call_count": 3}]}
    listed = told(command("list", "--waba", WABA, "--json"))
    (account,) = listed["accounts"]
    assert listed["ok"] is True
    assert account["waba"] == WABA
    assert account["error"] is None
    assert account["apps"] == [
        {"id": OTHER_APP, "name": "Another app", "override_url": ELSEWHERE, "ours": False},
        {"id": APP_ID, "name": "Kestrel GW", "override_url": None, "ours": True},
    ]
    assert account["usage"] == [
        {"business": WABA, "type": "whatsapp_business_management", "percent": 3.0, "regain_minutes": 0.0}
    ]


def test_without_ids_list_shows_what_the_configuration_names(command: Command, write: Write) -> None:
    assert command("list").code == 2
    write(subscriptions=[{"waba": WABA}])
    assert command("list").out.startswith(WABA)


def test_an_override_is_set_with_the_token_of_its_app(command: Command, meta: StandIn) -> None:
    assert command("subscribe", "--waba", WABA, "--override-url", HOOK).code == 0
    assert meta.accounts[WABA] == {APP_ID: HOOK}
    assert meta.calls[-1].body == {"override_callback_uri": HOOK, "verify_token": VERIFY}


@pytest.mark.parametrize("form", ["env:OTHER", "file:{}", "the-other-token"])
def test_the_verify_token_may_be_given(
    command: Command, meta: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("OTHER", "the-other-token")
    (tmp_path / "token").write_text("the-other-token\n")
    given = form.format(tmp_path / "token")
    called = command("subscribe", "--waba", WABA, "--override-url", ELSEWHERE, "--verify-token", given)
    assert called.code == 0
    assert meta.calls[-1].body["verify_token"] == "the-other-token"
    assert "the-other-token" not in called.out + called.err


def test_an_override_in_the_way_is_left_alone_where_nobody_can_be_asked(
    command: Command, meta: StandIn
) -> None:
    meta.accounts[WABA] = {APP_ID: ELSEWHERE}
    meta.accounts["2"] = {}
    called = command("subscribe", "--waba", WABA, "--waba", "2")
    assert called.code == 2
    assert called.out.splitlines() == [
        f"{WABA}\tundecided\thas the override {ELSEWHERE}, which this would remove",
        "2\tdone\tsubscribe",
    ]
    assert "--keep-override leaves it, --remove-override (or --yes) removes it" in called.err
    assert meta.accounts[WABA] == {APP_ID: ELSEWHERE}
    assert meta.asked("POST") == ["/2/subscribed_apps"]


@pytest.mark.parametrize(
    ("flag", "override"),
    [("--keep-override", ELSEWHERE), ("--remove-override", None), ("--yes", None)],
)
def test_what_is_to_become_of_it_can_be_said(
    command: Command, meta: StandIn, flag: str, override: str | None
) -> None:
    meta.accounts[WABA] = {APP_ID: ELSEWHERE}
    assert command("subscribe", "--waba", WABA, flag).code == 0
    assert meta.accounts[WABA] == {APP_ID: override}


@pytest.mark.parametrize(("text", "override"), [("y\n", None), ("n\n", ELSEWHERE), ("\n", ELSEWHERE)])
def test_on_a_terminal_it_is_asked_once(
    command: Command,
    meta: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    at_a_terminal: None,
    text: str,
    override: str | None,
) -> None:
    meta.accounts = {WABA: {APP_ID: ELSEWHERE}, "2": {APP_ID: ELSEWHERE}}
    answer(monkeypatch, text)
    called = command("subscribe", "--waba", WABA, "--waba", "2")
    assert called.code == 0
    assert called.err.count("Remove these 2 overrides?") == 1
    assert meta.accounts == {WABA: {APP_ID: override}, "2": {APP_ID: override}}


def test_where_nobody_answers_it_ends_with_what_is_done(
    command: Command, meta: StandIn, monkeypatch: pytest.MonkeyPatch, at_a_terminal: None
) -> None:
    meta.accounts = {WABA: {APP_ID: ELSEWHERE}, "2": {}}
    answer(monkeypatch, "")
    called = command("subscribe", "--waba", WABA, "--waba", "2")
    assert called.code == 130
    assert [line.split("\t")[1] for line in called.out.splitlines()] == ["undecided", "done"]
    assert meta.accounts[WABA] == {APP_ID: ELSEWHERE}


def test_a_dry_run_asks_nothing(command: Command, meta: StandIn, at_a_terminal: None) -> None:
    meta.accounts[WABA] = {APP_ID: ELSEWHERE}
    called = command("subscribe", "--waba", WABA, "--dry-run")
    assert called.out.startswith(f"{WABA}\tundecided\t")
    assert "Remove" not in called.err


def test_an_override_of_another_app_is_in_nobodys_way(command: Command, meta: StandIn) -> None:
    meta.accounts[WABA] = {OTHER_APP: ELSEWHERE}
    assert command("subscribe", "--waba", WABA).code == 0
    assert meta.accounts[WABA] == {OTHER_APP: ELSEWHERE, APP_ID: None}


def test_a_dry_run_changes_nothing(command: Command, meta: StandIn) -> None:
    called = command("subscribe", "--waba", WABA, "--override-url", HOOK, "--dry-run")
    assert called.out == f"{WABA}\twould\tsubscribe; override none -> {HOOK}\n"
    assert "nothing was changed" in called.err
    assert meta.asked("POST") == []


def test_one_that_fails_is_told_with_its_reason_and_the_others_are_done(
    command: Command, meta: StandIn
) -> None:
    called = command("subscribe", "--waba", "404", "--waba", WABA, "--json")
    assert called.code == 1
    result = told(called)
    assert result["ok"] is False
    assert [one["outcome"] for one in result["accounts"]] == ["failed", "done"]
    assert result["accounts"][0]["code"] == 100
    assert "next step: compare the id with Business settings" in called.err
    assert meta.accounts[WABA] == {APP_ID: None}


def test_an_answer_that_is_lost_is_looked_up(command: Command, meta: StandIn) -> None:
    meta.scripted = [("POST", "/", Trouble.DONE_THEN_CLOSED)]
    assert command("subscribe", "--waba", WABA).code == 0
    assert meta.asked("POST") == [f"/{WABA}/subscribed_apps"]


def test_phone_numbers_have_an_override_of_their_own(command: Command, meta: StandIn) -> None:
    set_ = ("subscribe", "--phone", PHONE, "--override-url", HOOK)
    assert command(*set_).out == f"{PHONE}\tdone\toverride none -> {HOOK}\n"
    assert command(*set_).out == f"{PHONE}\tunchanged\toverride {HOOK}\n"
    shown = told(command("list", "--phone", PHONE, "--json"))["phones"][0]
    assert shown["phone_number"] == HOOK
    assert shown["application"] == "https://gw.example.com/hooks"
    assert command("unsubscribe", "--phone", PHONE).out == f"{PHONE}\tdone\toverride {HOOK} -> none\n"
    assert meta.phones[PHONE][1] is None
    failed = command("list", "--phone", "404")
    assert failed.code == 1
    assert "next step" in failed.err


# -- limits


def test_a_limit_stops_that_account_and_says_for_how_long(
    command: Command, meta: StandIn, tmp_path: Path
) -> None:
    meta.accounts["2"] = {}
    meta.scripted = [("POST", f"/{WABA}", limited(WABA, minutes=7))]
    rest = tmp_path / "rest.txt"
    called = command("subscribe", "--waba", WABA, "--waba", "2", "--remaining", str(rest))
    assert called.code == 1
    assert "the rate limit of this account is reached (code 80008); access again in 7 min" in called.out
    assert "1 limited, 1 done" in called.err
    assert meta.asked("POST") == [f"/{WABA}/subscribed_apps", "/2/subscribed_apps"]
    assert rest.read_text().splitlines()[1].startswith(f"{WABA}  # limited: ")
    assert command("subscribe", "--waba-file", str(rest)).out == f"{WABA}\tdone\tsubscribe\n"


@pytest.mark.parametrize(
    "arguments",
    [("list", "--app"), ("list", "--phone", PHONE), ("explain", "--phone", PHONE), ("check", "--all")],
)
def test_whoever_only_looks_is_told_for_how_long_too(
    command: Command, meta: StandIn, arguments: tuple[str, ...]
) -> None:
    meta.scripted = [("GET", "/", limited(APP_ID, minutes=125))]
    called = command(*arguments)
    assert called.code == 1
    assert "access again in 2 h 5 min" in called.out + called.err


@pytest.mark.parametrize("code", [80008, 4, 17, 32, 613])
def test_every_limit_stops(command: Command, meta: StandIn, code: int) -> None:
    meta.scripted = [("POST", "/", limited(WABA, code=code))]
    result = told(command("subscribe", "--waba", WABA, "--json"))["accounts"][0]
    assert (result["outcome"], result["regain_minutes"], result["code"]) == ("limited", 7.0, code)
    assert len(meta.asked("POST")) == 1


def test_it_can_wait_and_goes_on(command: Command, meta: StandIn) -> None:
    """Half a second; how long it is waited for, and the countdown, are tested with a clock of their own."""
    meta.scripted = [("POST", "/", limited(WABA, minutes=0.5 / 60))]
    called = command("subscribe", "--waba", WABA, "--override-url", HOOK, "--wait")
    assert called.code == 0
    assert "rate limit: waiting 1 min for 1 account" in called.err
    assert meta.accounts[WABA] == {APP_ID: HOOK}


def test_usage_is_shown(command: Command, meta: StandIn) -> None:
    meta.usage[WABA] = {WABA: [{"type": "whatsapp_business_management", "call_count": 71}]}
    called = command("list", "--waba", WABA)
    assert f"used up, as Meta tells: {WABA}: 71 % of whatsapp_business_management" in called.err


# -- files of ids, usage, tokens


def test_accounts_come_from_a_file(command: Command, meta: StandIn, tmp_path: Path) -> None:
    file = tmp_path / "wabas.txt"
    file.write_text(f"# shops\n{WABA}\n\n2  # the second\n{WABA}\n")
    meta.accounts["2"] = {}
    called = command("subscribe", "--waba-file", str(file), "--waba", "2")
    assert [line.split("\t")[0] for line in called.out.splitlines()] == ["2", WABA]
    assert "names 1 of them again" in called.err


def test_bad_ids_in_a_file_are_named_by_their_line_and_nothing_is_done(
    command: Command, meta: StandIn, tmp_path: Path
) -> None:
    file = tmp_path / "wabas.txt"
    file.write_text(f"{WABA}\n+49 30\nabc\n")
    called = command("subscribe", "--waba-file", str(file))
    assert called.code == 2
    assert f"{file}: line 2: '+49 30' is no id" in called.err
    assert f"{file}: line 3: 'abc' is no id" in called.err
    assert meta.calls == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("subscribe",), "for which accounts?"),
        (("subscribe", "--waba", "12a"), "'12a' is no id"),
        (("subscribe", "--waba", "../1"), "is no id"),
        (("subscribe", "--waba", "1", "--keep-override", "--yes"), "keep overrides and remove them?"),
        (("subscribe", "--waba", "1", "--override-url", "http://a/b"), "is not a URL of https"),
        (("subscribe", "--waba", "1", "--override-url", "https://a/" + 200 * "b"), "at most 200"),
        (("subscribe", "--waba", "1", "--override-url", HOOK, "--keep-override"), "--override-url sets one"),
        (("subscribe", "--waba", "1", "--verify-token", "x"), "is for --override-url"),
        (("subscribe", "--waba", "1", "--field", "messages"), "--field is for --app"),
        (("subscribe", "--waba", "1", "--app"), "one kind at a time"),
        (("subscribe", "--app", "--keep-override"), "are for accounts"),
        (("subscribe", "--phone", "1"), "nothing but an override"),
        (("subscribe", "--app", "--override-url", HOOK), "--app has no override"),
        (("subscribe", "--waba-file", "/not/there"), "No such file"),
        (("unsubscribe",), "for which accounts?"),
        (("ensure",), "states nothing"),
        (("check",), "check what?"),
        (("explain",), "explain what?"),
        (("explain", "--phone", "x"), "--phone 'x' is no id"),
    ],
)
def test_mistakes_of_usage_are_told_and_nothing_is_called(
    command: Command, meta: StandIn, arguments: tuple[str, ...], words: str
) -> None:
    called = command(*arguments)
    assert called.code == 2
    assert words in called.err
    assert meta.calls == []


def test_a_missing_token_is_told_with_what_kind_it_takes(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("META_ACCESS_TOKEN")
    called = command("list", "--waba", WABA)
    assert called.code == 2
    assert "META_ACCESS_TOKEN is not set" in called.err
    assert "system user" in called.err


def test_the_token_may_stand_in_a_file(
    command: Command, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("META_ACCESS_TOKEN")
    (tmp_path / "token").write_text(TOKEN + "\n")
    write(more={"token": {"file": "token"}})
    assert command("list", "--waba", WABA).code == 0


def test_a_wrong_token_is_told_and_not_shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_ACCESS_TOKEN", "EAAwrong7f3a")
    called = command("list", "--waba", WABA)
    assert called.code == 1
    assert "Meta does not take the access token (code 190)" in called.out
    listed = told(command("list", "--waba", WABA, "--json"))
    assert (listed["ok"], listed["accounts"][0]["code"]) == (False, 190)
    assert "EAAwrong" not in called.out + called.err


def test_nothing_goes_over_plain_http(command: Command, write: Write, meta: StandIn) -> None:
    write(base_url=meta.base_url.replace("https", "http"))
    called = command("list", "--waba", WABA)
    assert called.code == 2
    assert "graph.base_url" in called.err
    assert meta.calls == []


def test_without_any_configuration_the_token_suffices(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meta: StandIn
) -> None:
    """Graph's own address is called then, so this goes no further than the token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("META_ACCESS_TOKEN")
    monkeypatch.setattr("gateway.cli.output.options.config", Path("config/gateway.yaml"))
    called = call(capsys, "subscriptions", "list", "--waba", WABA)
    assert called.code == 2
    assert "META_ACCESS_TOKEN" in called.err


# -- ensure


def test_ensure_shows_the_difference_brings_it_about_and_is_done(
    command: Command, write: Write, meta: StandIn
) -> None:
    meta.accounts = {WABA: {}, "2": {APP_ID: ELSEWHERE}, "3": {APP_ID: None}}
    write(subscriptions=[{"waba": WABA}, {"waba": ["2", "3"], "override_url": HOOK}])
    lines = [
        f"{WABA}\t{{}}\tsubscribe",
        f"2\t{{}}\toverride {ELSEWHERE} -> {HOOK}",
        f"3\t{{}}\toverride none -> {HOOK}",
    ]
    dry = command("ensure", "--dry-run")
    assert (dry.code, dry.out.splitlines()) == (0, [line.format("would") for line in lines])
    assert meta.asked("POST") == []
    assert command("ensure").out.splitlines() == [line.format("done") for line in lines]
    assert meta.accounts == {WABA: {APP_ID: None}, "2": {APP_ID: HOOK}, "3": {APP_ID: HOOK}}
    posts = len(meta.asked("POST"))
    assert {line.split("\t")[1] for line in command("ensure").out.splitlines()} == {"unchanged"}
    assert len(meta.asked("POST")) == posts


def test_a_dry_run_needs_no_verify_token(
    command: Command, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(subscriptions=[{"waba": WABA, "override_url": HOOK}])
    monkeypatch.delenv("VERIFY_TOKEN")
    assert command("ensure", "--dry-run").code == 0
    called = command("ensure")
    assert called.code == 2
    assert "VERIFY_TOKEN is not set" in called.err


def test_ensure_leaves_an_override_that_nobody_stated_unless_told(
    command: Command, write: Write, meta: StandIn
) -> None:
    meta.accounts[WABA] = {APP_ID: ELSEWHERE}
    write(subscriptions=[{"waba": WABA}])
    assert command("ensure").code == 2
    assert meta.accounts[WABA] == {APP_ID: ELSEWHERE}
    assert command("ensure", "--remove-override").code == 0
    assert meta.accounts[WABA] == {APP_ID: None}


def test_ensure_takes_accounts_from_a_file_and_a_token_of_their_own(
    command: Command, write: Write, meta: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGING", "staging-token")
    (tmp_path / "wabas.txt").write_text(f"{WABA}\n")
    entry = {"waba": {"file": "wabas.txt"}, "override_url": ELSEWHERE, "verify_token": {"env": "STAGING"}}
    write(subscriptions=[entry])
    assert command("ensure").code == 0
    assert meta.calls[-1].body["verify_token"] == "staging-token"


def test_without_the_apps_id_its_secret_proves_which_app_is_ours(
    command: Command, write: Write, meta: StandIn
) -> None:
    write(subscriptions=[{"waba": WABA}], app_id=None)
    meta.accounts[WABA] = {OTHER_APP: ELSEWHERE}
    assert "which this would remove if it is ours" in command("ensure").out
    assert command("ensure", "--remove-override").out == f"{WABA}\tdone\tsubscribe, without an override\n"
    assert meta.accounts[WABA] == {OTHER_APP: ELSEWHERE, APP_ID: None}
    assert command("ensure").out == f"{WABA}\tunchanged\tsubscribed\n"


def test_without_any_proof_another_app_is_not_taken_for_ours(
    command: Command, write: Write, meta: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_SECRET", "changed-meanwhile")
    write(subscriptions=[{"waba": WABA}], app_id=None)
    meta.accounts[WABA] = {OTHER_APP: None}
    assert command("ensure").code == 0
    assert meta.accounts[WABA] == {OTHER_APP: None, APP_ID: None}
    meta.accounts[WABA] = {OTHER_APP: ELSEWHERE, APP_ID: None}
    assert command("ensure").code == 2, "that may be ours"
    called = command("ensure", "--keep-override")
    assert called.code == 1
    assert "state apps.NAME.app_id" in called.err
    assert "which of them is ours is not known" in command("check", "--waba", WABA).out


# -- check


def test_check_finds_no_difference(command: Command, write: Write, meta: StandIn) -> None:
    assert meta.app is not None
    meta.app["callback_url"] = HOOK
    meta.accounts[WABA] = {APP_ID: HOOK}
    write(subscriptions=[{"waba": WABA, "override_url": HOOK}])
    called = command("check", "--all")
    assert (called.code, called.out) == (0, "no difference (accounts compared: 1)\n")
    assert {one.method for one in meta.calls} == {"GET"}


def test_check_names_each_difference(command: Command, write: Write, meta: StandIn) -> None:
    meta.accounts = {WABA: {}, "2": {APP_ID: ELSEWHERE}}
    write(
        subscriptions=[{"waba": [WABA]}, {"waba": "2", "override_url": HOOK}],
        routes=[{"field": ["messages", "template_*"], "to": "support"}],
    )
    called = command("check", "--all")
    assert called.code == 1
    assert f"account {WABA}: the app is not subscribed: nothing comes from it; " in called.out
    assert f"account 2: the override is {ELSEWHERE}, and {HOOK} is stated; " in called.out
    assert "field template_*: is routed, but the app is not subscribed to it: " in called.out
    assert "field account_update: is subscribed, but no route takes it" in called.out
    assert f"callback URL: it is https://gw.example.com/hooks, and this gateway's is {HOOK}" in called.out
    subjects = [one["subject"] for one in told(command("check", "--all", "--json"))["differences"]]
    assert subjects == [
        f"account {WABA}", "account 2", "callback URL", "field template_*", "field account_update"
    ]  # fmt: skip


def test_check_of_single_accounts_leaves_the_app_alone(command: Command, meta: StandIn) -> None:
    meta.accounts[WABA] = {APP_ID: None}
    assert command("check", "--waba", WABA).code == 0
    assert meta.asked("GET") == [f"/{WABA}/subscribed_apps"]


def test_what_could_not_be_compared_is_no_success(command: Command, write: Write, meta: StandIn) -> None:
    meta.accounts[WABA] = {APP_ID: None}
    meta.scripted = [("GET", f"/{APP_ID}", refused(1, "An unknown error occurred", status=500))]
    write(subscriptions=[{"waba": WABA}])
    called = command("check", "--all")
    assert called.code == 1
    assert "the app's fields could not be compared: Meta has trouble of its own" in called.out
    assert command("check", "--waba", "404").code == 1


def test_check_finds_the_apps_id_where_it_is_not_stated(
    command: Command, write: Write, meta: StandIn
) -> None:
    meta.accounts[WABA] = {OTHER_APP: None, APP_ID: None}
    write(subscriptions=[{"waba": WABA}], app_id=None, public=False)
    assert command("check", "--all").code == 0
    meta.accounts[WABA] = {}
    called = command("check", "--all")
    assert called.code == 1
    assert "state apps.main.app_id" in called.out


# -- the app itself


def test_the_apps_subscription_is_shown_and_set(command: Command, write: Write, meta: StandIn) -> None:
    shown = command("list", "--app").out
    assert shown == (
        "whatsapp_business_account\thttps://gw.example.com/hooks\tyes\tmessages, account_update\n"
    )
    write(routes=[{"field": ["messages", "calls"], "to": "support"}])
    refused_ = command("subscribe", "--app")
    assert refused_.code == 2
    assert "everything goes there" in refused_.err
    assert meta.asked("POST") == []
    dry = command("subscribe", "--app", "--dry-run", "--yes")
    assert dry.out.splitlines() == [
        f"app {APP_ID}: callback URL https://gw.example.com/hooks -> {HOOK}",
        f"app {APP_ID}: fields besides those that are subscribed: calls",
    ]
    assert command("subscribe", "--app", "--yes").code == 0
    assert meta.app is not None
    assert meta.app["callback_url"] == HOOK
    assert meta.app["fields"] == ["messages", "account_update", "calls"]
    assert meta.calls[-2].body["verify_token"] == VERIFY
    assert command("subscribe", "--app").out == f"app {APP_ID}: it is so already\n"
    assert command("subscribe", "--app", "--field", "security").code == 0
    assert "security" in meta.app["fields"]


def test_an_app_without_subscription_gets_one(command: Command, meta: StandIn) -> None:
    meta.app = None
    assert command("subscribe", "--app").code == 0
    assert command("list", "--app", "--json").code == 0
    assert command("check", "--all").code == 0


def test_setting_the_app_needs_to_know_what(command: Command, write: Write) -> None:
    write(public=False)
    assert "state listen.public_url" in command("subscribe", "--app").err
    write(app_id=None)
    assert "state apps.main.app_id" in command("subscribe", "--app").err


def test_what_meta_took_and_did_not_do_is_a_failure(command: Command, meta: StandIn) -> None:
    meta.scripted = [("POST", f"/{APP_ID}", Canned(body={"success": True}))]
    called = command("subscribe", "--app", "--yes")
    assert called.code == 1
    assert "it is not so" in called.err


# -- explain


@pytest.mark.parametrize(
    ("phone", "waba", "holds"),
    [(HOOK, ELSEWHERE, HOOK), (None, ELSEWHERE, ELSEWHERE), (None, None, "https://gw.example.com/hooks")],
)
def test_explain_says_whose_url_holds(
    command: Command, meta: StandIn, phone: str | None, waba: str | None, holds: str
) -> None:
    meta.accounts[WABA] = {APP_ID: waba}
    meta.phones[PHONE] = (WABA, phone)
    called = command("explain", "--waba", WABA, "--phone", PHONE)
    (line,) = [line for line in called.out.splitlines() if "<- holds" in line]
    assert holds in line
    assert "always go to the app's own URL: https://gw.example.com/hooks" in called.out
    assert ("That is this gateway, app main." in called.out) == (holds == HOOK)
    explained = told(command("explain", "--waba", WABA, "--phone", PHONE, "--json"))
    assert explained["messaging_fields"]["url"] == holds
    assert [level["holds"] for level in explained["levels"]].count(True) == 1


def test_explain_takes_no_other_apps_override_for_ours(command: Command, write: Write, meta: StandIn) -> None:
    write(app_id=None)
    meta.accounts[WABA] = {OTHER_APP: ELSEWHERE, APP_ID: None}
    assert "2. account       not set" in command("explain", "--waba", WABA).out
    del meta.accounts[WABA][APP_ID]
    assert "2. account       not known" in command("explain", "--waba", WABA).out


def test_explain_says_what_holds_for_an_account(command: Command, meta: StandIn) -> None:
    meta.accounts[WABA] = {APP_ID: ELSEWHERE}
    called = command("explain", "--waba", WABA)
    assert f"Of numbers without an override of their own, the account's does: {ELSEWHERE}" in called.out


def test_explain_claims_nothing_that_it_has_not_seen(command: Command, meta: StandIn) -> None:
    meta.accounts[WABA] = {}
    called = command("explain", "--waba", WABA)
    assert "cannot be told without the id of the phone number" in called.out
    assert f"The app is not subscribed to account {WABA}" in called.out
