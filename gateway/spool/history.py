"""What a spool tells of the past: what became of attempts, and what is left of a notification.

The numbers are those of the promises in contract.py.
"""

from dataclasses import dataclass, field

import msgspec

INTERRUPTED = "interrupted: the gateway ended during the attempt"
"""The error on record for an attempt whose outcome nobody saw (11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """What became of one attempt."""

    number: int
    at_ms: int
    status: int | None
    """HTTP status; None where no answer came."""
    error: str
    """Empty after an answer."""
    duration_ms: int
    response_excerpt: str = field(repr=False)

    @classmethod
    def interrupted(cls, *, number: int, at_ms: int) -> "AttemptRecord":
        """Return the record of an attempt that nobody holds and nobody ended."""
        return cls(
            number=number, at_ms=at_ms, status=None, error=INTERRUPTED, duration_ms=0, response_excerpt=""
        )


class TracedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery as it stands in the spool (30)."""

    id: str
    target: str
    changes: int
    attempt: int
    """Attempts begun; of one that is kept 0: they are not known any more."""
    due_ms: int | None
    """When the next attempt is due, 0: at once; None: it is kept, or waits for another."""
    under_way_ms: int | None
    """When the attempt that has no outcome yet began: it is under way, or the process ended during it."""
    waits_for_another: bool
    """It is not the first under a key of its own (24)."""
    delivered_ms: int | None
    """When it was delivered, of one that is kept."""
    attempts: tuple[AttemptRecord, ...]
    """Those that failed or were interrupted, in order."""


class TracedNotification(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a notification in the spool (30)."""

    id: str
    app: str
    received_at_ms: int
    size_bytes: int
    deliveries: tuple[TracedDelivery, ...]


class Mentions(msgspec.Struct, frozen=True, kw_only=True):
    """What a look through a slice of bodies found (30)."""

    notifications: tuple[str, ...]
    """Ids, the latest acceptance first."""
    bodies: int
    """Looked at in this slice."""
    before: int | None
    """Where to go on. Opaque; None: that was all."""
