"""What the spool in memory keeps of what was delivered: reading it, and sending it again."""

import itertools
from collections.abc import Sequence
from operator import itemgetter

import msgspec

from gateway.spool.contract import Kept, NewDelivery, Place
from gateway.spool.memory_state import MemoryState, StoredDelivery


def read_kept(
    state: MemoryState, *, since_ms: int, until_ms: int, after: Place | None, limit: int
) -> tuple[Kept, ...]:
    """See `Spool.kept`."""
    pages: dict[Place, list[StoredDelivery]] = {}
    for (received_ms, seq, _), (found, _) in sorted(state.kept.items(), key=itemgetter(0)):
        place = (received_ms, seq)
        if since_ms <= received_ms <= until_ms and (after is None or place > after):
            pages.setdefault(place, []).append(found)
    return tuple(
        Kept(
            place=place,
            notification_id=taken[0].notification.id,
            app=taken[0].app,
            received_at_ms=place[0],
            raw=taken[0].notification.body.raw,
            taken=tuple(msgspec.structs.replace(found.new, order_keys=()) for found in taken),
        )
        for place, taken in itertools.islice(pages.items(), max(0, limit))
    )


def send_again(
    state: MemoryState, items: Sequence[tuple[Kept, NewDelivery]], *, clock_started_ms: int
) -> frozenset[str]:
    """See `Spool.send_again`."""
    added = set()
    for kept, new in items:
        waiting = {key: found for key, found in state.deliveries.items() if key[:2] == kept.place}
        there = {key: found for key, (found, _) in state.kept.items() if key[:2] == kept.place}
        one = next(iter((there | waiting).values()), None)
        if one is None or any(found.new.id == new.id for found in state.deliveries.values()):
            continue
        key = next((key for key, found in there.items() if found.new.id == new.id), None)
        if key is None:
            key = (*kept.place, 1 + max(position for *_, position in (*waiting, *there)))
        else:
            del state.kept[key]
        state.deliveries[key] = StoredDelivery(
            notification=one.notification, new=new, clock_started_ms=clock_started_ms
        )
        added.add(new.id)
    return frozenset(added)
