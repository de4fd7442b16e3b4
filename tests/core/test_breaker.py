"""The breaker: what it does in a row of outcomes, and what holds in any."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import breaker
from gateway.core.breaker import OPEN, REFUSALS, TRANSITIONS, Breaker, BreakerPolicy, Event, State, Ticket

POLICY = BreakerPolicy(failures=5, probe_every_seconds=15.0)


@dataclass
class Target:
    """A breaker in use: attempts that start and end."""

    hands: int = 8
    now: float = 0.0
    breaker: Breaker = field(default_factory=Breaker)
    under_way: list[Ticket] = field(default_factory=list)
    refused: int = 0

    def state(self) -> State:
        return self.breaker.state

    def startable(self) -> int:
        return breaker.startable(
            self.breaker, hands=self.hands, under_way=len(self.under_way), now_seconds=self.now
        )

    def start(self, number: int = 1, *, failed_before: bool = False) -> None:
        for _ in range(number):
            assert self.startable() >= 1
            self.breaker, ticket = breaker.start(self.breaker, failed_before=failed_before)
            self.under_way.append(ticket)

    def end(self, outcome: str, place: int = 0) -> bool | None:
        ticket = self.under_way.pop(place)
        match outcome:
            case "taken":
                self.breaker = breaker.taken(self.breaker, ticket, hands=self.hands)
            case "failed":
                self.breaker = breaker.failed(self.breaker, ticket, POLICY, now_seconds=self.now)
            case "nothing":
                self.breaker = breaker.nothing_learnt(self.breaker, ticket)
            case "refused" | "halved":
                self.refused += 1
                name = f"d{self.refused}" if outcome == "refused" else None
                self.breaker, believed = breaker.refused(
                    self.breaker, ticket, POLICY, delivery_id=name, now_seconds=self.now
                )
                return believed
        return None

    def attempt(self, outcome: str) -> bool | None:
        self.start()
        return self.end(outcome)


def opened(outcome: str = "failed") -> Target:
    target = Target()
    for _ in range(5 if outcome == "failed" else REFUSALS):
        target.attempt(outcome)
    assert target.breaker.open
    return target


def test_five_failures_in_a_row_open_it() -> None:
    target = Target()
    for outcome in ("failed",) * 4 + ("taken",) + ("failed",) * 4:
        target.attempt(outcome)
    assert target.state() is State.DELIVERING
    target.attempt("failed")
    assert target.state() is State.FAILING
    assert target.startable() == 0


def test_only_a_probe_goes_out_and_the_next_after_its_time() -> None:
    target = opened()
    target.now += 14.9
    assert target.startable() == 0
    target.now += 0.1
    target.start()
    assert target.startable() == 0, "one at a time"
    target.now += 20
    target.end("failed")
    assert target.startable() == 0
    target.now += 15
    assert target.startable() == 1


def test_a_backlog_is_released_gradually() -> None:
    target = opened()
    target.now += 15
    target.attempt("taken")
    assert target.state() is State.RECOVERING
    released = []
    for _ in range(3):
        released.append(target.startable())
        target.start(target.startable())
        target.end("taken")
        while target.under_way:
            target.end("nothing")
    assert released == [1, 2, 4]
    assert target.state() is State.DELIVERING
    assert target.startable() == 8


def test_one_failure_while_recovering_opens_it_again() -> None:
    target = opened()
    target.now += 15
    target.attempt("taken")
    target.attempt("failed")
    assert target.state() is State.FAILING


def test_what_was_under_way_as_it_opened_says_nothing_new_unless_it_is_taken() -> None:
    target = Target()
    target.attempt("taken")
    target.start(8)
    for _ in range(5):
        target.end("failed")
    target.now += 15
    target.start()
    target.end("failed", 0)  # a late one
    target.end("taken", -1)  # the probe
    assert target.state() is State.RECOVERING
    target.end("failed")
    assert target.state() is State.RECOVERING
    late = Target()
    late.attempt("taken")
    late.start(6)
    for _ in range(5):
        late.end("failed")
    late.end("taken")
    assert late.state() is State.RECOVERING


def test_twenty_refusals_open_it_and_nothing_more_is_refused_until_a_probe_is_taken() -> None:
    target = Target()
    target.attempt("taken")
    target.start(8)
    believed = 0
    for _ in range(REFUSALS):
        believed += bool(target.end("refused"))
        if not target.breaker.open:
            target.start()
    assert believed == REFUSALS
    assert target.state() is State.REFUSING
    while target.under_way:
        assert target.end("refused") is False
    for _ in range(3):
        target.now += 15
        assert target.attempt("refused") is False
        assert target.startable() == 0
    target.now += 15
    assert target.attempt("failed") is None
    assert target.state() is State.REFUSING
    target.now += 15
    target.attempt("taken")
    assert target.attempt("refused") is True


def test_a_failure_does_not_end_a_row_of_refusals() -> None:
    target = Target()
    for _ in range(REFUSALS):
        while target.startable() == 0:
            target.now += 1
        target.attempt("refused")
        if not target.breaker.open:
            target.attempt("failed")
    assert target.state() is State.REFUSING


def test_the_same_delivery_counts_once_and_a_merged_post_not_at_all() -> None:
    target = Target()
    for _ in range(3 * REFUSALS):
        target.start()
        ticket = target.under_way.pop()
        target.breaker, _ = breaker.refused(
            target.breaker, ticket, POLICY, delivery_id="same", now_seconds=0.0
        )
        assert target.attempt("halved") is True
    assert target.state() is State.DELIVERING


def test_a_target_that_refuses_its_probe_answers_again() -> None:
    target = opened()
    target.now += 15
    assert target.attempt("refused") is True
    assert target.state() is State.RECOVERING


def test_a_probe_that_says_nothing_is_followed_by_another() -> None:
    target = opened()
    target.now += 15
    target.attempt("nothing")
    assert target.startable() == 1


@pytest.mark.parametrize("failed_before", [False, True])
def test_after_a_start_it_is_careful_where_the_oldest_has_failed(failed_before: bool) -> None:
    target = Target()
    assert target.startable() == 1
    target.start(failed_before=failed_before)
    assert target.startable() == (0 if failed_before else 7)
    target.end("failed")
    assert target.breaker.open is failed_before


OUTCOMES = st.sampled_from(["taken", "failed", "refused", "halved", "nothing"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(1, 8)),
        st.tuples(OUTCOMES, st.integers(0, 8)),
        st.tuples(st.just("wait"), st.integers(1, 20)),
    ),
    max_size=200,
)


@given(STEPS, st.integers(1, 8), st.booleans())
def test_what_holds_in_any_row_of_outcomes(
    steps: list[tuple[str, int]], hands: int, failed_before: bool
) -> None:
    target = Target(hands=hands)
    refusals_believed: set[int] = set()
    for step, number in steps:
        before = target.breaker
        match step:
            case "wait":
                target.now += number
            case "start":
                target.start(min(number, target.startable()), failed_before=failed_before)
            case outcome if target.under_way:
                believed = target.end(outcome, number % len(target.under_way))
                if outcome == "taken":
                    refusals_believed.clear()
                    assert not target.breaker.open, "who takes something is not left alone"
                if outcome == "refused" and believed:
                    refusals_believed.add(target.refused)
                if outcome in ("halved", "nothing"):
                    assert target.breaker.open <= before.open
        after = target.breaker
        # No more dead letters in a row than the rule says, whatever happens between.
        assert len(refusals_believed) <= REFUSALS
        assert 0 <= max(target.startable(), 0) <= hands
        assert len(target.under_way) + max(target.startable(), 0) <= hands
        if after.open:
            assert target.startable() <= 1
            assert sum(ticket.probe and ticket.epoch == after.epoch for ticket in target.under_way) <= 1
        if after.state is not before.state:
            assert after.state in {to for (of, _), to in TRANSITIONS.items() if of is before.state}
        assert after.epoch == before.epoch + (after.open and after.state is not before.state)
    # It never gets stuck: after a while there is always a way on, and success leads back to all hands.
    while target.under_way:
        target.end("nothing")
    for _ in range(12):
        target.now += POLICY.probe_every_seconds
        target.attempt("taken")
    assert target.startable() == hands


def test_the_table_leads_from_every_state_to_every_other_but_the_first() -> None:
    reached = {State.STARTING}
    for _ in State:
        reached |= {to for (of, _), to in TRANSITIONS.items() if of in reached}
    assert reached == set(State)
    assert State.STARTING not in TRANSITIONS.values()
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_opening_for_failures_keeps_the_row_of_refusals() -> None:
    kept = replace(Breaker(state=State.DELIVERING, failures=4), refused=frozenset({"a"}))
    after = breaker.failed(kept, Ticket(epoch=0, probe=False), POLICY, now_seconds=1.0)
    assert after.state in OPEN
    assert after.refused == {"a"}
