"""Meta's own timestamp, wherever it stands, whatever its unit; and bodies that have none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.meta_time import meta_time_ms

MS = 1_795_330_800_000


def whatsapp(value: object, **entry: object) -> bytes:
    change = {"field": "messages", "value": value}
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change], **entry}]}
    ).encode()


@pytest.mark.parametrize(
    ("raw", "ms"),
    [
        pytest.param(whatsapp({"messages": [{"timestamp": "1795330800"}]}), MS, id="message"),
        pytest.param(whatsapp({"statuses": [{"timestamp": "1795330800"}]}), MS, id="status"),
        pytest.param(whatsapp({"message_echoes": [{"timestamp": 1795330800}]}), MS, id="echo, a number"),
        pytest.param(
            whatsapp({"messages": [{"timestamp": "1795330700"}, {"timestamp": "1795330800"}]}),
            MS,
            id="newest",
        ),
        pytest.param(
            whatsapp({"messages": [{"timestamp": "1795330800"}]}, time=1), MS, id="before the entry's"
        ),
        pytest.param(whatsapp({"event": "X"}, time=1795330800), MS, id="entry.time"),
        pytest.param(whatsapp({"messages": "odd"}, time=1795330800), MS, id="entry.time beside oddities"),
        pytest.param(b"[" + whatsapp({"messages": [{"timestamp": "1795330800"}]}) + b"]", MS, id="array"),
        pytest.param(
            json.dumps({"entry": [{"time": 1, "messaging": [{"timestamp": MS}]}]}).encode(),
            MS,
            id="Messenger",
        ),
        pytest.param(whatsapp({}), None, id="none"),
        pytest.param(whatsapp({"messages": [{"timestamp": "soon"}]}), None, id="no number"),
        pytest.param(whatsapp({"messages": [{"timestamp": "nan"}]}), None, id="NaN"),
        pytest.param(whatsapp({"messages": [{"timestamp": "17"}]}), None, id="1970"),
        pytest.param(whatsapp({}, time=10**400), None, id="a number beyond all bounds"),
        pytest.param(b"not JSON", None, id="not JSON"),
        pytest.param(b"7", None, id="no object"),
    ],
)
def test_the_newest_timestamp_is_found(raw: bytes, ms: int | None) -> None:
    assert meta_time_ms(raw) == ms


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["entry", "time", "changes", "value", "messages", "timestamp"]), inner
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_body_makes_it_raise(raw: bytes) -> None:
    found = meta_time_ms(raw)
    assert found is None or found > 0
