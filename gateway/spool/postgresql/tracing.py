"""Following one notification, and looking for one by what its body holds (promise 30); both only read."""

from typing import Final

from gateway.spool.contract import AttemptRecord, Mentions, TracedDelivery, TracedNotification
from gateway.spool.postgresql.leasing import attempts_of
from gateway.spool.postgresql.session import WAITS_FOR_ANOTHER_MS, Place, Session
from gateway.spool.requests import FindMentions

SLICE_BODIES: Final = 512
"""Looked at in one slice at most..."""
SLICE_BYTES: Final = 256 * 1024
"""...and so many bytes of them, but at least one: between two slices go the batches of everybody else."""
_LATEST: Final = 2**62


def trace(session: Session, notification_id: str) -> TracedNotification | None:
    """Say what is left of a notification."""
    rows = session.rows("traced", notification_id=notification_id)
    if not rows:
        return None
    found = session.rows("notification_at", seq=rows[0][1], notification_id=notification_id)
    if not found:  # ids of deliveries that only begin like it
        return None
    [(app, received_ms, size_bytes)] = found
    attempts = attempts_of([(row[1], row[2]) for row in rows], session)
    return TracedNotification(
        id=notification_id,
        app=app,
        received_at_ms=received_ms,
        size_bytes=size_bytes,
        deliveries=tuple(_traced(row, attempts, session) for row in rows),
    )


def _traced(
    row: tuple[str, int, int, str, int, int, int, int | None, int | None],
    attempts: dict[Place, list[AttemptRecord]],
    session: Session,
) -> TracedDelivery:
    target, seq, position, id_, changes, attempt, due_ms, under_way_ms, delivered_ms = row
    waits = due_ms == WAITS_FOR_ANOTHER_MS
    due_ms = session.ours(due_ms) if due_ms and not waits else due_ms
    return TracedDelivery(
        id=id_,
        target=target,
        changes=changes,
        attempt=attempt,
        due_ms=None if delivered_ms is not None or waits else due_ms,
        under_way_ms=under_way_ms,
        waits_for_another=waits,
        delivered_ms=None if delivered_ms is None else session.ours(delivered_ms),
        attempts=tuple(attempts.get((seq, position), ())),
    )


def find_mentions(session: Session, request: FindMentions) -> Mentions:
    """Look through one slice."""
    before = _LATEST if request.before is None else request.before
    sizes = session.rows("sizes_before", before=before, number=SLICE_BODIES)
    first, bodies, size_bytes = _LATEST, 0, 0
    for seq, raw_bytes in sizes:
        size_bytes += raw_bytes
        if bodies and size_bytes > SLICE_BYTES:
            break
        first, bodies = seq, bodies + 1
    if not bodies:
        return Mentions(notifications=(), bodies=0, before=None)
    found = session.rows("mentioned", first=first, last=sizes[0][0], needles=list(request.needles))
    is_all = bodies == len(sizes) < SLICE_BODIES
    return Mentions(
        notifications=tuple(row[0] for row in found), bodies=bodies, before=None if is_all else first
    )
