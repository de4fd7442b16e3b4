"""Samples: one for every known field, shaped like Meta's, and never the same bytes twice."""

import json
from itertools import count

import pytest

from gateway.core.envelope import Envelope, parse_envelope
from gateway.core.fields import FIELDS, Field
from gateway.errors import UsageError
from gateway.simulator.payloads import (
    MAIN_OBJECT,
    SAMPLE_TIME_SECONDS,
    Sample,
    as_meta_writes,
    find_sample,
    freshen,
    samples,
    samples_of,
)

NOW_MS = 1_900_000_000_123


def fresh(name: str, start: int = 0) -> bytes:
    numbers = count(start)
    return freshen(find_sample(name).read(), now_ms=NOW_MS, draw=lambda: f"fresh{next(numbers)}")


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_every_sample_is_an_envelope_of_its_object_and_field(sample: Sample) -> None:
    envelope = parse_envelope(freshen(sample.read(), now_ms=NOW_MS, draw=lambda: "x"))
    assert isinstance(envelope, Envelope)
    assert {change.object for change in envelope.changes} == {sample.object}
    if sample.field != "batch":
        assert sample.field in {change.field for change in envelope.changes}


def test_the_fields_of_whatsapp_have_samples() -> None:
    """But one, whose shape Meta does not publish."""
    without = {field.name for field in FIELDS if field.object == "whatsapp_business_account"} - {
        sample.field for sample in samples()
    }
    assert without <= {"consumer_profile"}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.object}/{field.name}")
def test_the_table_says_of_each_field_what_its_samples_show(field: Field) -> None:
    """And claims nothing where there is none; an override applies where a phone number is named."""
    bodies = [sample.read() for sample in samples_of(field.name, object_=field.object)]
    envelopes = [one for body in bodies for one in (body if isinstance(body, list) else [body])]
    entries = [entry for envelope in envelopes for entry in envelope["entry"]]
    assert {"time" in entry for entry in entries} == (
        set() if field.entry_time is None else {field.entry_time}
    )
    if field.object == MAIN_OBJECT and entries:
        values = [change["value"] for entry in entries for change in entry["changes"]]
        of_conversations = {"metadata" in value and "messaging_product" in value for value in values}
        assert of_conversations == {field.overridable is True}


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_no_sample_is_sent_twice_with_the_same_bytes(sample: Sample) -> None:
    numbers = count()

    def draw() -> str:
        return str(next(numbers))

    assert freshen(sample.read(), now_ms=NOW_MS, draw=draw) != freshen(
        sample.read(), now_ms=NOW_MS, draw=draw
    )


def test_a_message_id_becomes_a_fresh_one_and_the_rest_stays() -> None:
    before = find_sample("messages").read()["entry"][0]["changes"][0]["value"]
    after = json.loads(fresh("messages"))["entry"][0]["changes"][0]["value"]
    assert after["messages"][0]["id"] == "wamid.fresh0"
    assert after["messages"][0]["timestamp"] == "1900000000"
    assert after["metadata"] == before["metadata"]
    assert after["contacts"] == before["contacts"]
    assert after["messages"][0]["text"] == before["messages"][0]["text"]


def test_the_same_old_id_becomes_the_same_new_one() -> None:
    body = {"a": "wamid.AAA=", "b": ["wamid.AAA=", "wamid.BBB"], "entry": []}
    assert json.loads(freshen(body, now_ms=NOW_MS, draw=iter("12").__next__)) == {
        "a": "wamid.1",
        "b": ["wamid.1", "wamid.2"],
        "entry": [],
    }


def test_times_move_to_now_in_seconds_and_milliseconds_and_other_numbers_stay() -> None:
    body = {
        "entry": [{"id": "735190284461207", "time": SAMPLE_TIME_SECONDS}],
        "ms": SAMPLE_TIME_SECONDS * 1000 + 12,
        "later": str(SAMPLE_TIME_SECONDS + 61),
        "flag": True,
        "number": 2048813370917745,
        "nothing": None,
        "share": 0.5,
    }
    assert json.loads(freshen(body, now_ms=NOW_MS, draw=lambda: "x")) == {
        "entry": [{"id": "735190284461207", "time": 1_900_000_000, "simulation_id": "x"}],
        "ms": 1_900_000_000_012,
        "later": "1900000061",
        "flag": True,
        "number": 2048813370917745,
        "nothing": None,
        "share": 0.5,
    }


def test_bytes_are_escaped_as_meta_escapes() -> None:
    assert as_meta_writes({"text": "Ä☕ 1/2"}) == b'{"text":"\\u00c4\\u2615 1\\/2"}'
    assert b"\\u00c4thiopien" in fresh("messages.text")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("messages", "messages.text"),
        ("messages.image", "messages.image"),
        ("page/messages", "page/messages"),
        ("page/feed", "page/feed"),
        ("feed", "page/feed"),
        ("account_update", "account_update.partner_added"),
        ("message_template_status_update", "message_template_status_update.approved"),
        ("whatsapp_business_account/security", "security"),
    ],
)
def test_a_sample_is_found_by_field_case_and_object(name: str, expected: str) -> None:
    assert find_sample(name).name == expected


def test_a_field_without_sample_is_a_mistake_of_usage() -> None:
    with pytest.raises(UsageError, match=r"no sample for the field 'mesages'.*gateway fields"):
        find_sample("mesages")


def test_samples_of_a_field_start_with_the_one_that_stands_for_it() -> None:
    names = [sample.name for sample in samples_of("messages", object_="whatsapp_business_account")]
    assert names[0] == "messages.text"
    assert len(names) > 20
    assert samples_of("no_such_field") == ()
