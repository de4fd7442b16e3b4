"""Pauses: what goes on when, and clocks that stand still."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.core import pausing
from gateway.core.pausing import Pause, Pauses


def test_a_pause_goes_on_until_its_end_or_until_resumed() -> None:
    pauses = pausing.paused((), now_ms=100, until_ms=200, reason="deploy")
    assert pausing.current(pauses, 100) == pausing.current(pauses, 199) == pauses[0]
    assert pausing.current(pauses, 200) is None
    ended = pausing.resumed(pauses, now_ms=150, rate_per_second=10.0)
    assert pausing.current(ended, 150) is None
    assert pausing.rate_after(ended) == 10.0
    assert pausing.rate_after(pausing.caught_up(ended)) is None


def test_a_clock_that_was_set_back_ends_no_pause() -> None:
    pauses = pausing.paused((), now_ms=100, until_ms=200, reason="deploy")
    assert pausing.current(pauses, 50) == pauses[0]
    assert pausing.current(pausing.resumed(pauses, now_ms=50, rate_per_second=None), 50) is None
    assert pausing.current(pausing.resumed((), now_ms=50, rate_per_second=1.0), 40) is None
    ended = pausing.resumed(pauses, now_ms=50, rate_per_second=None)
    again = pausing.paused(ended, now_ms=50, until_ms=None, reason="")
    assert pausing.current(again, 50) is not None


def test_a_second_pause_changes_the_first() -> None:
    pauses = pausing.paused((), now_ms=100, until_ms=200, reason="deploy")
    longer = pausing.paused(pauses, now_ms=150, until_ms=None, reason="broken")
    assert longer == (Pause(from_ms=100, until_ms=None, reason="broken"),)
    another = pausing.paused(pauses, now_ms=300, until_ms=None, reason="again")
    assert [pause.from_ms for pause in another] == [100, 300]


def test_resuming_what_is_not_paused_changes_no_time() -> None:
    assert pausing.resumed((), now_ms=5, rate_per_second=None) == ()
    over = pausing.paused((), now_ms=100, until_ms=200, reason="")
    assert pausing.resumed(over, now_ms=300, rate_per_second=None) == over
    assert pausing.rate_after(pausing.resumed((), now_ms=5, rate_per_second=2.0)) == 2.0


def test_a_clock_stands_still_for_what_it_has_seen_of_a_pause() -> None:
    pauses: Pauses = (Pause(from_ms=100, until_ms=200), Pause(from_ms=300, until_ms=None))
    for started_ms, now_ms, expected in (
        (0, 50, 0), (0, 150, 50), (0, 250, 100), (150, 250, 50), (0, 350, 150), (350, 400, 50), (220, 280, 0),
    ):  # fmt: skip
        assert pausing.standstill_ms(pauses, started_ms=started_ms, now_ms=now_ms) == expected


def test_pauses_that_no_clock_has_seen_are_forgotten() -> None:
    pauses: Pauses = (Pause(from_ms=100, until_ms=200), Pause(from_ms=300, until_ms=None))
    assert pausing.kept(pauses, now_ms=310, oldest_clock_ms=199) == pauses
    assert pausing.kept(pauses, now_ms=310, oldest_clock_ms=200) == pauses[1:]
    assert pausing.kept(pauses[:1], now_ms=200, oldest_clock_ms=None) == ()
    assert pausing.kept(pauses[:1], now_ms=199, oldest_clock_ms=None) == pauses[:1]
    paced = pausing.resumed(pauses, now_ms=400, rate_per_second=1.0)
    assert pausing.kept(paced, now_ms=500, oldest_clock_ms=None) == paced[1:]


@st.composite
def some_pauses(draw: st.DrawFn) -> Pauses:
    pauses: Pauses = ()
    now_ms = 0
    for step in draw(st.lists(st.tuples(st.integers(1, 30), st.sampled_from("pfr")), max_size=12)):
        now_ms += step[0]
        if step[1] == "r":
            pauses = pausing.resumed(pauses, now_ms=now_ms, rate_per_second=None)
        else:
            until_ms = now_ms + 10 if step[1] == "f" else None
            pauses = pausing.paused(pauses, now_ms=now_ms, until_ms=until_ms, reason="")
    return pauses


@given(some_pauses(), st.integers(0, 400), st.integers(1, 200), st.integers(0, 400))
def test_what_has_started_by_then_has_run_so_long(
    pauses: Pauses, now_ms: int, running_ms: int, started_ms: int
) -> None:
    """Both directions agree: how long a clock has run, and the start of one that has run so long."""
    for before, after in pairwise(pauses):
        assert before.until_ms is not None
        assert before.until_ms <= after.from_ms
    ran_ms = now_ms - started_ms - pausing.standstill_ms(pauses, started_ms=started_ms, now_ms=now_ms)
    by_ms = pausing.started_by_ms(pauses, now_ms=now_ms, running_ms=running_ms)
    if started_ms <= now_ms:
        assert ran_ms >= 0
        assert (ran_ms >= running_ms) == (started_ms <= by_ms)


@given(some_pauses(), st.integers(0, 200), st.integers(200, 400))
def test_forgetting_changes_no_clock_that_runs(pauses: Pauses, oldest_ms: int, now_ms: int) -> None:
    fewer = pausing.kept(pauses, now_ms=now_ms, oldest_clock_ms=oldest_ms)
    for started_ms in range(oldest_ms, now_ms, 7):
        assert pausing.standstill_ms(fewer, started_ms=started_ms, now_ms=now_ms) == pausing.standstill_ms(
            pauses, started_ms=started_ms, now_ms=now_ms
        )
