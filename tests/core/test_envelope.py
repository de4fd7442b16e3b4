"""Envelopes: what counts as a change, and that no bytes make the parser raise or a change vanish."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.core import patient_reader, typed_reader
from gateway.core.anatomy import MAX_PIECES
from gateway.core.change import Change, Kind
from gateway.core.envelope import MAX_DEPTH, Envelope, Unparseable, cut, parse_envelope
from gateway.core.patient_reader import read_patiently
from gateway.core.typed_reader import read_typed


def changes_of(raw: bytes) -> tuple[Change, ...]:
    envelope = parse_envelope(raw)
    assert isinstance(envelope, Envelope), envelope
    return envelope.changes


def body(**value: object) -> bytes:
    """A notification of one `messages` change with this value."""
    return whatsapp({"field": "messages", "value": value})


def whatsapp(*changes: object) -> bytes:
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "102", "changes": changes}]}
    ).encode()


# --- too many ---

HEAD = b'{"object":"page","entry":['


def filled(before: bytes, piece: bytes, after: bytes, pieces: int) -> bytes:
    return before + b",".join([piece] * pieces) + after


@pytest.mark.parametrize(
    ("before", "piece", "after", "others"),
    [
        (HEAD + b'{"changes":[', b"{}", b"]}]}", 1),
        (HEAD + b'{"changes":[', b'{"field":"messages"}', b"]}]}", 1),
        (HEAD + b'{"changes":[', b"1", b"]}]}", 1),
        (HEAD + b'{"changes":[1],"messaging":[', b"{}", b"]}]}", 2),
        (HEAD + b'{"changes":[{"value":"\\ud83d"},', b"1", b"]}]}", 2),
        (HEAD + b'{"changed_fields":[', b'"a"', b"]}]}", 1),
        (HEAD, b"{}", b"]}", 0),
        (HEAD, b"1", b"]}", 0),
        (b"[", b"{}", b"]", 0),
    ],
)
def test_a_multiple_of_what_meta_sends_is_no_envelope(
    before: bytes, piece: bytes, after: bytes, others: int
) -> None:
    assert isinstance(parse_envelope(filled(before, piece, after, MAX_PIECES - others)), Envelope)
    raw = filled(before, piece, after, MAX_PIECES - others + 1)
    assert parse_envelope(raw) == Unparseable(detail="too many changes")
    with pytest.raises(ValueError):
        cut(raw, [0])


@pytest.mark.parametrize(
    "piece", [b'{"changes":[{}]}', b'{"changes":[{"field":"a"}],"x":1}', b'{"messaging":[1]}']
)
def test_pieces_count_together_and_alike_for_both_readers_and_the_cut(piece: bytes) -> None:
    """What was read can be cut: else it would be a dead letter only after it was accepted."""
    most = filled(HEAD, piece, b"]}", MAX_PIECES // 2)
    assert len(changes_of(most)) == MAX_PIECES // 2
    assert cut(most, [1]) == filled(HEAD, piece, b"]}", 1)
    more = filled(HEAD, piece, b"]}", MAX_PIECES // 2 + 1)
    assert isinstance(parse_envelope(more), Unparseable)
    in_an_array = b"[" + most + b"]"
    assert isinstance(parse_envelope(in_an_array), Unparseable)


def test_what_is_too_many_is_seen_before_anything_is_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: object, **__: object) -> Change:
        raise AssertionError

    for module in (patient_reader, typed_reader):
        monkeypatch.setattr(module, "_change" if module is typed_reader else "_of_unit", made)
    for piece in (b"{}", b"1"):
        raw = filled(HEAD + b'{"changes":[', piece, b"]}]}", MAX_PIECES)
        assert parse_envelope(raw) == Unparseable(detail="too many changes")


# --- the usual ---


def test_everything_that_routing_looks_at_is_read() -> None:
    raw = body(
        messaging_product="whatsapp",
        metadata={"display_phone_number": "4930901820143", "phone_number_id": "541870239965418"},
        messages=[{"id": "wamid.x"}],
    )
    assert changes_of(raw) == (
        Change(
            object="whatsapp_business_account",
            field="messages",
            kinds=frozenset({Kind.MESSAGE}),
            entry_id="102",
            phone_number_id="541870239965418",
            display_phone_number="4930901820143",
        ),
    )


@pytest.mark.parametrize(
    ("keys", "kinds"),
    [
        (["messages"], {"message"}),
        (["statuses"], {"status"}),
        (["errors"], {"error"}),
        (["messages", "statuses"], {"message", "status"}),
        (["messages", "errors"], {"message"}),
        (["statuses", "errors"], {"status"}),
        (["messages", "statuses", "errors"], {"message", "status"}),
        (["contacts"], {"other"}),
        ([], {"other"}),
    ],
)
def test_the_kind_is_read_from_the_keys_of_the_value(keys: list[str], kinds: set[str]) -> None:
    (change,) = changes_of(body(**{key: [] for key in keys}))
    assert change.kinds == kinds


def test_whatsapp_s_standby_keeps_its_items_one_level_deeper() -> None:
    standby = {"field": "standby", "value": {"standby": {"statuses": []}}}
    other = {"field": "messages", "value": {"standby": {"statuses": []}}}
    assert [change.kinds for change in changes_of(whatsapp(standby, other))] == [
        {Kind.STATUS},
        {Kind.OTHER},
    ]


def test_the_display_number_of_account_level_fields_stands_in_the_value_itself() -> None:
    (change,) = changes_of(body(display_phone_number="49"))
    assert change.display_phone_number == "49"
    (change,) = changes_of(body(display_phone_number="49", metadata={"display_phone_number": "30"}))
    assert change.display_phone_number == "30"


def test_an_array_of_objects_is_read_through() -> None:
    one, two = whatsapp({"field": "a"}), whatsapp({"field": "b"}, {"field": "c"})
    assert [change.field for change in changes_of(b"[" + one + b"," + two + b"]")] == ["a", "b", "c"]


def test_ids_that_are_numbers_keep_their_digits() -> None:
    raw = b'{"object":"page","entry":[{"id":10220000000000000017123456789,"changes":[{"field":"a"}]}]}'
    assert changes_of(raw)[0].entry_id == "10220000000000000017123456789"


# --- Messenger and Instagram ---


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"message": {"mid": "m"}}, "messages"),
        ({"message": {"mid": "m", "is_echo": True}}, "message_echoes"),
        ({"message": {"mid": "m", "is_echo": False}}, "messages"),
        ({"message": {"mid": "m", "is_echo": "true"}}, "messages"),
        ({"message": None}, "messages"),
        ({"postback": {}}, "messaging_postbacks"),
        ({"delivery": {}}, "message_deliveries"),
        ({"read": {}}, "message_reads"),
        ({"reaction": {}}, "message_reactions"),
        ({"invented_in_2027": {}}, "messaging"),
        ({"sender": {"id": "1"}}, "messaging"),
        ({"postback": {}, "message": {}}, "messages"),
    ],
)
@pytest.mark.parametrize("object_", ["page", "instagram"])
def test_items_of_messaging_have_meta_s_subscription_names(
    object_: str, item: dict[str, object], field: str
) -> None:
    raw = json.dumps({"object": object_, "entry": [{"id": "9", "messaging": [item]}]}).encode()
    (change,) = changes_of(raw)
    assert (change.object, change.field, change.entry_id) == (object_, field, "9")


def test_items_of_standby_are_standby_whatever_they_hold() -> None:
    raw = b'{"object":"page","entry":[{"id":"9","standby":[{"message":{}},{"read":{}}]}]}'
    assert [change.field for change in changes_of(raw)] == ["standby", "standby"]


def test_changed_fields_are_changes_without_a_value() -> None:
    raw = b'{"object":"user","entry":[{"id":"9","changed_fields":["photos","em\\u0061il"]}]}'
    other = frozenset({Kind.OTHER})
    assert [(change.field, change.kinds) for change in changes_of(raw)] == [
        ("photos", other),
        ("email", other),
    ]


def test_changes_stand_in_the_order_of_the_bytes() -> None:
    raw = (
        b'{"object":"page","entry":[{"messaging":[{"read":{}}],"changes":[{"field":"feed"}],'
        b'"standby":[{}, {"x":1}]},{"changes":[{"field":"mention"}],"changed_fields":["about"]}]}'
    )
    fields = [change.field for change in changes_of(raw)]
    assert fields == ["message_reads", "feed", "", "standby", "mention", "about"]


# --- the odd: nothing vanishes ---


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        pytest.param('{"object":"x","entry":{"id":"1"}}', [""], id="entry is an object"),
        pytest.param('{"object":"x","entry":5}', [""], id="entry is a number"),
        pytest.param('{"entry":[5,"x",true,[]]}', ["", "", "", ""], id="entries are no objects"),
        pytest.param('{"entry":[null]}', [""], id="an entry is null"),
        pytest.param('{"entry":[{"changes":{"field":"a"}}]}', [""], id="changes is an object"),
        pytest.param('{"entry":[{"changes":"a"}]}', [""], id="changes is a string"),
        pytest.param('{"entry":[{"changes":[1,{"field":"a"},[]]}]}', ["", "a", ""], id="odd changes"),
        pytest.param('{"entry":[{"changes":[{"value":{}}]}]}', [""], id="no field"),
        pytest.param('{"entry":[{"changes":[{"field":7}]}]}', [""], id="field is a number"),
        pytest.param('{"entry":[{"changes":[{"field":null}]}]}', [""], id="field is null"),
        pytest.param('{"entry":[{"changes":[{"field":"a","value":3}]}]}', ["a"], id="value is a number"),
        pytest.param('{"entry":[{"messaging":[3]}]}', [""], id="an item is a number"),
        pytest.param('{"entry":[{"changed_fields":[{"a":1},"b"]}]}', ["", "b"], id="odd changed_fields"),
        pytest.param('{"entry":[{"id":"1","invented":[{}]}]}', [""], id="a container nobody knows"),
        pytest.param('{"entry":[{"changes":[],"invented":{}}]}', [""], id="beside empty changes"),
        pytest.param('[{"object":"x","data":[]},{}]', [""], id="an array with content nobody knows"),
        pytest.param('[{"object":"x","entry":3},{"entry":null}]', [""], id="an array with an odd entry"),
    ],
)
def test_what_is_odd_counts_as_a_change_without_a_field(raw: str, fields: list[str]) -> None:
    assert [change.field for change in changes_of(raw.encode())] == fields


@pytest.mark.parametrize(
    "raw",
    [
        "{}",
        "[]",
        "[{}, {}]",
        ' { "object" : "page" } ',
        '{"entry":null}',
        '{"entry":[]}',
        '{"entry":[{}]}',
        '{"entry":[{"id":"0","time":1795330800}]}',
        '{"entry":[{"id":"0","changes":[]}]}',
        '{"entry":[{"id":"0","changes":null}]}',
        '{"entry":[{"id":"0","changes":[],"messaging":[]}]}',
        '{"success":true}',
        '{"data":[{"id":"1"}]}',
    ],
)
def test_a_body_without_changes_has_none(raw: str) -> None:
    assert parse_envelope(raw.encode()) == Envelope(changes=())


@pytest.mark.parametrize(
    "odd", ["5", "true", "[]", "{}", '[{"a":1}]', '{"a":1}', "1.5", "1e400", "null", '""', "-0", "9" * 50]
)
@pytest.mark.parametrize(
    "template",
    [
        '{"object":%s,"entry":[{"changes":[{"field":"a"}]}]}',
        '{"entry":[{"id":%s,"changes":[{"field":"a"}]}]}',
        '{"entry":[{"changes":[{"field":"a","value":{"metadata":%s}}]}]}',
        '{"entry":[{"changes":[{"field":"a","value":{"metadata":{"phone_number_id":%s}}}]}]}',
        '{"entry":[{"changes":[{"field":"a","value":{"display_phone_number":%s}}]}]}',
        '{"entry":[{"changes":[{"field":"a","value":{"messages":%s}}]}]}',
        '{"entry":[{"changes":[{"field":"a","value":%s}]}]}',
        '{"entry":[{"changes":[{"field":"a"}],"messaging":%s}]}',
    ],
)
def test_an_odd_type_anywhere_loses_no_change(template: str, odd: str) -> None:
    fields = [change.field for change in changes_of((template % odd).encode())]
    assert fields[0] == "a"


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"", "not JSON"),
        (b" \n", "not JSON"),
        (b"\x00", "not JSON"),
        (b"hello", "not JSON"),
        (b"{", "not JSON"),
        (b'{"entry":[}', "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{}\x00", "not JSON"),
        (b"{'entry': []}", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":"\x00"}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"1", "no object"),
        (b"null", "no object"),
        (b'"text"', "no object"),
        (b"[1]", "no object"),
        (b"[{},[]]", "no object"),
    ],
)
def test_what_is_no_envelope_is_unparseable(raw: bytes, detail: str) -> None:
    envelope = parse_envelope(raw)
    assert isinstance(envelope, Unparseable)
    assert detail in envelope.detail


def test_the_detail_tells_nothing_of_the_content() -> None:
    envelope = parse_envelope(b'{"entry":"secret text')
    assert isinstance(envelope, Unparseable)
    assert "secret" not in envelope.detail


# --- depth ---


def nested(levels: int, value: str = "1") -> bytes:
    opened, closed = '{"a":[' * (levels // 2), "]}" * (levels // 2)
    return whatsapp({"field": "a", "value": "VALUE"}).replace(b'"VALUE"', (opened + value + closed).encode())


def test_depth_10_000_is_unparseable() -> None:
    assert parse_envelope(nested(10_000)) == Unparseable(detail="nested too deeply")
    assert isinstance(parse_envelope(b"[" * 10_000), Unparseable)


def test_a_decent_depth_is_read() -> None:
    assert len(changes_of(nested(MAX_DEPTH - 10))) == 1


def test_brackets_in_texts_are_no_depth() -> None:
    text = json.dumps('"[{' * 2000 + '\\"]}' * 2000)
    assert len(changes_of(body(text="T").replace(b'"T"', text.encode()))) == 1


def test_many_changes_are_no_depth() -> None:
    assert len(changes_of(whatsapp(*[{"field": "a", "value": {"b": [[]]}}] * 1000))) == 1000


@pytest.mark.parametrize("levels", range(100, 1200, 50))
def test_what_could_be_read_can_be_cut_from_a_deep_stack(levels: int) -> None:
    """msgspec recurses on the stack it is called on: what it just reads could not be cut deeper down."""
    raw = nested(levels).removesuffix(b"]}]}") + b',{"field":"b"}]}]}'
    if isinstance(parse_envelope(raw), Envelope):
        frames = sys.getrecursionlimit() // 3
        assert from_a_deep_stack(frames, lambda: cut(raw, [1])) == whatsapp({"field": "b"}).replace(b" ", b"")


def from_a_deep_stack(frames: int, call: Callable[[], bytes]) -> bytes:
    return call() if frames == 0 else from_a_deep_stack(frames - 1, call)


# --- duplicates, sizes ---


def test_of_a_repeated_name_the_last_one_counts() -> None:
    raw = (
        b'{"object":"x","object":"page","entry":[],"entry":[{"id":"1","id":"2",'
        b'"changes":[{"field":"a","field":"b","value":{"messages":[]},"value":{"statuses":[]}}]}]}'
    )
    (change,) = changes_of(raw)
    assert (change.object, change.entry_id, change.field) == ("page", "2", "b")
    assert change.kinds == {Kind.STATUS}
    assert read_patiently(raw) == (change,)


def test_a_body_of_3_mib_is_read() -> None:
    raw = body(messages=["x" * (3 << 20)])
    assert changes_of(raw)[0].kinds == {Kind.MESSAGE}


# --- properties ---

NAMES = [
    *("object", "entry", "id", "changes", "field", "value", "metadata", "phone_number_id"),
    *("display_phone_number", "messages", "statuses", "errors", "standby", "messaging", "message"),
    *("is_echo", "changed_fields", "postback", "x"),
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.sampled_from(NAMES),
)
names = st.sampled_from(NAMES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


def one_of_these_or_anything(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, usual, anything)


def members(
    known: Mapping[str, st.SearchStrategy[Any]],
    *,
    always: Mapping[str, st.SearchStrategy[Any]] | None = None,
    others: st.SearchStrategy[str] = names,
) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of the known members, in any order, and perhaps with others."""
    return st.tuples(
        st.fixed_dictionaries(dict(always or {}), optional=dict(known)),
        st.dictionaries(others, anything, max_size=2),
        st.randoms(use_true_random=False),
    ).map(_shuffled)


