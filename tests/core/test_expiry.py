"""A certificate that ends is told of 30, 14 and 3 days before, and when it has ended: once each."""

import pytest

from gateway.core.expiry import DAY_MS, ENDED, Reminders, Term, stage_of

NOW_MS = 1_795_000_000_000


def term(days: float, name: str = "server") -> Term:
    return Term(name=name, role="server", subject="CN=x", not_after_ms=NOW_MS + int(days * DAY_MS))


@pytest.mark.parametrize(
    ("days", "stage"),
    [
        (31, None), (30.01, None), (30, 30), (14.5, 30), (14, 14), (3.5, 14), (3, 3), (0.1, 3),
        (0, ENDED), (-9, ENDED),
    ],
)  # fmt: skip
def test_the_stages(days: float, stage: int | None) -> None:
    assert stage_of(term(days).not_after_ms, now_ms=NOW_MS) == stage


def test_each_stage_is_told_once_as_time_goes_by() -> None:
    reminders = Reminders()
    told = [
        (day, reminder.days_left, reminder.ended)
        for day in range(40)
        for _ in range(3)
        for reminder in reminders.due([term(35)], now_ms=NOW_MS + day * DAY_MS)
    ]
    assert told == [(5, 30, False), (21, 14, False), (32, 3, False), (35, 0, True)]


def test_what_stands_close_to_its_end_at_the_start_is_told_at_once() -> None:
    (reminder,) = Reminders().due([term(9), term(90, "anchor")], now_ms=NOW_MS)
    assert (reminder.term.name, reminder.days_left, reminder.ended) == ("server", 9, False)


def test_a_successor_is_told_of_anew() -> None:
    reminders = Reminders()
    assert len(reminders.due([term(2)], now_ms=NOW_MS)) == 1
    assert reminders.due([term(60)], now_ms=NOW_MS) == []
    assert len(reminders.due([term(60)], now_ms=NOW_MS + 40 * DAY_MS)) == 1


def test_two_certificates_of_one_role_are_told_of_apart() -> None:
    reminders = Reminders()
    assert len(reminders.due([term(2, "aa"), term(2, "bb")], now_ms=NOW_MS)) == 2
    assert reminders.due([term(2, "bb")], now_ms=NOW_MS) == []
