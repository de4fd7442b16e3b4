"""Numbers, spans and ids as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.dashboard import wording

NOW_MS = 1_795_000_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (-3, "0 s"), (59.9, "59 s"), (61, "1 min"), (3600, "1 h"), (3660, "1 h 1 min"),
        (8 * 3600 + 60, "8 h"), (90_000, "1 d 1 h"), (57 * 86_400, "57 d"), (9.1 * 365.25 * 86_400, "9.1 y"),
    ],
)  # fmt: skip
def test_a_span_has_a_second_unit_where_it_says_something(seconds: float, text: str) -> None:
    assert wording.span(seconds) == text


def test_times_are_relative_and_absolute() -> None:
    assert wording.relative(NOW_MS - 12_000, NOW_MS) == "12 s ago"
    assert wording.relative(NOW_MS + 57 * 86_400_000, NOW_MS) == "in 57 d"
    assert wording.relative(NOW_MS + 400, NOW_MS) == "just now"
    assert wording.absolute(NOW_MS) == "2026-11-18 11:06:40 UTC"
    assert wording.clock_time(NOW_MS) == "11:06"
    assert wording.machine_time(NOW_MS) == "2026-11-18T11:06:40Z"
    assert wording.parse_time("2026-11-18T11:06:40.000Z") == NOW_MS
    assert wording.parse_time("2026-11-18T11:06:40") == NOW_MS
    for nonsense in (None, "", "soon", 7):
        assert wording.parse_time(nonsense) is None


@given(st.integers())
def test_no_time_makes_it_stumble(at_ms: int) -> None:
    assert wording.absolute(at_ms).endswith(" UTC")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.004, "<0.01"),
        (0.04, "0.04"),
        (0.4, "0.4"),
        (7.0, "7"),
        (12.4, "12"),
        (18_234, "18\u202f234"),
    ],
)
def test_a_number_has_as_many_digits_as_tell_something(value: float, text: str) -> None:
    assert wording.number(value) == text


def test_rates_sizes_and_times_have_their_unit() -> None:
    assert wording.rate(None) == "\u2013"
    assert wording.rate(0.02) == "1.2/min"
    assert wording.rate(0) == "0/s"
    assert wording.rate(19.4) == "19/s"
    assert wording.latency(0.0046) == "4.6 ms"
    assert wording.latency(1.25) == "1.2 s"
    assert wording.interval(5400) == "1 h 30 min"
    assert wording.interval(0.06) == "60 ms"
    assert wording.interval(-90) == "\u22121 min", "Meta's clock is ahead"
    assert wording.plural(1, "target") == "1 target"
    assert wording.plural(2, "delivery", "deliveries") == "2 deliveries"


@given(st.text(), st.integers(3, 60))
def test_what_is_cut_keeps_both_ends_and_its_length(text: str, length: int) -> None:
    cut = wording.cut(text, length)
    assert len(cut) <= length
    if len(text) > length:
        head, _, tail = cut.rpartition("\u2026") if "\u2026" not in text else (cut[: length // 2], "", "")
        assert text.startswith(head)
        assert text.endswith(tail)
    else:
        assert cut == text