def _shuffled(drawn: tuple[dict[str, Any], dict[str, Any], Any]) -> dict[str, Any]:
    usual, others, random = drawn
    items = list((others | usual).items())
    random.shuffle(items)
    return dict(items)


metadata = members({"phone_number_id": scalars, "display_phone_number": scalars})
items = members({"message": members({"is_echo": scalars}), "postback": anything, "read": anything})
values = members(
    {
        "metadata": one_of_these_or_anything(metadata),
        "display_phone_number": scalars,
        "messages": anything,
        "statuses": anything,
        "errors": anything,
        "standby": one_of_these_or_anything(members({"messages": anything, "statuses": anything})),
    }
)
fields = st.sampled_from(["messages", "standby", "a"]) | scalars
changes = members({"field": fields, "value": one_of_these_or_anything(values)})
entries = members(
    {
        "id": scalars,
        "changes": one_of_these_or_anything(st.lists(one_of_these_or_anything(changes), max_size=4)),
        "messaging": one_of_these_or_anything(st.lists(items, max_size=3)),
        "standby": st.lists(items, max_size=2),
        "changed_fields": st.lists(scalars, max_size=3),
    }
)
tops = members(
    {
        "object": st.sampled_from(["page", "whatsapp_business_account"]) | scalars,
        "entry": one_of_these_or_anything(st.lists(one_of_these_or_anything(entries), max_size=3)),
    }
)
any_bodies = st.one_of(tops, tops, st.lists(one_of_these_or_anything(tops), max_size=3), anything)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
unknown = st.text(st.sampled_from("äxyz\\"), max_size=3)
usual_values = members(
    {
        "metadata": members({"phone_number_id": texts, "display_phone_number": texts}, others=unknown),
        "display_phone_number": texts,
        "messages": anything,
        "statuses": anything,
        "errors": anything,
        "standby": members({"messages": anything, "statuses": anything}),
    },
    others=unknown,
)
usual_changes = members(
    {"field": st.sampled_from(["messages", "standby"]) | texts, "value": usual_values}, others=unknown
)
usual_entries = members(
    {"id": texts}, always={"changes": st.lists(usual_changes, min_size=1, max_size=4)}, others=unknown
)
usual_tops = members(
    {"object": texts},
    always={"entry": st.lists(usual_entries, min_size=1, max_size=3)},
    others=unknown,
)
usual_bodies = st.one_of(usual_tops, st.lists(usual_tops, min_size=1, max_size=3))


