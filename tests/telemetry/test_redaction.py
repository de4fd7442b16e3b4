"""The second line of defence: what must not be printed is not."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.values import Secret
from gateway.telemetry.redaction import MAX_TEXT_CHARACTERS, redact, visible


@dataclass
class Holder:
    """An object of ours that names a secret."""

    secret: Secret


SECRET = Secret(b"hunter2", source="env X")


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("body", b"a message", "[9 bytes]"),
        ("body", bytearray(b"abc"), "[3 bytes]"),
        ("body", memoryview(b"abcd"), "[4 bytes]"),
        ("value", {"a": {"b": [b"xy"]}}, {"a": {"b": ["[2 bytes]"]}}),
        ("verify_token", "abc", "[hidden]"),
        ("Authorization", "Bearer abc", "[hidden]"),
        ("headers", {"Authorization": "Bearer abc"}, {"Authorization": "[hidden]"}),
        ("app_secrets", ["abc"], "[hidden]"),
        ("wa_id", "4915560017342", "[...7342]"),
        ("display_phone_number", "+49 30 901820143", "[...0143]"),
        ("phone_number", "12", "[...]"),
        ("from", ["4915560017342"], ["[...7342]"]),
        ("phone_number_id", "541870239965418", "541870239965418"),
        ("path", Path("/x"), "PosixPath('/x')"),
        ("ok", True, True),
        ("count", 3, 3),
        ("status", None, None),
        ("reasons", {"a"}, ["a"]),
    ],
)
def test_each_kind_of_value_is_shown_as_it_may_be(key: str, value: object, shown: object) -> None:
    assert redact(key, value) == shown


def test_a_secret_is_never_shown_wherever_it_hides() -> None:
    for value in (SECRET, [SECRET], {"x": SECRET}, Holder(SECRET), ValueError(SECRET)):
        assert "hunter2" not in json.dumps(redact("anything", value))


def test_endless_text_is_cut() -> None:
    shown = redact("subject", "x" * 1_000_000)
    assert isinstance(shown, str)
    assert len(shown) < MAX_TEXT_CHARACTERS + 30
    assert shown.endswith(f"[{1_000_000 - MAX_TEXT_CHARACTERS} more]")


SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False)
KEYS = st.text(max_size=5) | st.integers()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(key=st.text(max_size=10), value=VALUES)
def test_whatever_is_logged_can_be_printed_as_json(key: str, value: object) -> None:
    json.dumps(redact(key, value))


@given(text=st.text())
def test_no_text_can_steer_a_terminal_or_begin_a_line(text: str) -> None:
    assert visible(text).isprintable()


def test_ordinary_text_stays_as_it_is() -> None:
    assert visible("CN=Ärzte, O=日本") == "CN=Ärzte, O=日本"
