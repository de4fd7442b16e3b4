"""Retries: when to try again, and when to give up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retry import GiveUp, RetryAt, RetryPolicy, decide_retry, step_ms

DEFAULT = RetryPolicy(
    schedule_seconds=(1, 5, 30, 120, 600, 1800, 3600, 10800, 21600), give_up_after_seconds=7 * 86400
)
T0 = 1_795_330_800_000

policies = st.builds(
    RetryPolicy,
    schedule_seconds=st.lists(st.floats(min_value=0.05, max_value=86400), min_size=1, max_size=12).map(tuple),
    give_up_after_seconds=st.floats(min_value=1, max_value=30 * 86400),
)
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)
attempts = st.integers(min_value=1, max_value=10_000)
asked_for = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(policy=policies, attempt=attempts, jitter=jitters)
def test_a_step_is_spread_by_20_percent_at_most(policy: RetryPolicy, attempt: int, jitter: float) -> None:
    base = policy.schedule_seconds[min(attempt, len(policy.schedule_seconds)) - 1] * 1000
    assert math.floor(base * 0.8) <= step_ms(policy, attempt=attempt, jitter=jitter) <= math.ceil(base * 1.2)


@pytest.mark.parametrize(
    ("attempt", "jitter", "milliseconds"),
    [(1, 0.5, 1000), (1, 0.0, 800), (2, 0.5, 5000), (9, 0.5, 21_600_000), (10, 0.5, 21_600_000)],
)
def test_the_schedule_is_followed_and_its_last_step_repeats(
    attempt: int, jitter: float, milliseconds: int
) -> None:
    assert step_ms(DEFAULT, attempt=attempt, jitter=jitter) == milliseconds


def test_a_step_of_nothing_does_not_spin() -> None:
    policy = RetryPolicy(schedule_seconds=(0.0,), give_up_after_seconds=10)
    assert step_ms(policy, attempt=1, jitter=0.0) == 1


@given(
    policy=policies,
    attempt=attempts,
    elapsed_ms=st.integers(min_value=-40 * 86_400_000, max_value=40 * 86_400_000),
    retry_after_seconds=asked_for,
    jitter=jitters,
)
def test_the_laws_of_a_decision(
    policy: RetryPolicy,
    attempt: int,
    elapsed_ms: int,
    retry_after_seconds: float | None,
    jitter: float,
) -> None:
    """Whatever the clock says: never before the step, never beyond the give-up time, given up only then."""
    now_ms = T0 + elapsed_ms
    give_up_at_ms = T0 + round(policy.give_up_after_seconds * 1000)
    decision = decide_retry(
        policy,
        attempt=attempt,
        started_ms=T0,
        now_ms=now_ms,
        retry_after_seconds=retry_after_seconds,
        jitter=jitter,
    )
    if now_ms >= give_up_at_ms:
        assert decision == GiveUp()
        return
    assert isinstance(decision, RetryAt)
    step = step_ms(policy, attempt=attempt, jitter=jitter)
    longest_ms = max(policy.schedule_seconds) * 1000
    assert now_ms < decision.at_ms <= give_up_at_ms
    assert decision.at_ms >= min(now_ms + step, give_up_at_ms)
    assert decision.at_ms <= now_ms + max(step, math.ceil(longest_ms * 1.2))


def decide(
    *, attempt: int = 1, elapsed_seconds: float = 0, asked: float | None = None, jitter: float = 0.5
) -> RetryAt | GiveUp:
    now_ms = T0 + round(elapsed_seconds * 1000)
    return decide_retry(
        DEFAULT, attempt=attempt, started_ms=T0, now_ms=now_ms, retry_after_seconds=asked, jitter=jitter
    )


def test_retry_after_lengthens_a_step() -> None:
    assert decide(asked=60) == RetryAt(at_ms=T0 + 60_000)


def test_retry_after_never_shortens_a_step() -> None:
    assert decide(attempt=3, asked=1) == RetryAt(at_ms=T0 + 30_000)


def test_retry_after_is_honoured_up_to_the_longest_step() -> None:
    assert decide(asked=10 * 86400) == RetryAt(at_ms=T0 + 21_600_000)


def test_the_last_attempt_falls_on_the_give_up_time() -> None:
    week = 7 * 86400
    assert decide(attempt=30, elapsed_seconds=week - 60) == RetryAt(at_ms=T0 + week * 1000)
    assert decide(attempt=31, elapsed_seconds=week) == GiveUp()
    assert decide(attempt=31, elapsed_seconds=week + 1) == GiveUp()


def test_a_whole_life_ends_with_an_attempt_on_the_give_up_time() -> None:
    """Walk the default schedule to its end: some 30 attempts, the last of them exactly at the end."""
    now_ms, attempt, times = T0, 1, [T0]
    while True:
        decision = decide_retry(
            DEFAULT, attempt=attempt, started_ms=T0, now_ms=now_ms, retry_after_seconds=None, jitter=0.9
        )
        if isinstance(decision, GiveUp):
            break
        now_ms, attempt = decision.at_ms, attempt + 1
        times.append(now_ms)
    assert times[-1] == T0 + 7 * 86_400_000
    assert 25 <= len(times) <= 45
    assert times == sorted(set(times))


def test_a_clock_that_was_set_back_neither_hurries_nor_strands() -> None:
    assert decide(elapsed_seconds=-86400) == RetryAt(at_ms=T0 - 86_400_000 + 1000)
