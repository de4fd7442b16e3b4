"""The words of the report. How it looks as a whole: `test_bench`."""

from typing import Any

from gateway.cli.simulator.bench_report import lines
from gateway.simulator.bench.figures import Figures, Wanted
from gateway.simulator.bench.latencies import Latencies
from gateway.simulator.bench.receiver import Verified
from gateway.simulator.bench.tally import Tally


def told(
    *, verified: Verified | None = None, ended: str = "", interrupted: bool = False, **tally: Any
) -> str:
    latencies = Latencies()
    latencies.record(0.3)
    counted = {"due": 10, "answered": 1, "statuses": {200: 1}, "latency": latencies.buckets, "seconds": 2.0}
    wanted = Wanted(url="https://h/main", rate=5, seconds=2, connections=4, processes=2)
    figures = Figures(
        wanted=wanted,
        tally=Tally(**{**counted, **tally}),
        verified=verified,
        ended=ended,
        interrupted=interrupted,
    )
    written = list(lines(figures))
    assert max(map(len, written)) <= 80
    return "\n".join(written)


def flowing(text: str) -> str:
    """Undo the breaking of lines."""
    return " ".join(text.split())


def test_every_failure_is_told_with_its_number_and_its_meaning() -> None:
    text = told(answered=4, statuses={200: 1, 401: 2, 503: 1}, faults={"no answer in time": 3}, unsent=1)
    assert "answered 401  2: the signature was refused" in text
    assert "answered 503  1: the gateway cannot store" in text
    assert "failed        3: no answer in time" in text
    assert "cut off       2 that were under way at the end" in text
    assert "1 requests were due and never sent" in text


def test_what_never_came_is_called_never() -> None:
    text = told()
    assert "p50 never" in text
    assert "FAIL          median never" in text


def test_why_it_ended_before_its_time_stands_above_the_verdict() -> None:
    assert "ended early: nothing was answered" in told(ended="nothing was answered 200 for 10 s")
    assert "interrupted: the figures are those so far" in told(interrupted=True, ended="x")


def test_a_loss_and_strays_name_the_next_step() -> None:
    verified = Verified(
        expected=3, arrived=2, lost=1, duplicates=4, unanswered=5, strays=6, posts=9, foreign=0
    )
    text = told(verified=verified)
    whole = flowing(text)
    assert "verify        3 changes expected, 2 arrived, 1 lost, 4 duplicates" in text
    assert "gateway targets list shows" in whole
    assert "6 arrived that the routes of this configuration give to others" in whole
    assert "5 arrived though their notification got no 200" in whole
    assert "at least once" in whole


def test_where_nothing_came_at_all_the_target_is_not_known_or_not_reached() -> None:
    verified = Verified(
        expected=3, arrived=0, lost=3, duplicates=0, posts=0, unanswered=0, strays=0, foreign=0
    )
    whole = flowing(told(verified=verified))
    assert "reload it after a change" in whole
    assert "may still be on its way" not in whole


def test_a_run_without_any_answer_has_a_report_too() -> None:
    assert "FAIL" in told(answered=0, statuses={}, latency={})
