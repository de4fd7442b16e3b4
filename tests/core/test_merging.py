"""What is merged with what, and how a group is split."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.merging import Merging, group_key, halves, may_merge, plan_groups


@dataclass(frozen=True, kw_only=True)
class Waiting:
    number: int
    app: str = "main"
    object: str | None = "page"
    lane: int = 1
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


def test_lanes_do_not_mix_either() -> None:
    due = row({"lane": 0}, {"lane": 0}, PLAIN, PLAIN, {"lane": 2})
    assert numbers(plan_groups(due, limit=8, merging=HUNDRED)) == [[0, 1], [2, 3], [4]]


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
