"""How many lines a kind of event may write."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.line_budget import BURST_LINES, LineBudget


def test_a_burst_then_one_at_a_time_with_the_number_left_out() -> None:
    budget = LineBudget(lines_per_second=0.5)
    assert [budget.take(1000.0) for _ in range(BURST_LINES)] == [0] * BURST_LINES
    assert [budget.take(1000.5) for _ in range(3)] == [None] * 3
    assert budget.take(1002.0) == 3
    assert budget.take(1002.0) is None
    assert budget.take(1e9) == 1


@given(steps=st.lists(st.floats(-5, 5), max_size=200), rate=st.floats(0.01, 10))
def test_no_more_lines_than_burst_and_rate_allow_and_none_uncounted(steps: list[float], rate: float) -> None:
    budget = LineBudget(lines_per_second=rate)
    now, earned, told, left_out = 0.0, 0.0, 0, 0
    for step in steps:
        now += step
        earned += max(0.0, step) * rate
        suppressed = budget.take(now)
        if suppressed is not None:
            told += 1
            left_out += suppressed
    assert told <= BURST_LINES + earned + 1e-6
    assert told + left_out <= len(steps)
