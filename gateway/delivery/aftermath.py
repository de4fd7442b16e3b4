"""What becomes of the members of a merged POST that was not taken (contract, section 4, "Merging"). Pure.

- Refused: halved, both halves due at once, until single deliveries stand or fall alone.
- Failed: the same members go again under the same key; after two such failures, singly.
- A member whose give-up time has come leaves as a dead letter. What is left of its group would be other
  members under the same key, or the same members under another; so they go singly, too.

Numbers and records of attempts are each delivery's own, and go on.
"""

from collections.abc import Sequence

from gateway.core.merging import FAILURES_TOGETHER, group_key, halves
from gateway.core.retry import GiveUp, RetryAt
from gateway.delivery.parcel import Parcel
from gateway.spool.contract import Lease, RetryLater
from gateway.spool.history import INTERRUPTED, AttemptRecord

Settled = list[tuple[Lease, RetryLater]]


def after_refusal(parcel: Parcel, record: AttemptRecord, *, now_ms: int) -> Settled:
    """Divide a group in two; one delivery makes no group."""
    settled: Settled = []
    for half in halves(parcel.members):
        key = group_key(half[0].delivery_id, len(half)) if len(half) > 1 else None
        settled += ((lease, RetryLater(at_ms=now_ms, record=record, group=key)) for lease in half)
    return settled


def scatter(parcel: Parcel, record: AttemptRecord, *, now_ms: int) -> Settled:
    """Send each member alone, at once."""
    return [(lease, RetryLater(at_ms=now_ms, record=record)) for lease in parcel.members]


def stays_together(
    parcel: Parcel, decisions: Sequence[RetryAt | GiveUp], *, refuse_statuses: frozenset[int]
) -> bool:
    """Whether a group that has failed just now goes again as it is."""
    before = sum(_failed(record, refuse_statuses) for record in parcel.first.earlier)
    given_up = any(isinstance(decision, GiveUp) for decision in decisions)
    return parcel.merged and not given_up and before + 1 < FAILURES_TOGETHER


def _failed(record: AttemptRecord, refuse_statuses: frozenset[int]) -> bool:
    """Whether an attempt failed retryably: one that nobody saw the end of says nothing of the target."""
    return record.error != INTERRUPTED and record.status not in refuse_statuses
