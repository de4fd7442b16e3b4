"""`gateway fields`: what is known of Meta's fields."""

import json

import pytest

from gateway.core.fields import FIELDS
from tests.cli.calling import call


def test_all_fields_are_listed_with_their_meaning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "140")
    called = call(capsys, "fields")
    assert called.code == 0
    for field in FIELDS:
        assert f"  {field.name} " in called.out
    assert "Meta has reviewed the WhatsApp Business Account and decided." in called.out


def test_in_a_pipe_it_is_one_line_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split("\t") for line in call(capsys, "fields").out.splitlines()]
    assert [(object_, name, meaning) for object_, name, meaning, *_ in lines] == [
        (field.object, field.name, field.meaning) for field in FIELDS
    ]
    assert all(line[3].isdecimal() for line in lines)
    known = {line[1]: line[4:] for line in lines if line[0] == "whatsapp_business_account"}
    assert known["messages"] == ["yes", "no"]
    assert known["security"] == ["no", "yes"]
    assert known["consumer_profile"] == ["?", "?"]


def test_json_lists_objects_fields_meanings_and_samples(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(call(capsys, "fields", "--json").out)
    assert len(listed) == len(FIELDS)
    messages = next(
        one for one in listed if (one["object"], one["field"]) == ("whatsapp_business_account", "messages")
    )
    assert messages["samples"][0] == "messages.text"
    assert messages["meaning"]
    assert messages["overrides"] is True
    assert messages["entry_time"] is False


def test_a_field_shows_its_samples(capsys: pytest.CaptureFixture[str]) -> None:
    called = call(capsys, "fields", "security")
    assert called.code == 0
    assert '"field": "security"' in called.out
    assert called.out.startswith("security: ")
    assert "overrides apply: no\n  entry.time is present: yes\n" in called.out


def test_of_many_samples_a_terminal_gets_the_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of messages are 1,700 lines of JSON, and the meaning stood above them."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    called = call(capsys, "fields", "messages")
    assert called.out.startswith("messages: ")
    assert "messages.image," in called.out
    assert "gateway fields SAMPLE shows one" in called.out
    assert len(called.out.splitlines()) < 30
    assert '"field": "messages"' in call(capsys, "fields", "messages.image").out


def test_a_sample_by_its_name_and_a_field_of_another_object(capsys: pytest.CaptureFixture[str]) -> None:
    one = json.loads(call(capsys, "fields", "messages.image", "--json").out)
    assert [sample["name"] for sample in one["samples"]] == ["messages.image"]
    assert one["fields"][0]["field"] == "messages"
    page = json.loads(call(capsys, "fields", "page/feed", "--json").out)
    assert page["samples"][0]["body"]["object"] == "page"


def test_a_field_of_several_objects_shows_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(call(capsys, "fields", "messages", "--json").out)
    assert {field["object"] for field in shown["fields"]} >= {
        "whatsapp_business_account",
        "page",
        "instagram",
    }


def test_an_unknown_field_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    called = call(capsys, "fields", "mesages")
    assert called.code == 2
    assert "mesages: not a known field" in called.err
    assert called.out == ""


def test_a_sample_alone_is_json_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    called = call(capsys, "fields", "messages", "--sample")
    assert json.loads(called.out)["entry"][0]["changes"][0]["field"] == "messages"
    assert call(capsys, "fields", "--sample").code == 2


def test_of_what_nobody_has_seen_there_is_no_sample(capsys: pytest.CaptureFixture[str]) -> None:
    called = call(capsys, "fields", "consumer_profile", "--sample")
    assert called.code == 2
    assert "known field, of which nobody here has seen a notification" in called.err
    assert call(capsys, "send", "--field", "consumer_profile").code == 2
