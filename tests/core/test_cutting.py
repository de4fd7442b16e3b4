"""Cutting: fewer changes, and every byte of those that stay as Meta wrote it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cutting import cut

RAW = (
    b'{ "vers\\u0069on" : 1.50, "object" : "whatsapp_business_account",\n'
    b' "entry": [\n'
    b'  {"time": 17e8, "changes": [\n'
    b'    {"value": { "t" : "\\u00e4\\/\\ud83d\\ude00" }, "field":"a"} ,\n'
    b'    { "field" : "b", "value" : [1 ,2.0,  -0] }], "id": "1"},\n'
    b'  {"id":"2","changes":[{"field":"c","value":{"a":1,"a":2}}]}\n'
    b" ]\n}\n"
)
A = b'{"value": { "t" : "\\u00e4\\/\\ud83d\\ude00" }, "field":"a"}'
B = b'{ "field" : "b", "value" : [1 ,2.0,  -0] }'
C = b'{"field":"c","value":{"a":1,"a":2}}'


def test_whole_changes_and_all_other_members_stay_raw_and_in_order() -> None:
    top = b'{"version":1.50,"object":"whatsapp_business_account","entry":['
    assert cut(RAW, [0]) == top + b'{"time":17e8,"changes":[' + A + b'],"id":"1"}]}'
    assert cut(RAW, [1]) == top + b'{"time":17e8,"changes":[' + B + b'],"id":"1"}]}'
    assert cut(RAW, [2]) == top + b'{"id":"2","changes":[' + C + b"]}]}"
    assert cut(RAW, [2, 1]) == (
        top + b'{"time":17e8,"changes":[' + B + b'],"id":"1"},{"id":"2","changes":[' + C + b"]}]}"
    )


def test_all_selected_is_the_original_itself() -> None:
    assert cut(RAW, [2, 0, 1]) is RAW


def test_objects_of_an_array_that_become_empty_go() -> None:
    one, two = b'{"entry":[{"changes":[{"field":"a"}]}]}', b'{"entry":[{"changes":[{"field":"b"}]}]}'
    raw = b"[" + one + b", " + two + b"]"
    assert cut(raw, [0]) == b"[" + one + b"]"
    assert cut(raw, [1]) == b"[" + two + b"]"


def test_items_and_changed_fields_are_cut_like_changes() -> None:
    raw = (
        b'{"entry":[{"id":"1","messaging":[{"read":{} },{"x":1}],"changes":[{"field":"a"}]},'
        b'{"changed_fields":["p" ,"q"]}]}'
    )
    assert cut(raw, [0]) == b'{"entry":[{"id":"1","messaging":[{"read":{} }]}]}'
    assert cut(raw, [1, 2]) == b'{"entry":[{"id":"1","messaging":[{"x":1}],"changes":[{"field":"a"}]}]}'
    assert cut(raw, [4]) == b'{"entry":[{"changed_fields":["q"]}]}'


def test_what_is_odd_is_cut_whole() -> None:
    raw = b'{"entry":[5,{"changes":{"a": 1},"messaging":[{}]},{"new":[1, 2]},null]}'
    assert cut(raw, [0]) == b'{"entry":[5]}'
    assert cut(raw, [1]) == b'{"entry":[{"changes":{"a": 1}}]}'
    assert cut(raw, [2]) == b'{"entry":[{"messaging":[{}]}]}'
    assert cut(raw, [3, 4]) == b'{"entry":[{"new":[1, 2]},null]}'


@pytest.mark.parametrize("selection", [[], [3], [-1], [0, 3], [0, 1, 2, 3]])
def test_a_selection_that_does_not_fit_is_an_error_and_not_an_empty_envelope(
    selection: list[int],
) -> None:
    with pytest.raises(ValueError, match="does not fit an envelope of 3 changes"):
        cut(RAW, selection)


@pytest.mark.parametrize("raw", [b"", b"[1]", b"text", b"5", b'{"a":', b"\x00"])
def test_what_is_no_envelope_cannot_be_cut(raw: bytes) -> None:
    with pytest.raises(ValueError, match="only an envelope"):
        cut(raw, [0])


# --- properties, against an oracle that knows nothing of raw bytes ---

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@st.composite
def white(draw: st.DrawFn) -> str:
    return draw(st.sampled_from(["", "", " ", "\n", "\r\n\t", "    "]))


@st.composite
def change_texts(draw: st.DrawFn) -> tuple[str, str]:
    """One change as text, and its value as text."""
    value = json.dumps(draw(json_values), indent=draw(st.sampled_from([None, 2])))
    parts = [
        f'"field"{draw(white())}:{draw(white())}{json.dumps(draw(texts))}',
        f'"value"{draw(white())}:{draw(white())}{value}',
    ]
    if draw(st.booleans()):
        parts.reverse()
    glue = f"{draw(white())},{draw(white())}"
    return "{" + draw(white()) + glue.join(parts) + draw(white()) + "}", value


@st.composite
def envelopes(draw: st.DrawFn) -> tuple[bytes, Sequence[str]]:
    """An envelope as bytes, and the texts of the values of its changes, in order."""
    values: list[str] = []
    tops = []
    for _ in range(draw(st.integers(1, 2))):
        entries = []
        for _ in range(draw(st.integers(1, 3))):
            drawn = draw(st.lists(change_texts(), min_size=1, max_size=3))
            values += [value for _, value in drawn]
            joined = f"{draw(white())},{draw(white())}".join(text for text, _ in drawn)
            entry_id = json.dumps(draw(texts))
            entries.append(f'{{"id":{draw(white())}{entry_id},"changes":[{draw(white())}{joined}]}}')
        tops.append(f'{{"object":"page","x":{draw(st.integers())}, "entry":[{", ".join(entries)}]}}')
    array = len(tops) > 1 or draw(st.booleans())
    text = f"[{','.join(tops)}]" if array else tops[0]
    return text.encode(), values


def pruned(body: Any, wanted: set[int]) -> Any:
    """The same cut, done on decoded values."""
    position = -1
    tops = []
    for top in body if isinstance(body, list) else [body]:
        entries = []
        for entry in top["entry"]:
            kept = []
            for change in entry["changes"]:
                position += 1
                if position in wanted:
                    kept.append(change)
            if kept:
                entries.append(entry | {"changes": kept})
        if entries:
            tops.append(top | {"entry": entries})
    return tops if isinstance(body, list) else tops[0]


@given(drawn=envelopes(), data=st.data())
def test_values_stay_byte_for_byte_and_the_rest_means_the_same(
    drawn: tuple[bytes, Sequence[str]], data: st.DataObject
) -> None:
    raw, values = drawn
    wanted = data.draw(st.sets(st.sampled_from(range(len(values))), min_size=1))
    result = cut(raw, wanted)
    assert json.loads(result) == pruned(json.loads(raw), wanted)
    place = 0
    for position in sorted(wanted):
        place = result.index(values[position].encode(), place) + len(values[position])


def test_each_of_1000_updates_can_be_cut_out() -> None:
    """Meta's largest batch: every hundredth of its updates, alone, with its bytes."""
    path = Path(__file__).parents[1]
    raw = (path / "data/payloads/whatsapp_business_account/batch.1000_updates_one_entry.json").read_bytes()
    changes = json.loads(raw)["entry"][0]["changes"]
    assert len(changes) == 1000
    for position in range(0, 1000, 100):
        result = cut(raw, [position])
        assert json.loads(result)["entry"][0]["changes"] == [changes[position]]
        assert result.count(b"wamid.") == 1
