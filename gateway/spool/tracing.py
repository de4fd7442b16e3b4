"""Following one notification, and looking for one by what its body holds (promise 30), on the writer thread.

Both only read. A look through bodies is cut into slices of some milliseconds each: between two of them go the
batches of everybody else, so a search of a million bodies delays no acknowledgement by more than one slice.
"""

from typing import Final

import apsw

from gateway.spool.contract import AttemptRecord, Mentions, TracedDelivery, TracedNotification
from gateway.spool.requests import FindMentions
from gateway.spool.session import WAITS_FOR_ANOTHER_MS, Session, json_rows

SLICE_BODIES: Final = 512
"""Looked at in one slice at most..."""
SLICE_BYTES: Final = 256 * 1024
"""...and so many bytes of them, but at least one: some three milliseconds (5 us a body of 500 bytes)."""
_LATEST: Final = 2**62


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
    sizes = file.rows("sizes_before", _LATEST if request.before is None else request.before, SLICE_BODIES)
    first, bodies, size_bytes = _LATEST, 0, 0
    for seq, raw_bytes in sizes:
        size_bytes += raw_bytes
        if bodies and size_bytes > SLICE_BYTES:
            break
        first, bodies = seq, bodies + 1
    if not bodies:
        return Mentions(notifications=(), bodies=0, before=None)
    found = file.rows("mentioned", first, sizes[0][0], apsw.carray(request.needles))
    is_all = bodies == len(sizes) < SLICE_BODIES
    return Mentions(
        notifications=tuple(row[0] for row in found), bodies=bodies, before=None if is_all else first
    )
