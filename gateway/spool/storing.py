"""Appends and restores, inside the transaction of a batch (promises 1 to 4, 12 and 13)."""

import zlib

import apsw

from gateway.spool.at_hand import AtHand
from gateway.spool.contract import Appended, NewDelivery, Notification
from gateway.spool.requests import Append, Restore, Take
from gateway.spool.session import NOT_STARTED, WAITS_FOR_ANOTHER_MS, Draft, Place, Session, Started, json_rows
from gateway.spool.stored_forms import selection_text
from gateway.spool.window import Window


class Storing:
    """What puts notifications into the file."""

    def __init__(self, file: Session, window: Window, at_hand: AtHand) -> None:
        self._file = file
        self._window = window
        self._at_hand = at_hand

    def append(self, requests: list[Append], takes: list[Take], draft: Draft) -> None:
        """Store what is new; a second one of the same batch is a duplicate like any other (promise 3).

        `takes` of the same batch are answered, as far as what is at hand answers them.
        """
        new = self._window.unseen(requests, draft) if requests else []
        for request in new:
            request.result = Appended.STORED
        notifications = [request.notification for request in new if request.notification.deliveries]
        started = self._at_hand.lease(notifications, takes, draft)
        if new:
            self._insert([(one, one.received_at_ms) for one in notifications], draft, started)

    def restore(self, request: Restore, draft: Draft) -> None:
        """Store those deliveries that are not pending, past the duplicates window (promise 12)."""
        notification = request.notification
        ids = {delivery.id: delivery for delivery in notification.deliveries}
        pending = {row[0] for row in self._file.rows("pending_ids", json_rows(tuple(ids)))}
        missing = tuple(delivery for id_, delivery in ids.items() if id_ not in pending)
        request.result = frozenset(delivery.id for delivery in missing)
        if missing:
            for delivery in missing:
                draft.forget(delivery.target)
            self._insert([(_with(notification, missing), request.clock_started_ms)], draft, {})

    def _insert(
        self, items: list[tuple[Notification, int]], draft: Draft, started: dict[Place, Started]
    ) -> None:
        """Store notifications with the start of their give-up clock; one without deliveries needs no row.

        `started`: what is leased with it.
        """
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
                begun = started.get((seq, position))
                deliveries.append(
                    (
                        *(new.target, received_ms, seq, position, new.id, chosen),
                        *(clock_ms, new.changes, new.lane),
                        *(begun or NOT_STARTED),
                    )
                )
                draft.count(new.target, 1, len(body.raw))
                if begun is None:
                    draft.ready.add(new.target)
                if new.order_keys:
                    ordered.append((new.target, received_ms, seq, position))
                    turns += ((new.target, key, seq, position) for key in new.order_keys)
            seq += 1
        if not bodies:
            return
        self._file.do_each("add_notifications", notifications)
        self._file.do("add_bodies", draft.next_seq - 1, apsw.carray(tuple(bodies)))
        self._file.expect_changes(len(bodies), "bodies to store")
        self._file.do_each("add_deliveries", deliveries)
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
