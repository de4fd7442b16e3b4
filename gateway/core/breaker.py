"""The circuit breaker of one target, as a state machine over values (contract, section 4, "Outcome").

Theory of operation. A target that fails is asked less, and a target that refuses everything is not believed:

- So many consecutive failures open the breaker. Then only a probe goes out now and then; everything else
  waits, and waiting uses up no attempt.
- So many refusals of different deliveries in a row open it, too: a bad deploy that answers 422 to everything.
  Until a probe is taken, nothing more is refused: what a probe is answered is no verdict on the delivery.
- Once the target answers, what has gathered is released gradually: one attempt at a time, then twice as many
  after each that is taken, up to all. One failure on that way, and it is open again.
- After a start it is not known how the target is. Where its oldest due delivery has failed before, it is
  released gradually; where not, there is nothing to be careful about.

"In a row" means: with none taken in between. A failure does not end a row of refusals, nor the other way
round; else a target that answers 422 and 503 in turn would empty the backlog into dead letters.

What was under way as it opened belongs to the time before (its `epoch`): its failure says nothing new, while
its success shows that the target is there.

`TRANSITIONS` is all there is of states; docs/delivery.md draws it. Times are of a clock that never goes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

REFUSALS: Final = 20
"""Refusals in a row that open it (contract, section 4)."""


class State(StrEnum):
    """How much a target is sent."""

    STARTING = "starting"
    """One attempt, until it is known whether that delivery has failed before."""
    DELIVERING = "delivering"
    """All that it takes: the breaker is closed."""
    FAILING = "failing"
    """Open after failures: probes alone."""
    REFUSING = "refusing"
    """Open after refusals: probes alone, and none of them makes a dead letter."""
    RECOVERING = "recovering"
    """Closed, and released gradually."""


class Event(StrEnum):
    """What happens to a breaker."""

    FIRST_NEW = "the first delivery has not failed before"
    FIRST_FAILED_BEFORE = "the first delivery has failed before"
    TAKEN = "an attempt is taken"
    ALL_RELEASED = "one more is taken, and all are released"
    FAILED = "an attempt fails"
    FAILURES = "the row of failures is full"
    REFUSED = "a delivery is refused"
    REFUSALS = "the row of refusals is full"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.STARTING, Event.FIRST_NEW): State.DELIVERING,
    (State.STARTING, Event.FIRST_FAILED_BEFORE): State.RECOVERING,
    (State.DELIVERING, Event.FAILURES): State.FAILING,
    (State.DELIVERING, Event.REFUSALS): State.REFUSING,
    (State.FAILING, Event.TAKEN): State.RECOVERING,
    (State.FAILING, Event.REFUSED): State.RECOVERING,
    (State.FAILING, Event.REFUSALS): State.REFUSING,
    (State.REFUSING, Event.TAKEN): State.RECOVERING,
    (State.RECOVERING, Event.ALL_RELEASED): State.DELIVERING,
    (State.RECOVERING, Event.FAILED): State.FAILING,
    (State.RECOVERING, Event.FAILURES): State.FAILING,
    (State.RECOVERING, Event.REFUSALS): State.REFUSING,
}
"""What is not here changes no state."""

OPEN: Final = frozenset({State.FAILING, State.REFUSING})


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """A target's breaker settings."""

    failures: int = 5
    """Consecutive failures that open it."""
    probe_every_seconds: float = 15.0
    """Between two probes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """All that is known of a target's health."""

    state: State = State.STARTING
    epoch: int = 0
    """How often it has opened."""
    failures: int = 0
    """In a row."""
    refused: frozenset[str] = frozenset()
    """Deliveries refused in a row; different ones, since one whose dead letter could not be written comes
    again."""
    limit: int = 1
    """While RECOVERING: attempts at once."""
    probe_at_seconds: float = 0.0
    """While open: the next probe is not sent before."""
    probing: bool = False
    """While open: a probe is under way."""

    @property
    def open(self) -> bool:
        """Whether only probes are sent."""
        return self.state in OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What an attempt has to know of the breaker as it began."""

    epoch: int
    probe: bool


def startable(breaker: Breaker, *, hands: int, under_way: int, now_seconds: float) -> int:
    """Return how many attempts may start now, beside those under way."""
    match breaker.state:
        case State.FAILING | State.REFUSING:
            return int(not breaker.probing and now_seconds >= breaker.probe_at_seconds and under_way < hands)
        case State.RECOVERING:
            return max(0, min(breaker.limit, hands) - under_way)
        case State.STARTING:
            return max(0, 1 - under_way)
        case State.DELIVERING:
            return hands - under_way


def start(breaker: Breaker, *, failed_before: bool) -> tuple[Breaker, Ticket]:
    """Note that an attempt starts; the caller has asked `startable`."""
    if breaker.open:
        return replace(breaker, probing=True), Ticket(epoch=breaker.epoch, probe=True)
    event = Event.FIRST_FAILED_BEFORE if failed_before else Event.FIRST_NEW
    return _next(breaker, event), Ticket(epoch=breaker.epoch, probe=False)


def taken(breaker: Breaker, ticket: Ticket, *, hands: int) -> Breaker:
    """Note a success."""
    breaker = replace(_ended(breaker, ticket), failures=0, refused=frozenset())
    if breaker.state is not State.RECOVERING:
        return _next(breaker, Event.TAKEN)
    if breaker.limit * 2 >= hands:
        return _next(breaker, Event.ALL_RELEASED)
    return replace(breaker, limit=breaker.limit * 2)


def failed(breaker: Breaker, ticket: Ticket, policy: BreakerPolicy, *, now_seconds: float) -> Breaker:
    """Note a failure; that of an attempt from before the last opening says nothing new."""
    breaker = _ended(breaker, ticket, probe_at_seconds=now_seconds + policy.probe_every_seconds)
    if ticket.epoch != breaker.epoch or breaker.open:
        return breaker
    breaker = replace(breaker, failures=breaker.failures + 1)
    event = Event.FAILURES if breaker.failures >= policy.failures else Event.FAILED
    return _next(breaker, event, probe_at_seconds=now_seconds + policy.probe_every_seconds)


def refused(
    breaker: Breaker, ticket: Ticket, policy: BreakerPolicy, *, delivery_id: str | None, now_seconds: float
) -> tuple[Breaker, bool]:
    """Note a refusal; return whether it is to be believed: if not, the delivery stays and is tried again.

    `delivery_id` is None for the refusal of a merged POST, which refuses none of its members yet.
    """
    probe_at_seconds = now_seconds + policy.probe_every_seconds
    breaker = _ended(breaker, ticket, probe_at_seconds=probe_at_seconds)
    if breaker.state is State.REFUSING:
        return breaker, False
    if delivery_id is not None:
        breaker = replace(breaker, refused=breaker.refused | {delivery_id})
    event = Event.REFUSALS if len(breaker.refused) >= REFUSALS else Event.REFUSED
    return _next(breaker, event, probe_at_seconds=probe_at_seconds), True


def nothing_learnt(breaker: Breaker, ticket: Ticket) -> Breaker:
    """Note the end of an attempt that says nothing of the target: it was cut short, or never sent."""
    return _ended(breaker, ticket)


def _ended(breaker: Breaker, ticket: Ticket, *, probe_at_seconds: float | None = None) -> Breaker:
    """End a probe; without a time for the next, that may follow at once."""
    if not ticket.probe or ticket.epoch != breaker.epoch or not breaker.open:
        return breaker
    at_seconds = breaker.probe_at_seconds if probe_at_seconds is None else probe_at_seconds
    return replace(breaker, probing=False, probe_at_seconds=at_seconds)


def _next(breaker: Breaker, event: Event, *, probe_at_seconds: float = 0.0) -> Breaker:
    state = TRANSITIONS.get((breaker.state, event), breaker.state)
    if state is breaker.state:
        return breaker
    if state in OPEN:
        return replace(
            breaker,
            state=state,
            epoch=breaker.epoch + 1,
            failures=0,
            refused=frozenset() if state is State.REFUSING else breaker.refused,
            probe_at_seconds=probe_at_seconds,
            probing=False,
        )
    return replace(breaker, state=state, limit=1, failures=0, probing=False)
