"""What becomes of a group: the decisions, without a spool."""

import pytest
from msgspec.structs import replace

from gateway.core.retry import GiveUp, RetryAt
from gateway.delivery.aftermath import after_refusal, scatter, stays_together
from gateway.delivery.parcel import Parcel
from gateway.spool.history import INTERRUPTED, AttemptRecord
from tests.delivery.rig import a_lease

REFUSE = frozenset({422})


def attempt(status: int | None, error: str = "") -> AttemptRecord:
    return AttemptRecord(number=3, at_ms=0, status=status, error=error, duration_ms=1, response_excerpt="")


def group(members: int, *earlier: AttemptRecord) -> Parcel:
    return Parcel(
        members=tuple(
            replace(a_lease(b"{}"), token=place, delivery_id=f"d{place}", group="g", earlier=earlier)
            for place in range(members)
        )
    )


@pytest.mark.parametrize(
    ("members", "keys"),
    [(2, [None, None]), (3, ["d0+1", "d0+1", None]), (5, ["d0+2"] * 3 + ["d3+1"] * 2)],
)
def test_a_refused_group_is_halved(members: int, keys: list[str | None]) -> None:
    settled = after_refusal(group(members), attempt(422), now_ms=5)
    assert [settlement.group for _, settlement in settled] == keys
    assert {settlement.at_ms for _, settlement in settled} == {5}


def test_scattered_members_go_alone() -> None:
    assert [settlement.group for _, settlement in scatter(group(3), attempt(None, "odd"), now_ms=5)] == [
        None
    ] * 3


@pytest.mark.parametrize(
    ("earlier", "stays"),
    [
        ([], True),
        ([attempt(503)], False),
        ([attempt(None, "connection refused")], False),
        ([attempt(422)], True),  # refused as part of a larger group: that was no failure
        ([attempt(None, INTERRUPTED)], True),  # nobody saw the end of that one
        ([attempt(422), attempt(None, INTERRUPTED), attempt(500)], False),
    ],
)
def test_two_failures_are_enough(earlier: list[AttemptRecord], stays: bool) -> None:
    parcel = group(2, *earlier)
    assert stays_together(parcel, [RetryAt(at_ms=1)] * 2, refuse_statuses=REFUSE) is stays


def test_a_group_that_loses_a_member_does_not_stay() -> None:
    decisions: list[RetryAt | GiveUp] = [RetryAt(at_ms=1), GiveUp()]
    assert not stays_together(group(2), decisions, refuse_statuses=REFUSE)


def test_one_alone_is_no_group() -> None:
    assert not stays_together(group(1), [RetryAt(at_ms=1)], refuse_statuses=REFUSE)
