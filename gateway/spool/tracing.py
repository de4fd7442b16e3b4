"""Following one notification, and looking for one by what its body holds (promise 30), on the writer thread.

Both only read.
"""

import apsw

from gateway.spool import slices
from gateway.spool.history import AttemptRecord, Mentions, TracedDelivery, TracedNotification
from gateway.spool.requests import FindMentions
from gateway.spool.session import WAITS_FOR_ANOTHER_MS, Session, json_rows


def trace(file: Session, notification_id: str) -> TracedNotification | None:
    """Say what is left of a notification."""
    rows = file.rows("traced", notification_id)
    if not rows:
        return None
    found = file.rows("notification_at", rows[0][2], notification_id)
    if not found:  # ids of deliveries that only begin like it
        return None
    [(app, received_ms, size_bytes)] = found
    attempts: dict[tuple[int, int], list[AttemptRecord]] = {}
    for seq, position, number, at_ms, status, error, duration_ms, excerpt in file.rows(
        "attempts", json_rows([row[1:4] for row in rows])
    ):
        attempts.setdefault((seq, position), []).append(
            AttemptRecord(
                number=number,
                at_ms=at_ms,
                status=status,
                error=error,
                duration_ms=duration_ms,
                response_excerpt=excerpt,
            )
        )
    return TracedNotification(
        id=notification_id,
        app=app,
        received_at_ms=received_ms,
        size_bytes=size_bytes,
        deliveries=tuple(
            TracedDelivery(
                id=id_,
                target=target,
                changes=changes,
                attempt=attempt,
                due_ms=None if delivered_ms is not None or due_ms == WAITS_FOR_ANOTHER_MS else due_ms,
                under_way_ms=under_way_ms,
                waits_for_another=due_ms == WAITS_FOR_ANOTHER_MS,
                delivered_ms=delivered_ms,
                attempts=tuple(attempts.get((seq, position), ())),
            )
            for target, _, seq, position, id_, changes, attempt, due_ms, under_way_ms, delivered_ms in rows
        ),
    )


def find_mentions(file: Session, request: FindMentions) -> Mentions:
    """Look through one slice."""
    before = slices.LATEST if request.before is None else request.before
    sizes = file.rows("sizes_before", before, slices.SLICE_BODIES)
    cut = slices.cut(sizes)
    if cut is None:
        return Mentions(notifications=(), bodies=0, before=None)
    found = file.rows("mentioned", cut.earliest, cut.latest, apsw.carray(request.needles))
    return Mentions(notifications=tuple(row[0] for row in found), bodies=cut.bodies, before=cut.before)
