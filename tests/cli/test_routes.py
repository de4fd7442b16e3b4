"""`gateway routes`: where things would go, and why."""

import io
import json
from pathlib import Path

import pytest

from gateway.simulator.payloads import as_meta_writes, find_sample
from gateway.simulator.pki import make_pki
from tests.cli.calling import Called, call

CONFIG = """\
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients: {meta: {trust_anchors: [certs/meta-ca.pem]}}
apps:
  main: {path: /main, app_secrets: [{env: NOT_SET}], verify_token: {env: NOT_SET_EITHER}}
targets:
  support: {url: "http://127.0.0.1:1/"}
  analytics: {url: "http://127.0.0.1:2/"}
  berlin: {url: "http://127.0.0.1:3/"}
routes:
  - {field: messages, kind: [message], to: [support]}
  - {field: messages, kind: status, to: [analytics]}
  - {field: "account_*", waba: "7351*", to: [berlin, support]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    make_pki(tmp_path / "certs")
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG)
    return path


def routes(capsys: pytest.CaptureFixture[str], config: Path, *arguments: str) -> Called:
    return call(capsys, "--config", str(config), "routes", *arguments)


def test_without_options_the_routes_are_listed_with_their_places(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    called = routes(capsys, config)
    assert called.code == 0
    assert called.out.splitlines() == [
        f"{config}:12:5: route 1: field messages, kind message -> support",
        f"{config}:13:5: route 2: field messages, kind status -> analytics",
        f"{config}:14:5: route 3: field account_*, waba 7351* -> berlin, support",
        "what no route takes: _unrouted, a dead letter at once",
    ]
    listed = json.loads(routes(capsys, config, "--json").out)
    assert listed[2] == {
        "route": 3,
        "file": str(config),
        "line": 14,
        "column": 5,
        "states": {"field": ["account_*"], "waba": ["7351*"]},
        "priority": None,
        "to": ["berlin", "support"],
    }


def test_a_field_is_explained_for_each_kind_in_which_it_comes(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    called = routes(capsys, config, "--field", "messages")
    assert called.code == 0
    assert "kind message\n" in called.out
    assert f"  -> {config}:12:5: route 1" in called.out
    assert "  goes to: support\n" in called.out
    assert "  goes to: analytics\n" in called.out
    assert "no route takes 1 of 3 changes (messages of whatsapp_business_account, kind error)" in called.err


def test_a_route_that_asks_for_an_id_takes_a_field_on_a_condition(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    called = routes(capsys, config, "--field", "account_update")
    assert f"  if {config}:14:5: route 3" in called.out
    assert "  and to: berlin, support, if waba 7351*" in called.out
    assert called.err == ""
    told = json.loads(routes(capsys, config, "--field", "account_update", "--json").out)
    (change,) = told[0]["changes"]
    assert change["targets"] == []
    assert [one["route"] for one in change["routes_on_condition"]] == [3]


def test_a_field_that_nobody_knows_is_explained_like_any_other(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    called = routes(capsys, config, "--field", "brand_new")
    assert called.code == 0
    assert "goes to: _unrouted, a dead letter at once" in called.out
    assert "warning: app main: no route takes 1 of 1 changes (brand_new" in called.err
    other = routes(capsys, config, "--field", "page/messages")
    assert "change 1: messages of page\n" in other.out
    assert "note:" not in other.err


def test_a_slip_of_the_pen_is_told_beside_it(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    called = routes(capsys, config, "--field", "mesages")
    assert called.code == 0
    assert "note: mesages is not a known field of whatsapp_business_account" in called.err
    assert called.err.rstrip().endswith("did you mean messages?")


def test_a_payload_is_explained_change_by_change(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    payload = tmp_path / "payload.json"
    payload.write_bytes(as_meta_writes(find_sample("batch.mixed_entries").read()))
    (told,) = json.loads(routes(capsys, config, "--payload", str(payload), "--json").out)
    assert told["app"] == "main"
    assert [change["targets"] for change in told["changes"]] == [
        ["analytics"],
        ["support"],
        ["berlin", "support"],
        [],
    ]
    assert [[route["line"] for route in change["routes"]] for change in told["changes"]] == [
        [13],
        [12],
        [14],
        [],
    ]
    assert told["changes"][0]["entry_id"] == "735190284461207"


def test_a_payload_may_come_from_stdin(
    capsys: pytest.CaptureFixture[str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = as_meta_writes(find_sample("messages.text").read())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body)))
    called = routes(capsys, config, "--payload", "-")
    assert "goes to: support" in called.out


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"object":"page","entry":[]}'])
def test_a_body_without_changes_is_told(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path, body: bytes
) -> None:
    payload = tmp_path / "payload.json"
    payload.write_bytes(body)
    called = routes(capsys, config, "--payload", str(payload))
    assert called.code == 0
    assert "no route takes a body without changes; goes to: _unrouted" in called.err


def test_unrouted_drop_is_told_as_such(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    config.write_text(CONFIG + "unrouted: drop\n")
    called = routes(capsys, config, "--field", "brand_new")
    assert "goes to: nobody (unrouted: drop)" in called.out


def test_each_app_is_explained_or_the_one_that_is_named(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    second = "  other: {path: /other, app_secrets: [{env: NOT_SET}], verify_token: {env: NOT_SET}}\n"
    text = CONFIG.replace("targets:\n", second + "targets:\n").replace(
        "{field: messages, kind: status", "{app: other"
    )
    config.write_text(text)
    both = routes(capsys, config, "--field", "security")
    assert "app main\n" in both.out
    assert "app other\n" in both.out
    assert "warning: app main" in both.err
    assert "warning: app other" not in both.err
    one = json.loads(routes(capsys, config, "--field", "security", "--app", "other", "--json").out)
    assert [app["app"] for app in one] == ["other"]
    assert one[0]["changes"][0]["targets"] == ["analytics"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--field", "a", "--payload", "b"), "--field and --payload together"),
        (("--payload", "missing.json"), "missing.json: No such file or directory"),
        (("--field", "a", "--app", "nobody"), "there is no app 'nobody'; the configuration has main"),
    ],
)
def test_mistakes_of_usage_end_with_2(
    capsys: pytest.CaptureFixture[str], config: Path, arguments: tuple[str, ...], message: str
) -> None:
    called = routes(capsys, config, *arguments)
    assert called.code == 2
    assert message in called.err


def test_a_configuration_that_is_wrong_ends_with_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    called = routes(capsys, tmp_path / "none.yaml", "--field", "messages")
    assert called.code == 2
    assert "none.yaml" in called.err


def test_the_lane_is_shown_as_the_kind_a_priority_and_order_make_it(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    config.write_text(
        CONFIG.replace('2/"}', '2/", order: sender}')
        + "  - {field: messages, kind: status, to: [support, berlin]}\n"
        + "  - {field: messages, kind: [message, status], priority: high, to: [berlin]}\n"
    )
    called = routes(capsys, config, "--field", "messages")
    assert "  goes to: support, berlin\n  lane: high\n" in called.out
    assert "  lane: analytics none (order: sender), support low, berlin high\n" in called.out
    assert "route 5: field messages, kind message or status, priority high -> berlin" in called.out
    [explained] = json.loads(routes(capsys, config, "--field", "messages", "--json").out)
    lanes = {",".join(one["kinds"]): one["lanes"] for one in explained["changes"]}
    assert lanes["status"] == {"analytics": None, "support": "low", "berlin": "high"}
    assert lanes["error"] == {}


def test_a_strangers_payload_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    change = {"field": "\x1b[31mf\u202e", "value": {"messages": []}}
    entry = {"id": "\x1b]0;title\x07", "changes": [change]}
    (tmp_path / "evil.json").write_text(json.dumps({"object": "\x9b1m", "entry": [entry]}))
    told = routes(capsys, config, "--payload", str(tmp_path / "evil.json")).out
    assert "change 1: \\x1b[31mf" in told
    assert all(sign.isprintable() or sign == "\n" for sign in told)
