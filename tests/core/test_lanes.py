"""Lanes: who goes first, and that nobody waits for ever."""

from gateway.core.change import Kind
from gateway.core.lanes import LANE_OF_KIND, Lane, lane_of, order_of_turn


def test_every_kind_has_a_lane() -> None:
    assert set(LANE_OF_KIND) == set(Kind)
    assert lane_of({Kind.OTHER}, "messaging_postbacks") is Lane.HIGH
    assert lane_of({Kind.STATUS}, "messages") is Lane.LOW


def test_one_look_in_eight_begins_with_the_last_lane() -> None:
    firsts = [order_of_turn(turn)[0] for turn in range(800)]
    assert firsts.count(Lane.HIGH) == 700
    assert firsts.count(Lane.LOW) == 100
    assert all(set(order_of_turn(turn)) == set(Lane) for turn in range(16))
