"""How findings are counted and worded."""

from datetime import UTC, datetime

import pytest

from gateway.doctor.finding import Area, Finding, Level, Report, plural, say_duration, say_milliseconds


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3661, "1 h 1 min"),
        (86400, "1 d"),
        (86460, "1 d"),
        (93600, "1 d 2 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, said: str) -> None:
    assert say_duration(seconds) == said


def test_short_times_and_counts() -> None:
    assert [say_milliseconds(one) for one in (0.00042, 0.31)] == ["0.42 ms", "310 ms"]
    assert [plural(one, "delivery", "deliveries") for one in (1, 2)] == ["1 delivery", "2 deliveries"]


def test_a_report_is_ok_without_problems() -> None:
    def report(*levels: Level) -> Report:
        findings = tuple(Finding(code="x", level=level, area=Area.SPOOL, what="") for level in levels)
        return Report(findings=findings, running=True, at=datetime.now(UTC))

    assert report(Level.OK, Level.NOTE, Level.WARNING).ok
    assert not report(Level.OK, Level.PROBLEM).ok
    assert report(Level.NOTE, Level.NOTE).count(Level.NOTE) == 2
