"""Lanes: what of a target's backlog goes first. A message does not wait behind a backlog of statuses.

A lane is a property of a delivery, given when it is routed: the most urgent of its changes counts. Within a
lane the oldest goes first. The lanes share one target, its attempts, its breaker and its schedule; now and
then a turn begins with the last lane, so that no lane waits for ever.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from gateway.core.change import Kind


class Lane(IntEnum):
    """In order of urgency. Stored with the delivery: numbers never change their meaning."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


LANE_OF_KIND: Final = {
    Kind.MESSAGE: Lane.HIGH,
    Kind.STATUS: Lane.LOW,
    Kind.ERROR: Lane.NORMAL,
    Kind.OTHER: Lane.NORMAL,
}
LANE_OF_FIELD: Final = {
    "messages": Lane.HIGH,
    "messaging_postbacks": Lane.HIGH,
    "message_deliveries": Lane.LOW,
    "message_reads": Lane.LOW,
}
"""Of Messenger's and Instagram's messaging items, whose kind is `other`: the same distinction."""

ORDER: Final = tuple(Lane)
TURN: Final = tuple(reversed(Lane))
TURN_EVERY: Final = 8
"""One look in eight begins with the last lane: a target that can take no more than the messages still takes
an eighth of the rest."""


def lane_of(kinds: Iterable[Kind], field: str) -> Lane:
    """Return the lane of one change, where no route states a priority."""
    by_field = LANE_OF_FIELD.get(field, Lane.NORMAL)
    return min(by_field if kind is Kind.OTHER else LANE_OF_KIND[kind] for kind in kinds)


def order_of_turn(turn: int) -> tuple[Lane, ...]:
    """Return in which order the lanes are looked at; `turn` counts the looks."""
    return TURN if turn % TURN_EVERY == TURN_EVERY - 1 else ORDER
