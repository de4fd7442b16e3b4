"""JSON of another version reads as far as it fits."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.doctor.reading import mapping, mappings, number, text, texts, time

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=8,
)


@given(JSON)
def test_whatever_stands_there_is_read_or_passed_over(value: Any) -> None:
    content = {"key": value}
    assert isinstance(mapping(value), dict)
    assert all(isinstance(one, dict) for one in mappings(content, "key"))
    assert isinstance(text(content, "key"), str)
    assert all(isinstance(one, str) for one in texts(content, "key"))
    assert isinstance(number(content, "key"), float)
    assert time(content, "key") is None or isinstance(value, str)


def test_times_are_rfc_3339() -> None:
    wanted = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    assert time({"at": "2026-11-20T12:00:00Z"}, "at") == wanted
    assert time({"at": "2026-11-20T13:00:00+01:00"}, "at") == wanted
    assert time({"at": "2026-11-20T12:00:00"}, "at") == wanted
    assert time({}, "at") is None
