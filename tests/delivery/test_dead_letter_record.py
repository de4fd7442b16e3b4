"""A dead letter as JSON: to the letter of the contract, and read back with suspicion."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.seal import unseal
from gateway.delivery.dead_letter import MAX_FILE_BYTES
from gateway.delivery.dead_letter_record import DeadLetter, Reason, Summary, decode, encode, summarize
from gateway.errors import DeadLetterError
from gateway.spool.history import AttemptRecord
from tests.delivery.rig import a_letter

KEY = b"k" * 32


def test_the_file_has_the_keys_of_the_contract() -> None:
    file = json.loads(encode(a_letter(), seal_key=KEY))
    integrity = file.pop("integrity")
    assert integrity.startswith("sha256=")
    assert file == {
        "schema": 1,
        "id": "019c1c38a40070008000000000000000-support",
        "notification_id": "019c1c38a40070008000000000000000",
        "app": "main",
        "target": "support",
        "url": "http://support.internal/hook",
        "object": "whatsapp_business_account",
        "fields": ["messages"],
        "kinds": ["message"],
        "waba": "102290129340398",
        "phone_number_id": None,
        "reason": "refused",
        "received_at": "2026-02-02T02:40:00.000Z",
        "died_at": "2026-02-02T02:40:05.001Z",
        "attempts": [
            {
                "at": "2026-02-02T02:40:05.000Z",
                "status": 422,
                "error": "",
                "duration_ms": 3,
                "response_excerpt": "no\u0000 \ufffd",
            }
        ],
        "headers": {"Content-Type": "application/json", "Gateway-App": "main"},
        "body": '{"a": "ä"}',
    }


def test_a_body_that_is_not_text_stands_in_base64() -> None:
    file = json.loads(encode(a_letter(body=b"\xff\x00"), seal_key=KEY))
    assert file["body_base64"] == "/wA="
    assert "body" not in file


@given(
    st.binary(max_size=2000) | st.text(max_size=2000).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_every_body_comes_back_byte_for_byte_under_its_seal(body: bytes) -> None:
    letter = a_letter(body=body)
    again = decode(encode(letter, seal_key=KEY), name="x")
    assert again.body == body
    sealed = unseal([KEY], app=again.app, raw=again.body, integrity=again.integrity, accept_edited=False)
    assert sealed is not None
    assert sealed.raw == body


def test_all_comes_back() -> None:
    letter = a_letter()
    again = decode(encode(letter, seal_key=KEY), name="x")
    assert again == DeadLetter(
        **{name: getattr(letter, name) for name in DeadLetter.__slots__ if name != "integrity"},
        integrity=again.integrity,
    )


def edited(**changes: Any) -> bytes:
    file = json.loads(encode(a_letter(), seal_key=KEY))
    for key, value in changes.items():
        if value is ...:
            del file[key]
        else:
            file[key] = value
    return json.dumps(file).encode()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a dead letter"),
        (b"\xff\xfe", "not a dead letter"),
        (b"[]", "not a dead letter"),
        (b"[" * 10_000, "not a dead letter"),
        (b'{"schema": 1}', "missing required field `id`"),
        (edited(schema=2), "schema"),
        (edited(schema=...), "schema"),
        (edited(id="../../etc/passwd"), "id is not valid"),
        (edited(id="a.json"), "id is not valid"),
        (edited(id=""), "id is not valid"),
        (edited(target="../x"), "target is not valid"),
        (edited(target="_other"), "target is not valid"),
        (edited(notification_id="XYZ"), "notification_id is not valid"),
        (edited(app="a\nb"), "app is not valid"),
        (edited(received_at="yesterday"), "received_at is not a time"),
        (edited(received_at="2026-02-02T02:40:00"), "received_at is not a time"),
        (edited(received_at="0001-01-01T00:00:00+23:59"), "received_at is not a time"),
        (edited(received_at="9999-12-31T23:59:59.9999Z"), "received_at is not a time"),
        (edited(received_at="9999-12-31T23:59:59-05:00"), "received_at is not a time"),
        (edited(died_at="9999-12-31T23:59:59.999-00:01"), "died_at is not a time"),
        (edited(died_at=5), "died_at"),
        (edited(reason="boredom"), "reason"),
        (edited(attempts=[{"at": "x"}]), "attempts"),
        (edited(body=...), "exactly one of body and body_base64"),
        (edited(body_base64="AA=="), "exactly one of body and body_base64"),
        (edited(body=..., body_base64="%%%"), "not base64"),
        (edited(bdy="typo"), "bdy"),
        (edited(fields="messages"), "fields"),
    ],
)
def test_what_is_wrong_is_told_with_the_files_name(content: bytes, complaint: str) -> None:
    with pytest.raises(DeadLetterError) as raised:
        decode(content, name="/dead/x.json")
    assert raised.value.message.startswith("/dead/x.json: ")
    assert complaint in raised.value.message


@given(
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
    | st.from_regex(
        r"(0001|1970|9999)-(01-01|12-31)T(00:00:00|23:59:59\.999[0-9]*)[+-][01][0-9]:59", fullmatch=True
    )
)
def test_every_time_that_is_read_can_be_written(text: str) -> None:
    try:
        letter = decode(edited(received_at=text), name="x")
    except DeadLetterError:
        return
    assert decode(encode(letter, seal_key=b"k" * 32), name="x").received_at_ms == letter.received_at_ms


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with pytest.raises(DeadLetterError):
        decode(content, name="x")


def test_a_lone_surrogate_is_told() -> None:
    with pytest.raises(DeadLetterError):
        decode(edited(body="?").replace(b'"body": "?"', b'"body": "\\ud800"'), name="x")


def test_the_summary_names_what_all_changes_share() -> None:
    body = (
        b'{"object":"whatsapp_business_account","entry":[{"id":"7","changes":['
        b'{"field":"messages","value":{"metadata":{"phone_number_id":"1"},"messages":[]}},'
        b'{"field":"messages","value":{"metadata":{"phone_number_id":"2"},"statuses":[]}}]}]}'
    )
    assert summarize(body) == Summary(
        object="whatsapp_business_account",
        fields=("messages",),
        kinds=("message", "status"),
        waba="7",
        phone_number_id=None,
    )
    nothing = Summary(object=None, fields=(), kinds=(), waba=None, phone_number_id=None)
    assert summarize(b"\x00") == nothing


def test_attempts_keep_their_order_and_numbers() -> None:
    records = tuple(
        AttemptRecord(
            number=n, at_ms=n * 1000, status=None, error=f"e{n}", duration_ms=n, response_excerpt=""
        )
        for n in (1, 2, 3)
    )
    again = decode(encode(a_letter(attempts=records, reason=Reason.GAVE_UP), seal_key=KEY), name="x")
    assert again.attempts == records


def test_a_week_of_attempts_a_second_makes_a_file_that_can_be_read() -> None:
    worst = "\x01" * 4096
    records = tuple(
        AttemptRecord(
            number=number, at_ms=number, status=500, error="", duration_ms=0, response_excerpt=worst
        )
        for number in range(1, 20_001)
    )
    content = encode(a_letter(attempts=records), seal_key=KEY)
    assert len(content) < MAX_FILE_BYTES / 4
    again = decode(content, name="x").attempts
    assert (again[0].at_ms, again[-1].at_ms) == (1, 20_000)
    assert again[-1].response_excerpt == worst
