"""Outcomes: what a target's answer means."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcome import Answer, Delivered, NoAnswer, Refused, Retryable, classify

REFUSE = frozenset({400, 410, 413, 415, 422})
NOW_MS = 1_795_330_800_000


def answer(status: int, retry_after: str | None = None) -> Answer:
    return Answer(status=status, retry_after=retry_after, excerpt="")


def asked(retry_after: str) -> float | None:
    outcome = classify(answer(503, retry_after), refuse_statuses=REFUSE, now_ms=NOW_MS)
    assert isinstance(outcome, Retryable)
    return outcome.retry_after_seconds


@given(status=st.integers(min_value=100, max_value=599))
def test_each_status_has_one_outcome(status: int) -> None:
    outcome = classify(answer(status), refuse_statuses=REFUSE, now_ms=NOW_MS)
    if 200 <= status <= 299:
        assert outcome == Delivered(status=status)
    elif status in REFUSE:
        assert outcome == Refused(status=status)
    else:
        assert outcome == Retryable(status=status, error="", retry_after_seconds=None)


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 408, 429, 500, 502, 503, 504])
def test_redirects_and_what_an_operator_can_mend_are_retried(status: int) -> None:
    outcome = classify(answer(status), refuse_statuses=REFUSE, now_ms=NOW_MS)
    assert isinstance(outcome, Retryable)


def test_2xx_is_delivered_even_if_it_is_on_the_list_of_refusals() -> None:
    """A target that took the delivery must not get it again, nor see it as a dead letter."""
    assert classify(answer(202), refuse_statuses=frozenset({202}), now_ms=NOW_MS) == Delivered(status=202)


def test_no_answer_is_retried_and_says_why() -> None:
    outcome = classify(NoAnswer(error="connection refused"), refuse_statuses=REFUSE, now_ms=NOW_MS)
    assert outcome == Retryable(status=None, error="connection refused", retry_after_seconds=None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("007", 7.0),
        ("999999999", 999_999_999.0),
        ("9" * 5000, 1e9),
        ("0" * 5000 + "5", 5.0),
    ],
)
def test_retry_after_in_seconds(value: str, seconds: float) -> None:
    assert asked(value) == seconds


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/New_York"])
def local_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the machine into a time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("local_time")
def test_retry_after_as_a_date_in_all_three_forms() -> None:
    """RFC 9110, section 5.6.7: senders use the first form, recipients must read all of them."""
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC).replace(microsecond=0)
    later = at.replace(hour=at.hour + 1)
    expected = pytest.approx(3600.0, abs=1)
    assert asked(format_datetime(later, usegmt=True)) == expected
    assert asked(later.strftime("%A, %d-%b-%y %H:%M:%S GMT")) == expected
    assert asked(later.strftime("%a %b %e %H:%M:%S %Y")) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "5 seconds",
        "soon",
        "\u0665",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Fri, 99 Nov 2099 08:49:37 GMT",
        "Fri, 01 Jan 99999 00:00:00 GMT",
        "Fri, 01 Jan 2100 00:00:00 +9999",
        "nan",
        "inf",
    ],
)
def test_nonsense_and_the_past_ask_for_nothing(value: str) -> None:
    assert asked(value) is None


@given(value=st.text())
def test_no_retry_after_makes_it_raise(value: str) -> None:
    seconds = asked(value)
    assert seconds is None or 0 <= seconds <= 1e9


def test_retry_after_means_nothing_beside_a_refusal() -> None:
    assert classify(answer(422, "60"), refuse_statuses=REFUSE, now_ms=NOW_MS) == Refused(status=422)
