"""Times of refusals, in bounded memory."""

from gateway.core.conditions import Grade
from gateway.telemetry.turned_away import KINDS, TIMES, RecentlyTurnedAway


def test_the_last_times_of_each_kind_are_kept() -> None:
    known = RecentlyTurnedAway()
    for at_ms in range(TIMES + 5):
        known.add("main", "signature", Grade.PROVED, at_ms)
    known.add("", "expired", Grade.CLAIMED, 7)
    first, second = known.all()
    assert (first.app, first.word, first.grade) == ("main", "signature", Grade.PROVED)
    assert first.times_ms == list(range(5, TIMES + 5))
    assert second.times_ms == [7]


def test_no_number_of_kinds_fills_the_memory() -> None:
    known = RecentlyTurnedAway()
    for number in range(KINDS + 9):
        known.add(str(number), "signature", Grade.CLAIMED, 1)
    assert len(known.all()) == KINDS
