"""Appends and restores, inside the transaction of a batch (promises 1 to 4, 12 and 13)."""

import zlib

import apsw

from gateway.spool import duplicates
from gateway.spool.contract import Appended, NewDelivery, Notification
from gateway.spool.filters import KEY_BYTES, Filters
from gateway.spool.requests import Append, Restore
from gateway.spool.session import WAITS_FOR_ANOTHER_MS, Draft, Session, json_rows

FORGET_SLICE = 512
"""Keys of the duplicates window removed at once, besides as many as came in: a few milliseconds."""
FILTER_SLICE = 256
"""Keys that a batch takes into a filter: a third of a millisecond, so that there is one even if it is never
quiet."""
FILTER_SLICE_IDLE = 4096
"""Keys taken into a filter in one step of upkeep: 5 ms."""


class Storing:
    """What puts notifications into the file."""

    def __init__(self, file: Session, limits: duplicates.Limits) -> None:
        self._file = file
        self._limits = limits
        self._filters = Filters(file.rows("filters"))

    def adopt(self, draft: Draft) -> None:
        """Take over what a committed batch made of the window."""
        self._filters.keep(draft.buckets)

    def append(self, requests: list[Append], draft: Draft) -> None:
        """Store what is new; a second one of the same batch is a duplicate like any other (promise 3)."""
        if not requests:
            return
        self.make_filters(draft, FILTER_SLICE)
        new = self._unseen(requests, draft) if self._limits.enabled else requests
        for request in new:
            request.result = Appended.STORED
        if new:
            self._insert(
                [(request.notification, request.notification.received_at_ms) for request in new], draft
            )

    def restore(self, request: Restore, draft: Draft) -> None:
        """Store those deliveries that are not pending, past the duplicates window (promise 12)."""
        notification = request.notification
        ids = {delivery.id: delivery for delivery in notification.deliveries}
        pending = {row[0] for row in self._file.rows("pending_ids", json_rows(tuple(ids)))}
        missing = tuple(delivery for id_, delivery in ids.items() if id_ not in pending)
        request.result = frozenset(delivery.id for delivery in missing)
        if missing:
            self._insert([(_with(notification, missing), request.clock_started_ms)], draft)

    def forget_excess(self, draft: Draft, now_ms: int) -> None:
        """Remove a slice of what the duplicates window need not hold."""
        self._forget(draft, now_ms, FORGET_SLICE)

    def wants_filter(self, buckets: duplicates.Buckets) -> bool:
        """Whether some bucket still lacks its filter."""
        return self._filters.wanted(buckets) is not None

    def make_filters(self, draft: Draft, slice_keys: int = FILTER_SLICE_IDLE) -> None:
        """Do a step towards the filters of closed buckets; at the start of a batch, see `Filters.wanted`."""
        wanted = self._filters.wanted(draft.buckets)
        if wanted is None:
            return
        bucket, after = wanted
        [(keys,)] = self._file.rows("keys_after", bucket.id, after, slice_keys)
        self._filters.take_in(bucket, keys)
        if len(keys) < slice_keys * KEY_BYTES:
            self._file.do("put_filter", bucket.id, self._filters.finish(bucket))

    def _unseen(self, requests: list[Append], draft: Draft) -> list[Append]:
        """Return what is no duplicate, remembered; the others are marked."""
        now_ms = max(request.notification.received_at_ms for request in requests)
        digests = [
            duplicates.digest(request.notification.body.app, request.notification.body.raw)
            for request in requests
        ]
        known = self._known(digests, duplicates.alive(draft.buckets, now_ms, self._limits))
        new: dict[bytes, Append] = {}
        for position, (key, request) in enumerate(zip(digests, requests, strict=True)):
            request.result = Appended.DUPLICATE
            if position not in known:
                new.setdefault(key, request)
        if new:
            self._remember(tuple(new), now_ms, draft)
        return list(new.values())

    def _known(self, digests: list[bytes], alive: list[int]) -> set[int]:
        """Return the positions of those that one of the buckets has."""
        plain = [id_ for id_ in alive if id_ not in self._filters]
        known = self._look_up(digests, plain) if plain else set()
        positions, buckets = self._filters.candidates(digests, alive)
        if positions:
            found = self._look_up([digests[position] for position in positions], sorted(buckets))
            known |= {positions[index] for index in found}
        return known

    def _look_up(self, digests: list[bytes], buckets: list[int]) -> set[int]:
        rows = self._file.rows("known_digests", apsw.carray(tuple(digests)), json_rows(buckets))
        return {row[0] for row in rows}

    def _remember(self, keys: tuple[bytes, ...], now_ms: int, draft: Draft) -> None:
        draft.buckets = duplicates.with_current(draft.buckets, now_ms, self._limits)
        current = draft.buckets[-1].id
        self._file.do("remember_digests", current, apsw.carray(keys))
        draft.buckets = duplicates.with_keys(draft.buckets, current, self._file.changes())
        last = draft.buckets[-1]
        self._file.do("put_bucket", last.id, last.start_ms, last.end_ms, last.keys)
        self._forget(draft, now_ms, FORGET_SLICE + len(keys))

    def _forget(self, draft: Draft, now_ms: int, limit: int) -> None:
        excess = duplicates.excess(draft.buckets, now_ms, self._limits)
        if excess is None:
            return
        wanted = min(limit, excess.keys)
        bucket = excess.bucket
        self._file.do("forget_digests", bucket.id, wanted)
        removed = self._file.changes()
        draft.buckets = duplicates.with_keys(
            draft.buckets, bucket.id, -wanted if removed == wanted else -bucket.keys
        )
        left = next((other for other in draft.buckets if other.id == bucket.id), None)
        if left is None:
            self._file.do("drop_bucket", bucket.id)
            self._file.do("drop_filter", bucket.id)
        else:
            self._file.do("put_bucket", left.id, left.start_ms, left.end_ms, left.keys)

    def _insert(self, items: list[tuple[Notification, int]], draft: Draft) -> None:
        """Store notifications with the start of their give-up clock; one without deliveries needs no row."""
        notifications: list[tuple[object, ...]] = []
        deliveries: list[tuple[object, ...]] = []
        bodies: list[bytes] = []
        ordered: list[tuple[object, ...]] = []
        turns: list[tuple[object, ...]] = []
        seq = draft.next_seq
        draft.stored = True
        for notification, clock_ms in items:
            planned = notification.deliveries
            if not planned:
                continue
            body, received_ms = notification.body, notification.received_at_ms
            notifications.append(
                (
                    seq,
                    notification.id,
                    body.app,
                    received_ms,
                    zlib.crc32(body.raw),
                    len(planned),
                    notification.object,
                    len(body.raw),
                )
            )
            bodies.append(body.raw)
            for position, new in enumerate(planned):
                chosen = _selection_text(new.selection)
                deliveries.append(
                    (new.target, received_ms, seq, position, new.id, chosen, clock_ms, new.changes, new.lane)
                )
                draft.count(new.target, 1, len(body.raw))
                draft.ready.add(new.target)
                if new.order_keys:
                    ordered.append((new.target, received_ms, seq, position))
                    turns += ((new.target, key, seq, position) for key in new.order_keys)
            seq += 1
        if not bodies:
            return
        self._file.do("add_notifications", json_rows(notifications))
        self._file.do("add_bodies", draft.next_seq - 1, apsw.carray(tuple(bodies)))
        self._file.expect_changes(len(bodies), "bodies to store")
        self._file.do("add_deliveries", json_rows(deliveries))
        if ordered:
            self._file.do("add_turns", json_rows(turns))
            self._file.do("queue_up", WAITS_FOR_ANOTHER_MS, json_rows(ordered))
        draft.next_seq = seq


def _with(notification: Notification, deliveries: tuple[NewDelivery, ...]) -> Notification:
    return Notification(
        id=notification.id,
        received_at_ms=notification.received_at_ms,
        body=notification.body,
        deliveries=deliveries,
        object=notification.object,
    )


def _selection_text(selection: tuple[int, ...] | None) -> str | None:
    """Return how positions are stored."""
    return None if selection is None else ",".join(map(str, selection))
