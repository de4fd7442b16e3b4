"""Appends, restores, and what is sent again, inside a batch's transaction (promises 1 to 4, 12, 13, 28)."""

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.spool import duplicates
from gateway.spool.contract import Appended, NewDelivery, Notification
from gateway.spool.postgresql.letters import fence, is_back, take_off
from gateway.spool.postgresql.link import Link, array, arrays
from gateway.spool.postgresql.session import WAITS_FOR_ANOTHER_MS, Draft, Place, Session, places
from gateway.spool.postgresql.troubles import ContendedError
from gateway.spool.postgresql.window import SHARE, with_new
from gateway.spool.requests import Append, Restore, SendAgain
from gateway.spool.stored_forms import selection_text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A notification to be stored."""

    digest: bytes
    notification: Notification
    deliveries: tuple[NewDelivery, ...]
    clock_started_ms: int


def goes_with(object_: str | None) -> str | None:
    """Return the object as it can be stored: text of PostgreSQL's holds no NUL. Without it, what came goes
    alone, and not its whole batch nowhere."""
    return None if object_ is not None and "\0" in object_ else object_


def append(requests: Sequence[Append], session: Session) -> None:
    """Store what is new; a second one of the same batch is a duplicate like any other (promise 3)."""
    if not requests:
        return
    items, first = _gather(requests, session.draft)
    session.lock_turns(
        (new.target, key) for item in items for new in item.deliveries for key in new.order_keys
    )
    stored = _store(items, session, windowed=True)
    _answer(first, stored, session.draft)


def append_in_one_go(
    requests: Sequence[Append], link: Link, draft: Draft, *, day: int, writer: int
) -> int | None:
    """Do the same as a transaction of its own, in one round trip, where nothing has turns: return the clock
    of the database. None: the day or the newest bucket is another by now, and nothing was stored."""
    items, first = _gather(requests, draft)
    bindings = _bindings(items, draft, day=day, writer=writer, windowed=True)
    found = dict(link.in_one_go(SHARE, "store", **bindings))
    clock_ms: int | None = found.pop(0, None)
    if clock_ms is not None:
        _count(items, found, draft)
        _answer(first, found, draft)
    return clock_ms


def _gather(requests: Sequence[Append], draft: Draft) -> tuple[list[_Item], list[Append]]:
    """Return what is to be stored, if it is new, and of each the request that hears of it."""
    first: dict[bytes, Append] = {}
    for number, request in enumerate(requests):
        body = request.notification.body
        # Without a window the digests only tell the rows apart.
        digest = duplicates.digest(body.app, body.raw) if draft.buckets else number.to_bytes(4, "big")
        request.result = Appended.DUPLICATE
        first.setdefault(digest, request)
    items = [
        _Item(
            digest=digest,
            notification=request.notification,
            deliveries=request.notification.deliveries,
            clock_started_ms=request.notification.received_at_ms,
        )
        for digest, request in first.items()
    ]
    return items, list(first.values())


def _answer(first: Sequence[Append], stored: Collection[int], draft: Draft) -> None:
    for number in stored:
        first[number - 1].result = Appended.STORED
    if draft.buckets:
        draft.buckets = with_new(draft.buckets, len(stored))


def are_known(requests: Sequence[Append], session: Session) -> bool:
    """Whether all of them are duplicates: then they need no bucket that takes keys."""
    digests = {duplicates.digest(one.notification.body.app, one.notification.body.raw) for one in requests}
    [(known,)] = session.rows("known_digests", alive=session.draft.alive, digests=list(digests))
    return int(known) == len(digests)


def restore(request: Restore, session: Session) -> None:
    """Store those deliveries that are not pending, past the duplicates window (promise 12)."""
    taken = request.taken
    if taken is not None and is_back(taken.id, taken.token, session.rows):
        request.result = frozenset()
        return
    ids = {delivery.id: delivery for delivery in request.notification.deliveries}
    pending = {row[0] for row in session.rows("pending_ids", ids=list(ids))}
    missing = tuple(delivery for id_, delivery in ids.items() if id_ not in pending)
    request.result = frozenset(delivery.id for delivery in missing)
    if taken is not None and (missing or taken.id not in ids):
        # What has no id of its own among them was routed anew: what waits of that, an earlier try has stored.
        take_off([taken.id], session.rows)
        fence([(taken.id, taken.token)], session.rows)
        session.draft.wrote = True
    if missing:
        item = _Item(
            digest=b"",
            notification=request.notification,
            deliveries=missing,
            clock_started_ms=request.clock_started_ms,
        )
        session.lock_turns((new.target, key) for new in missing for key in new.order_keys)
        _store([item], session, windowed=False)


def send_again(request: SendAgain, session: Session) -> None:
    """Make deliveries of what is kept (promise 28)."""
    wanted = {new.id: (kept, new) for kept, new in request.items}
    asked = [(kept.place[1], kept.notification_id, id_) for id_, (kept, _) in wanted.items()]
    turns = [(new.target, key) for _, new in wanted.values() for key in new.order_keys]
    session.lock_turns(turns)
    found = session.rows("places_again", **arrays(asked, "seq", "notification_id", "id"))
    ids = list(wanted)
    rows: list[tuple[object, ...]] = []
    again: list[tuple[Place, NewDelivery]] = []
    taken_back: list[tuple[int, int, int]] = []
    free: dict[int, int] = {}
    for nth, received_ms, seq, raw_bytes, position, next_position in found:
        id_ = ids[nth - 1]
        new = wanted[id_][1]
        if position is None:
            position = max(next_position, free.get(seq, 0))
            free[seq] = position + 1
        else:
            taken_back.append((received_ms, seq, position))
        rows.append(
            (
                *(seq, position, new.target, received_ms, new.changes, int(new.lane), bool(new.order_keys)),
                *(id_, selection_text(new.selection)),
            )
        )
        again.append(((seq, position), new))
        session.draft.count(new.target, 1, raw_bytes)
        session.draft.ready.add(new.target)
    request.result = frozenset(new.id for _, new in again)
    if not rows:
        return
    session.draft.stored = session.draft.wrote = True
    session.rows("count_again", seqs=[place[0] for place, _ in again])
    names = ("seq", "position", "target", "received_at_ms", "changes", "lane", "ordered", "id", "selection")
    session.rows("deliver_again", clock_started_ms=request.clock_started_ms, **arrays(rows, *names))
    if taken_back:
        session.rows("take_back", **arrays(taken_back, "received_at_ms", "seq", "position"))
    _queue_up(again, session, step_back=True)


def _store(items: Sequence[_Item], session: Session, *, windowed: bool) -> Collection[int]:
    """Store what is to be stored; return which of them were, counted from 1."""
    draft = session.draft
    bindings = _bindings(items, draft, day=session.day, writer=session.writer, windowed=windowed)
    found = dict(session.rows("store", **bindings))
    if found.pop(0, None) is None:
        raise ContendedError(
            "the database changes under the gateway's hands", remedy="nothing has to be done"
        )
    _count(items, found, draft)
    again = [
        ((seq, position), new)
        for nth, seq in found.items()
        for position, new in enumerate(items[nth - 1].deliveries)
    ]
    _queue_up(again, session, step_back=False)
    return found.keys()


def _bindings(
    items: Sequence[_Item], draft: Draft, *, day: int, writer: int, windowed: bool
) -> dict[str, object]:
    """Return what `store` is told."""
    notifications = [
        (
            item.digest,
            item.notification.id,
            item.notification.body.app,
            item.notification.received_at_ms,
            zlib.crc32(item.notification.body.raw),
            len(item.deliveries),
            item.clock_started_ms,
            goes_with(item.notification.object),
            item.notification.body.raw,
        )
        for item in items
    ]
    deliveries = [
        (
            nth,
            position,
            new.target,
            new.changes,
            int(new.lane),
            bool(new.order_keys),
            new.id,
            selection_text(new.selection),
        )
        for nth, item in enumerate(items, 1)
        for position, new in enumerate(item.deliveries)
    ]
    bucket = draft.buckets[-1].id if windowed and draft.buckets else None
    return {
        "bucket": bucket,
        "earlier": array([one for one in draft.alive if one != bucket]),
        "day": day,
        "writer": writer,
        **arrays(
            notifications,
            *("digest", "id", "app", "received_at_ms", "raw_crc32", "deliveries", "clock_started_ms"),
            *("object", "raw"),
        ),
        **arrays(
            deliveries,
            *("of", "position", "target", "changes", "lane", "ordered", "delivery_id", "selection"),
        ),
    }


def _count(items: Sequence[_Item], stored: Collection[int], draft: Draft) -> None:
    """Note in the draft what was stored."""
    draft.stored = draft.wrote = True
    for nth in stored:
        item = items[nth - 1]
        size_bytes = len(item.notification.body.raw)
        for new in item.deliveries:
            draft.count(new.target, 1, size_bytes, booked=True)
            draft.ready.add(new.target)


def _queue_up(again: Sequence[tuple[Place, NewDelivery]], session: Session, *, step_back: bool) -> None:
    """Give their turns to deliveries with order; with `step_back`, who was the first may wait then (24)."""
    turns = [(new.target, key, *place) for place, new in again for key in new.order_keys]
    if not turns:
        return
    keys = list(dict.fromkeys(turn[:2] for turn in turns))
    firsts = session.rows("firsts", **arrays(keys, "target", "key")) if step_back else []
    session.rows("add_turns", **arrays(turns, "target", "key", "seq", "position"))
    session.rows("queue_up", waits=WAITS_FOR_ANOTHER_MS, **places([p for p, new in again if new.order_keys]))
    if firsts:
        session.rows("step_back", waits=WAITS_FOR_ANOTHER_MS, **places(firsts))
