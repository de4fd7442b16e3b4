"""What is merged, and what comes out: nothing lost, nothing written anew, nothing out of order."""

import json
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.envelope import Envelope, cut, parse_envelope
from gateway.core.merging import Merging, group_key, halves, join, joinable_object, may_merge, plan_groups


@dataclass(frozen=True, kw_only=True)
class Waiting:
    number: int
    app: str = "main"
    object: str | None = "page"
    changes: int = 1
    raw_bytes: int = 100
    attempt: int = 0
    group_key: str | None = None


def numbers(posts: list[list[Waiting]]) -> list[list[int]]:
    return [[one.number for one in post] for post in posts]


def row(*parts: dict[str, object]) -> list[Waiting]:
    return [Waiting(number=number, **part) for number, part in enumerate(parts)]  # type: ignore[arg-type] # by name


PLAIN: dict[str, object] = {}
HUNDRED = Merging(max_changes=100)


def test_what_fits_goes_together_in_order_of_acceptance() -> None:
    due = row({"changes": 40}, {"changes": 60}, {"changes": 1})
    assert numbers(plan_groups(due, limit=8, merging=HUNDRED)) == [[0, 1], [2]]


def test_without_merging_each_goes_alone() -> None:
    assert numbers(plan_groups(row(PLAIN, PLAIN), limit=8, merging=None)) == [[0], [1]]


def test_a_bigger_one_goes_alone_and_nothing_overtakes_it() -> None:
    due = row({"changes": 10}, {"changes": 101}, {"changes": 10}, {"changes": 10})
    assert numbers(plan_groups(due, limit=8, merging=HUNDRED)) == [[0], [1], [2, 3]]
    assert numbers(plan_groups(due, limit=1, merging=HUNDRED)) == [[0]]


def test_what_does_not_fit_closes_the_group_for_what_would() -> None:
    due = row({"changes": 60}, {"changes": 60}, {"changes": 10})
    assert numbers(plan_groups(due, limit=8, merging=HUNDRED)) == [[0], [1, 2]]
    assert numbers(plan_groups(due, limit=1, merging=HUNDRED)) == [[0]]


def test_apps_and_objects_do_not_mix_and_do_not_stand_in_each_others_way() -> None:
    due = row(PLAIN, {"app": "other"}, PLAIN, {"object": "user"}, PLAIN, {"object": "user"})
    assert numbers(plan_groups(due, limit=8, merging=HUNDRED)) == [[0, 2, 4], [1], [3, 5]]
    assert numbers(plan_groups(due, limit=1, merging=HUNDRED)) == [[0, 2, 4]]


@pytest.mark.parametrize("alone", [{"object": None}, {"attempt": 1}], ids=["no object", "attempted"])
def test_what_cannot_be_joined_or_has_been_attempted_goes_alone(alone: dict[str, object]) -> None:
    assert numbers(plan_groups(row(PLAIN, alone, alone, PLAIN), limit=8, merging=HUNDRED)) == [
        [0, 3],
        [1],
        [2],
    ]


def test_a_group_that_has_gone_out_takes_nobody_in() -> None:
    old = {"attempt": 1, "group_key": "a+1"}
    due = row(PLAIN, old, PLAIN, old, {"attempt": 1, "group_key": "b+1"})
    assert numbers(plan_groups(due, limit=8, merging=HUNDRED)) == [[0, 2], [1, 3], [4]]
    assert numbers(plan_groups(due, limit=8, merging=None)) == [[0], [1, 3], [2], [4]]
    assert numbers(plan_groups(due, limit=1, merging=None)) == [[0]]


def waiting(number: int) -> st.SearchStrategy[Waiting]:
    return st.builds(
        Waiting,
        number=st.just(number),
        app=st.sampled_from(["one", "two"]),
        object=st.sampled_from(["page", "user", None]),
        changes=st.integers(1, 12),
        raw_bytes=st.integers(1, 1200),
        attempt=st.sampled_from([0, 0, 0, 1]),
    )


@given(
    due=st.integers(0, 30).flatmap(lambda count: st.tuples(*(waiting(number) for number in range(count)))),
    limit=st.integers(0, 12),
    max_changes=st.integers(2, 20),
)
def test_a_plan_keeps_every_rule(due: tuple[Waiting, ...], limit: int, max_changes: int) -> None:
    merging = Merging(max_changes=max_changes, max_bytes=1000)
    posts = plan_groups(due, limit=limit, merging=merging)
    taken = [one.number for post in posts for one in post]
    assert len(set(taken)) == len(taken)
    assert len(posts) <= limit
    assert [post[0].number for post in posts] == sorted(post[0].number for post in posts)
    for post in posts:
        assert [one.number for one in post] == sorted(one.number for one in post)
        assert len({(one.app, one.object) for one in post}) == 1
        if len(post) > 1:
            assert sum(one.changes for one in post) <= max_changes
            assert sum(one.raw_bytes for one in post) <= 1000
            assert all(may_merge(one, merging) for one in post)
    # in order of acceptance: of one app and object, what was never attempted goes in runs without a gap
    for app in ("one", "two"):
        for object_ in ("page", "user"):
            kin = [one.number for one in due if (one.app, one.object, one.attempt) == (app, object_, 0)]
            runs = [number for post in posts for number in (one.number for one in post) if number in kin]
            assert runs == kin[: len(runs)]
    # a lone one never waits: while there is room for another POST, nothing is left behind
    if len(posts) < limit:
        assert sorted(taken) == [one.number for one in due]


@given(count=st.integers(2, 200))
def test_halving_ends_with_singles_and_never_meets_a_key_again(count: int) -> None:
    groups, keys = [list(range(count))], set[str]()
    while groups:
        group = groups.pop()
        if len(group) == 1:
            continue
        key = group_key(str(group[0]), len(group))
        assert key not in keys
        keys.add(key)
        first, second = halves(group)
        assert [*first, *second] == group
        assert 0 <= len(first) - len(second) <= 1
        groups += [list(first), list(second)]


# -- joining


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
