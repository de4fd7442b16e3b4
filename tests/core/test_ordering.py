"""Which deliveries share a key: those about the same user and phone number."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.envelope import Envelope, parse_envelope
from gateway.core.ordering import IDENTIFIERS, order_keys


def change(phone: str | None = "106", **value: Any) -> dict[str, Any]:
    metadata = {} if phone is None else {"metadata": {"phone_number_id": phone}}
    return {"field": "messages", "value": {**metadata, **value}}


def body(*changes: dict[str, Any], entry: Any = "102", items: str = "changes") -> bytes:
    return json.dumps({"object": "x", "entry": [{"id": entry, items: list(changes)}]}).encode()


def share(one: bytes, other: bytes) -> bool:
    return not set(order_keys(one, None)).isdisjoint(order_keys(other, None))


MESSAGE = body(change(messages=[{"from": "4917", "id": "a"}], contacts=[{"wa_id": "4917"}]))


@pytest.mark.parametrize("name", sorted(IDENTIFIERS))
def test_a_user_is_the_same_by_any_name_and_at_any_depth(name: str) -> None:
    assert share(MESSAGE, body(change(statuses=[{"deep": [{"er": {name: "4917"}}]}])))
    assert share(MESSAGE, body(change(statuses=[{name: 4917}])))
    assert not share(MESSAGE, body(change(statuses=[{name: "4918"}])))


def test_another_phone_number_is_another_pair() -> None:
    assert not share(MESSAGE, body(change("107", messages=[{"from": "4917"}])))
    assert not share(MESSAGE, body(change(None, messages=[{"from": "4917"}])))
    assert share(MESSAGE, body(change("107", messages=[{"from": "4917"}]), change(x={"user_id": "4917"})))


def test_who_names_nobody_goes_by_the_entry() -> None:
    nameless = body(change(statuses=[{"id": "wamid"}]))
    assert share(nameless, body(change("another", x=1)))
    assert not share(nameless, body(change(x=1), entry="103"))
    assert not share(nameless, MESSAGE)
    assert share(nameless, body(change(x=1), entry=102))
    assert share(body({"sender": {"id": "7"}}, items="messaging"), nameless)


def test_only_the_changes_of_the_delivery_count() -> None:
    both = body(change(messages=[{"from": "1"}]), change(messages=[{"from": "2"}]))
    assert order_keys(both, (0,)) == order_keys(body(change(messages=[{"from": "1"}])), None)
    assert set(order_keys(both, None)) == {*order_keys(both, (0,)), *order_keys(both, (1,))}


@pytest.mark.parametrize(
    "raw",
    [b"", b"not JSON", b"[]", b"5", b'{"entry":5}', b'{"entry":[[1]]}', b'{"a":' * 9000 + b"1" + b"}" * 9000],
)
def test_whatever_is_stored_has_one_place_in_the_order(raw: bytes) -> None:
    assert order_keys(raw, None) == order_keys(b"not JSON", None)
    assert order_keys(raw, (7,)) == order_keys(b"not JSON", None)


NAMES = [*sorted(IDENTIFIERS), "id", "metadata", "phone_number_id", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*IDENTIFIERS, "id", "metadata", "phone_number_id", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3), JSON)
def test_any_body_that_is_routed_has_keys_and_always_the_same(values: list[Any], entry_id: Any) -> None:
    raw = json.dumps(
        {
            "object": "page",
            "entry": [{"id": entry_id, "changes": [{"field": "f", "value": v} for v in values]}],
        }
    ).encode()
    keys = order_keys(raw, None)
    assert keys
    assert keys == order_keys(raw, None) == tuple(sorted(set(keys)))
    assert all(-(2**63) <= key < 2**63 for key in keys)
    envelope = parse_envelope(raw)
    if isinstance(envelope, Envelope):
        for position, _ in enumerate(envelope.changes):
            assert set(order_keys(raw, (position,))) <= set(keys)