@st.composite
def written(draw: st.DrawFn, bodies: st.SearchStrategy[Any]) -> bytes:
    """A body, written in any of the ways in which JSON can be written."""
    indent = draw(st.sampled_from([None, 0, 2, "\t"]))
    separators = draw(st.sampled_from([None, (",", ":"), (" ,\r\n", " : ")]))
    text = json.dumps(draw(bodies), ensure_ascii=draw(st.booleans()), indent=indent, separators=separators)
    return (draw(st.sampled_from(["", " ", "\n\t"])) + text + draw(st.sampled_from(["", "\n"]))).encode()


@given(raw=st.binary(max_size=200))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    assert isinstance(parse_envelope(raw), Envelope | Unparseable)


@given(raw=written(usual_bodies))
def test_the_two_readers_agree_on_what_is_usual(raw: bytes) -> None:
    assert read_typed(raw) == read_patiently(raw)


@settings(max_examples=300)
@given(raw=written(any_bodies))
def test_the_typed_reader_agrees_or_leaves_it_to_the_patient_one(raw: bytes) -> None:
    patient = read_patiently(raw)
    try:
        typed = read_typed(raw)
    except msgspec.ValidationError:
        return
    assert typed == patient


@settings(max_examples=150)
@given(raw=written(usual_bodies | any_bodies), data=st.data())
def test_a_cut_holds_the_selected_changes_and_no_others(raw: bytes, data: st.DataObject) -> None:
    envelope = parse_envelope(raw)
    assume(isinstance(envelope, Envelope) and envelope.changes)
    assert isinstance(envelope, Envelope)
    positions = range(len(envelope.changes))
    selection = data.draw(st.sets(st.sampled_from(positions), min_size=1))
    result = cut(raw, selection)
    assert changes_of(result) == tuple(envelope.changes[position] for position in sorted(selection))
    assert (result is raw) == (len(selection) == len(positions))
