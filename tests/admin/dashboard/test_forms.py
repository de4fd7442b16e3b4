"""Payloads as pages show them."""

import json
import tracemalloc

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.dashboard.forms import PAYLOAD_SHOWN_BYTES, readable

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9**9) | st.text('a"\\{}[],: ', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('b"\\,', max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(value=values, blanks=st.sampled_from([None, 3]))
def test_json_is_indented_and_says_the_same(value: object, blanks: int | None) -> None:
    body = json.dumps(value, indent=blanks).encode()
    assert readable(body) == msgspec.json.format(body, indent=2).decode()


def test_what_is_nested_deep_costs_no_more_than_what_is_shown() -> None:
    deep = 500
    body = b"[" * deep + b",".join([b"1"] * 100_000) + b"]" * deep
    tracemalloc.start()
    text = readable(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000, "200 MB, were it indented whole"
    assert text.startswith("[\n  [\n    [\n")
    assert text.endswith(" more bytes")


def test_a_long_payload_says_how_much_is_left() -> None:
    body = json.dumps(["x" * 40] * 10_000).encode()
    text, _, left = readable(body).rpartition("\n\u2026 ")
    assert len(text) == PAYLOAD_SHOWN_BYTES
    more = int("".join(sign for sign in left if sign.isdigit()))
    assert 0 < more < len(body)
    assert readable(b"\x00" * (PAYLOAD_SHOWN_BYTES + 7)).endswith("\u2026 7 more bytes")
