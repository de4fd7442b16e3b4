"""One envelope of several: nothing lost, nothing written anew, nothing out of order."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.envelope import Envelope, cut, parse_envelope
from gateway.core.joining import join, joinable_object


def space() -> st.SearchStrategy[str]:
    return st.sampled_from(["", " ", "\n\t", "  \r\n"])


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def entries(draw: st.DrawFn) -> str:
    changes = draw(
        st.lists(
            st.fixed_dictionaries({"field": st.text(max_size=8), "value": values}), min_size=1, max_size=3
        )
    )
    container = draw(st.sampled_from(["changes", "changes", "messaging", "changed_fields", "odd"]))
    entry: object = {"id": draw(st.text(max_size=5)), container: changes}
    if container == "changed_fields":
        entry = {"uid": "1", "changed_fields": ["photos"]}
    separators = (draw(st.sampled_from([",", " , "])), draw(st.sampled_from([":", ": "])))
    return json.dumps(entry, ensure_ascii=draw(st.booleans()), separators=separators)


@st.composite
def tops(draw: st.DrawFn, object_: str) -> str:
    names = ['"object"' + draw(space()) + ":" + draw(space()) + json.dumps(object_)]
    listed = (draw(space()) + "," + draw(space())).join(draw(st.lists(entries(), min_size=1, max_size=3)))
    names.append(
        draw(space()) + '"entry":' + draw(space()) + "[" + draw(space()) + listed + draw(space()) + "]"
    )
    if draw(st.booleans()):
        names.reverse()
    return draw(space()) + "{" + ",".join(names) + draw(space()) + "}" + draw(space())


@st.composite
def bodies(draw: st.DrawFn, object_: str) -> bytes:
    found = draw(st.lists(tops(object_), min_size=1, max_size=2))
    text = found[0] if len(found) == 1 else "[" + ",".join(found) + "]"
    return text.encode("utf-8", "replace")


@given(data=st.data(), object_=st.text(min_size=1, max_size=6).filter(lambda text: text.isprintable()))
def test_joined_changes_are_those_of_all_in_order_and_byte_for_byte(
    data: st.DataObject, object_: str
) -> None:
    raws = data.draw(st.lists(bodies(object_), min_size=1, max_size=4))
    parsed = [parse_envelope(raw) for raw in raws]
    whole: list[bytes] = []
    for raw, envelope in zip(raws, parsed, strict=True):
        assert isinstance(envelope, Envelope)
        assert joinable_object(raw) == object_
        wanted = data.draw(st.sets(st.sampled_from(range(len(envelope.changes))), min_size=1))
        whole.append(cut(raw, wanted))
        assert joinable_object(whole[-1]) == object_, "cutting leaves it joinable"
        assert len(whole[-1]) <= len(raw), "the plan counts the bytes of the whole notification"
    joined = join(whole)
    assert len(joined) <= sum(map(len, whole))
    result = parse_envelope(joined)
    assert isinstance(result, Envelope)
    expected = [change for raw in whole for change in parse_envelope(raw).changes]  # type: ignore[union-attr] # seen
    assert list(result.changes) == expected
    assert entries_of(joined) == [entry for raw in whole for entry in entries_of(raw)]


def entries_of(raw: bytes) -> list[bytes]:
    """Return the raw entries of a body, object by object."""
    found = msgspec.json.decode(raw, type=list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw])
    return [
        bytes(entry)
        for top in (found if isinstance(found, list) else [found])
        for entry in msgspec.json.decode(top["entry"], type=list[msgspec.Raw])
    ]


def test_a_merged_body_is_one_envelope() -> None:
    one = b'{"entry": [ {"id":"1","changes":[{"field":"a","value":1.50}]} ], "object": "page"}'
    two = b'[{"object":"page","entry":[{"id":"2","changes":[{"field":"b","value":"\\u00e9"}]}]}]'
    empty = b'{"object":"page","entry":[ ]}'
    assert join([one, empty, two]) == (
        b'{"object":"page","entry":[{"id":"1","changes":[{"field":"a","value":1.50}]},'
        b'{"id":"2","changes":[{"field":"b","value":"\\u00e9"}]}]}'
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"not JSON",
        b"",
        b"[]",
        b"[1]",
        b'{"entry":[]}',
        b'{"object":"page"}',
        b'{"object":7,"entry":[]}',
        b'{"object":null,"entry":[]}',
        b'{"object":"page","entry":{}}',
        b'{"object":"page","entry":null}',
        b'{"object":"page","entry":[],"more":1}',
        b'[{"object":"page","entry":[]},{"object":"user","entry":[]}]',
        b'{"object":"\\ud83d","entry":[]}',
        b'{"object":"\xff","entry":[]}',
        b'{"object":"page","entry":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    ],
)
def test_what_would_lose_something_goes_alone(raw: bytes) -> None:
    assert joinable_object(raw) is None
    with pytest.raises((ValueError, RecursionError)):
        join([raw, b'{"object":"page","entry":[]}'])


def test_objects_that_differ_are_not_joined() -> None:
    with pytest.raises(ValueError, match="differ"):
        join([b'{"object":"page","entry":[]}', b'{"object":"user","entry":[]}'])
