"""Nights and weekends are silent without being suspicious, and a silence in a busy hour is not."""

from collections.abc import Callable

import pytest

from gateway.core.heard import HOUR_MS, WEEK_HOURS, Heard
from gateway.core.silence import AT_LEAST_MS, DAY_MS, Hearing, Silence, judge_silence, least_of

MONDAY_MS = 20_800 * DAY_MS
"""Some midnight (UTC); the days of the week are counted from it."""
WEEKS = 3


def heard(per_hour: Callable[[int, int], int], *, weeks: int = WEEKS, usual_ms: float = 30_000) -> Heard:
    """Make a history of whole weeks up to MONDAY, and of the one after it: `per_hour` gets day (0 is Monday)
    and hour."""
    first = MONDAY_MS // HOUR_MS - weeks * WEEK_HOURS
    hours = {first + n: per_hour(n // 24 % 7, n % 24) for n in range((weeks + 1) * WEEK_HOURS)}
    return Heard(
        app="main",
        object="whatsapp_business_account",
        field="messages",
        first_ms=first * HOUR_MS - HOUR_MS,
        last_ms=MONDAY_MS,
        received=sum(hours.values()),
        usual_ms=usual_ms,
        hours={hour: number for hour, number in hours.items() if number},
    )


def office(day: int, hour: int) -> int:
    """120 an hour on working days from eight to six, a few at the edges, nothing at night and at weekends."""
    if day >= 5 or not 7 <= hour <= 18:
        return 0
    return 10 if hour in (7, 18) else 120


def judge(known: Heard, *, last: tuple[int, float], now: tuple[int, float]) -> Silence:
    """`last` and `now` are days and hours after MONDAY."""
    last_ms, now_ms = (MONDAY_MS + day * DAY_MS + round(hour * HOUR_MS) for day, hour in (last, now))
    known.last_ms = last_ms
    return judge_silence(known, listening_since_ms=0, now_ms=now_ms)


@pytest.mark.parametrize(
    ("last", "now"),
    [
        pytest.param((0, 18.9), (1, 7.5), id="a night"),
        pytest.param((4, 18.9), (7, 7.5), id="a weekend"),
        pytest.param((0, 7.5), (0, 8.9), id="summer time has moved the morning by an hour"),
        pytest.param((0, 11.0), (0, 11.05), id="three minutes at noon"),
    ],
)
def test_what_was_always_quiet_is_not_suspicious(last: tuple[int, float], now: tuple[int, float]) -> None:
    assert judge(heard(office), last=last, now=now).hearing is Hearing.USUAL


@pytest.mark.parametrize(
    ("last", "now"),
    [
        pytest.param((0, 11.0), (0, 11.25), id="a quarter of an hour at noon"),
        pytest.param((0, 18.9), (1, 10.0), id="a night that does not end"),
        pytest.param((4, 18.9), (7, 10.0), id="a weekend that does not end"),
    ],
)
def test_silence_in_what_was_always_busy_is_suspicious(
    last: tuple[int, float], now: tuple[int, float]
) -> None:
    silence = judge(heard(office), last=last, now=now)
    assert silence.hearing is Hearing.SUSPICIOUS
    assert silence.missed >= 20


def test_one_lean_hour_in_the_weeks_before_takes_the_judgement_back() -> None:
    known = heard(office)
    holiday = MONDAY_MS // HOUR_MS - WEEK_HOURS  # last week's Monday
    known.hours = {hour: n for hour, n in known.hours.items() if not holiday <= hour < holiday + 24}
    assert judge(known, last=(0, 9.0), now=(0, 16.0)).hearing is Hearing.USUAL
    assert judge(known, last=(1, 9.0), now=(1, 16.0)).hearing is Hearing.SUSPICIOUS


def test_of_what_comes_now_and_then_nothing_is_said() -> None:
    known = heard(lambda _, hour: int(hour == 10), usual_ms=DAY_MS)
    assert judge(known, last=(0, 10.0), now=(30, 10.0)).hearing is Hearing.USUAL


def test_a_busy_field_is_not_judged_before_five_minutes() -> None:
    known = heard(lambda _, __: 3_600_000, usual_ms=1)
    known.last_ms = MONDAY_MS
    for silent_ms, hearing in ((AT_LEAST_MS - 1, Hearing.USUAL), (AT_LEAST_MS, Hearing.SUSPICIOUS)):
        found = judge_silence(known, listening_since_ms=0, now_ms=MONDAY_MS + silent_ms)
        assert found.hearing is hearing


def test_silence_begins_when_somebody_listens() -> None:
    known, now_ms = heard(office), MONDAY_MS + 12 * HOUR_MS
    found = judge_silence(known, listening_since_ms=now_ms - 60_000, now_ms=now_ms)
    assert (found.hearing, found.silent_ms) == (Hearing.USUAL, 60_000)


def test_a_clock_that_was_set_back_says_nothing() -> None:
    found = judge_silence(heard(office), listening_since_ms=0, now_ms=MONDAY_MS - HOUR_MS)
    assert (found.hearing, found.silent_ms, found.missed) == (Hearing.USUAL, 0, 0.0)


def young(*, known_ms: int, longest_ms: int, received: int = 1000) -> Heard:
    return Heard(
        app="main",
        object="page",
        field="feed",
        first_ms=MONDAY_MS - known_ms,
        last_ms=MONDAY_MS,
        received=received,
        usual_ms=1000,
        longest_ms=longest_ms,
    )


@pytest.mark.parametrize(
    ("known", "silent_minutes", "hearing"),
    [
        pytest.param(young(known_ms=DAY_MS // 2, longest_ms=60_000), 600, Hearing.LEARNING, id="half a day"),
        pytest.param(
            young(known_ms=2 * DAY_MS, longest_ms=60_000, received=9), 600, Hearing.LEARNING, id="few samples"
        ),
        pytest.param(
            young(known_ms=2 * DAY_MS, longest_ms=9 * HOUR_MS), 6000, Hearing.LEARNING, id="it knows nights"
        ),
        pytest.param(young(known_ms=2 * DAY_MS, longest_ms=60_000), 14, Hearing.USUAL, id="short"),
        pytest.param(young(known_ms=2 * DAY_MS, longest_ms=60_000), 15, Hearing.SUSPICIOUS, id="long"),
        pytest.param(young(known_ms=2 * DAY_MS, longest_ms=600_000), 59, Hearing.USUAL, id="below six times"),
        pytest.param(young(known_ms=2 * DAY_MS, longest_ms=600_000), 60, Hearing.SUSPICIOUS, id="six times"),
    ],
)
def test_in_its_first_week_only_what_never_pauses_is_judged(
    known: Heard, silent_minutes: int, hearing: Hearing
) -> None:
    now_ms = MONDAY_MS + silent_minutes * 60_000
    assert judge_silence(known, listening_since_ms=0, now_ms=now_ms).hearing is hearing


def test_the_leanest_of_known_weeks_and_of_the_hours_beside_counts() -> None:
    hours = {1000 - week * WEEK_HOURS + beside: 50 for week in (1, 2, 3, 4) for beside in (-1, 0, 1)}
    assert least_of(hours, 1000, 0) == 50
    assert least_of(hours | {1000 - 3 * WEEK_HOURS + 1: 7}, 1000, 0) == 7
    assert least_of(hours | {1000 - 3 * WEEK_HOURS + 1: 7}, 1000, 1000 - 2 * WEEK_HOURS - 1) == 50
    assert least_of(hours, 1000, 999) == 0
