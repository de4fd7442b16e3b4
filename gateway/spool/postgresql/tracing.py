"""Following one notification, and looking for one by what its body holds (promise 30); both only read."""

from gateway.spool import slices
from gateway.spool.history import AttemptRecord, Mentions, TracedDelivery, TracedNotification
from gateway.spool.postgresql.records import attempts_of
from gateway.spool.postgresql.session import WAITS_FOR_ANOTHER_MS, Place, Session
from gateway.spool.requests import FindMentions


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
    before = slices.LATEST if request.before is None else request.before
    sizes = session.rows("sizes_before", before=before, number=slices.SLICE_BODIES)
    cut = slices.cut(sizes)
    if cut is None:
        return Mentions(notifications=(), bodies=0, before=None)
    found = session.rows("mentioned", first=cut.earliest, last=cut.latest, needles=list(request.needles))
    return Mentions(notifications=tuple(row[0] for row in found), bodies=cut.bodies, before=cut.before)
