"""Where a notification is, as the spool in memory knows it."""

from collections.abc import Sequence
from operator import itemgetter

from gateway.spool.history import Mentions, TracedDelivery, TracedNotification
from gateway.spool.memory_state import Key, MemoryState, StoredDelivery


def trace(state: MemoryState, notification_id: str) -> TracedNotification | None:
    """See `Spool.trace`."""
    waiting: dict[str, set[Key]] = {}
    found: list[tuple[Key, StoredDelivery, TracedDelivery]] = []
    for key, one in state.deliveries.items():
        if one.notification.id == notification_id:
            behind = key in waiting.setdefault(one.new.target, state.waiting(one.new.target))
            found.append((key, one, _traced(one, waits=behind)))
    for key, (one, at_ms) in state.kept.items():
        if one.notification.id == notification_id:
            found.append((key, one, _traced_kept(one, at_ms)))
    if not found:
        return None
    found.sort(key=itemgetter(0))
    notification = found[0][1].notification
    return TracedNotification(
        id=notification_id,
        app=notification.body.app,
        received_at_ms=notification.received_at_ms,
        size_bytes=len(notification.body.raw),
        deliveries=tuple(traced for _, _, traced in found),
    )


def find_mentions(state: MemoryState, needles: Sequence[bytes], *, before: int | None) -> Mentions:
    """See `Spool.mentions`; a slice is one body."""
    stored = [
        *state.deliveries.items(),
        *((key, one) for key, (one, _) in state.kept.items()),
    ]
    bodies = {key[1]: one.notification for key, one in stored if before is None or key[1] < before}
    if not bodies:
        return Mentions(notifications=(), bodies=0, before=None)
    latest = max(bodies)
    notification = bodies[latest]
    has_it = any(needle in notification.body.raw for needle in needles)
    return Mentions(
        notifications=(notification.id,) if has_it else (),
        bodies=1,
        before=latest if len(bodies) > 1 else None,
    )


def _traced(one: StoredDelivery, *, waits: bool) -> TracedDelivery:
    return TracedDelivery(
        id=one.new.id,
        target=one.new.target,
        changes=one.new.changes,
        attempt=one.attempt,
        due_ms=None if waits else one.due_ms,
        under_way_ms=one.attempt_at_ms,
        waits_for_another=waits,
        delivered_ms=None,
        attempts=tuple(one.attempts),
    )


def _traced_kept(one: StoredDelivery, at_ms: int) -> TracedDelivery:
    return TracedDelivery(
        id=one.new.id,
        target=one.new.target,
        changes=one.new.changes,
        attempt=0,
        due_ms=None,
        under_way_ms=None,
        waits_for_another=False,
        delivered_ms=at_ms,
        attempts=(),
    )
