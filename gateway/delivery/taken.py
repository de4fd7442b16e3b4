"""Telling the journal what a target has taken."""

from gateway.core.envelope import Envelope, parse_envelope
from gateway.spool.contract import Lease
from gateway.telemetry.gap_ledger import Live
from gateway.telemetry.journal import Journal
from gateway.telemetry.whereabouts import Taken


def note_taken(journal: Journal, lease: Lease, *, status: int, at_ms: int) -> None:
    """Note that a target has taken a delivery, with the lines of the gap ledger that it is about."""
    journal.whereabouts.taken(
        lease.target, lease.delivery_id, Taken(at_ms=at_ms, attempt=lease.attempt, status=status)
    )
    journal.gaps.delivered(_slots(journal, lease), lease.target, at_ms)


def _slots(journal: Journal, lease: Lease) -> tuple[Live, ...]:
    """Return the lines of a delivery's changes: remembered, or read from its bytes once more."""
    came = journal.whereabouts.of(lease.notification_id)
    if came is not None and came.slots is not None:
        if lease.selection is None:
            return came.slots
        return tuple(came.slots[position] for position in lease.selection if position < len(came.slots))
    envelope = parse_envelope(lease.raw)
    changes = envelope.changes if isinstance(envelope, Envelope) else ()
    if lease.selection is not None:
        changes = tuple(changes[position] for position in lease.selection if position < len(changes))
    return journal.gaps.find(lease.app, changes)
