"""Appends and restores, inside the transaction of a batch (promises 1 to 4, 12 and 13)."""

import zlib

import apsw

from gateway.spool.contract import Appended, NewDelivery, Notification
from gateway.spool.requests import Append, Restore
from gateway.spool.session import WAITS_FOR_ANOTHER_MS, Draft, Session, json_rows
from gateway.spool.stored_forms import selection_text
from gateway.spool.window import Window


class Storing:
    """What puts notifications into the file."""

    def __init__(self, file: Session, window: Window) -> None:
        self._file = file
        self._window = window

    def append(self, requests: list[Append], draft: Draft) -> None:
        """Store what is new; a second one of the same batch is a duplicate like any other (promise 3)."""
        if not requests:
            return
        new = self._window.unseen(requests, draft)
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
                chosen = selection_text(new.selection)
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
