"""The usage header, whatever stands in it, and the pace that follows."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graph.usage import (
    OUR_KIND,
    SLOWEST_SECONDS,
    Usage,
    UsageBook,
    pace_seconds,
    read_usage,
    regain_minutes,
    say_minutes,
    say_usage,
)

NUMBERS = st.one_of(
    st.integers(), st.floats(), st.text(), st.none(), st.booleans(), st.lists(st.integers(), max_size=2),
    st.just(10**4000), st.just("1" * 70), st.just("inf"), st.just("nan"), st.just("-5"), st.just("85.5"),
)  # fmt: skip
ENTRIES = st.dictionaries(
    st.sampled_from(
        ["type", "call_count", "total_cputime", "total_time", "estimated_time_to_regain_access", "new_key"]
    ),
    NUMBERS,
)
HEADERS = st.dictionaries(st.text(max_size=80), st.one_of(st.lists(ENTRIES, max_size=4), ENTRIES, NUMBERS))


def usage(business: str = "1", kind: str = OUR_KIND, percent: float = 0.0, minutes: float = 0.0) -> Usage:
    return Usage(business=business, kind=kind, percent=percent, regain_minutes=minutes)


def header(value: Any) -> tuple[Usage, ...]:
    return read_usage([json.dumps(value)])


def test_the_header_that_meta_documents_is_read() -> None:
    entry = {
        "type": OUR_KIND, "call_count": 100, "total_cputime": 12, "total_time": 15,
        "estimated_time_to_regain_access": 17,
    }  # fmt: skip
    assert header({"735190284461207": [entry]}) == (usage("735190284461207", percent=100, minutes=17),)


def test_several_businesses_types_and_lines_are_all_read() -> None:
    first = {"1": [{"type": OUR_KIND, "call_count": 5}, {"type": "pages", "total_time": 90}]}
    read = read_usage([json.dumps(first), json.dumps({"2": [{"type": "x", "total_cputime": 1}]})])
    assert read == (usage(percent=5), usage(kind="pages", percent=90), usage("2", kind="x", percent=1))


def test_of_keys_that_come_twice_the_worst_counts() -> None:
    """A reader that takes the last would not see the block that stands first."""
    text = (
        '{"1": [{"type": "a", "call_count": 99, "call_count": 1, "estimated_time_to_regain_access": 9,'
        ' "estimated_time_to_regain_access": 0}], "1": [{"type": "a", "call_count": 2}]}'
    )
    assert read_usage([text]) == (usage(kind="a", percent=99, minutes=9),)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "7", '"x"', "{}", '{"1": null}', '{"1": [[]]}', '{"1": [7]}', "\x00",
        "[" * 100_000, '{"1":' * 50_000, '{"1": [{"call_count": ' + "9" * 5000 + "}]}", "{" * 70_000,
    ],
)  # fmt: skip
def test_garbage_is_no_usage_and_no_error(text: str) -> None:
    assert read_usage([text]) == ()


@given(HEADERS)
def test_whatever_the_numbers_are_the_bounds_hold(content: dict[str, Any]) -> None:
    for one in header(content):
        assert 0 <= one.percent <= 1_000_000
        assert 0 <= one.regain_minutes <= 1_000_000
        assert len(one.kind) <= 64
        json.dumps(one.plain(), allow_nan=False)


@given(st.lists(st.text(), max_size=4))
def test_no_text_whatever_makes_the_reader_raise(lines: list[str]) -> None:
    read_usage(lines)


def test_an_endless_list_is_cut() -> None:
    many: dict[str, object] = {str(number): {} for number in range(3000)}
    assert len(header(many)) == 50


@given(st.floats(), st.floats())
def test_the_pace_only_ever_slows(one: float, other: float) -> None:
    low, high = sorted((0.0 if one != one else one, 0.0 if other != other else other))
    assert 0 <= pace_seconds(low) <= pace_seconds(high) <= SLOWEST_SECONDS


@pytest.mark.parametrize(("percent", "seconds"), [(0, 0), (80, 0), (81, 0.9), (90, 9), (100, 18), (900, 18)])
def test_the_pace_slows_above_80_percent(percent: float, seconds: float) -> None:
    assert pace_seconds(percent) == pytest.approx(seconds)


def test_a_limit_of_one_account_slows_that_account_alone() -> None:
    book = UsageBook(["1", "2"])
    book.note("1", [usage("1", percent=90)])
    assert book.slowing("1") == (usage("1", percent=90),)
    assert book.slowing("2") == ()


def test_a_limit_of_a_business_slows_all_and_blocks_whose_answer_told_it() -> None:
    book = UsageBook(["1", "2"])
    book.note("1", [usage("77", percent=100, minutes=5)])
    assert book.slowing("2")
    assert book.blocked_minutes("1") == 5
    assert book.blocked_minutes("2") == 0


def test_a_limit_of_another_kind_slows_and_blocks_nothing() -> None:
    book = UsageBook(["1"])
    book.note("1", [usage("1", kind="ads_management", percent=100, minutes=60)])
    assert book.slowing("1")
    assert book.blocked_minutes("1") == 0


def test_a_block_that_is_over_is_forgotten_and_the_rest_is_not() -> None:
    book = UsageBook(["1"])
    book.note("1", [usage("1", percent=100, minutes=5), usage("1", kind="other", percent=85)])
    book.forget_blocks("1")
    assert book.blocked_minutes("1") == 0
    assert book.told_of("1") == (usage("1", kind="other", percent=85),)


def test_what_is_remembered_of_others_is_bounded_and_the_latest() -> None:
    book = UsageBook(["1"])
    for number in range(3000):
        book.note("1", [usage(f"b{number}", percent=81)])
    others = {one.business for one in book.slowing("2")}
    assert len(others) == 1000
    assert "b2999" in others


def test_what_is_told_of_the_account_and_of_our_limit_speaks_first() -> None:
    told = [usage("9", minutes=90), usage("1", kind="x", minutes=50), usage("1", minutes=7)]
    assert regain_minutes(told, "1") == 7
    assert regain_minutes(told[:2], "1") == 50
    assert regain_minutes(told[:1], "1") == 90
    assert regain_minutes([], "1") == 0


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(7, "7 min"), (0.2, "1 min"), (6.1, "7 min"), (119, "119 min"), (120, "2 h"), (125, "2 h 5 min")],
)
def test_a_time_is_said_for_people_and_never_too_short(minutes: float, said: str) -> None:
    assert say_minutes(minutes) == said


def test_usage_is_said_worst_first() -> None:
    assert say_usage([usage(percent=3), usage(kind="", percent=81)]) == (
        f"81 % of an unnamed limit, 3 % of {OUR_KIND}"
    )
