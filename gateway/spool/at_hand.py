"""What is due, as far as it is in memory: it can be leased without a look into the file.

Of most targets nothing waits but what was stored a moment ago. That nothing else is due is asked of the file
once (`next_due_ms`); from then on what is stored is noted here, too, and what else may make something due
ends the knowledge (`Draft.wake`, `Draft.forget`), until it is asked again. So a lease needs no statement but
the one that writes its attempts down; and what is leased in the transaction that stores it, for a lease that
is asked of the same batch, or for an offer (promise 32), not even that: the row is written with the attempt
in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from gateway.core.lanes import ORDER, Lane
from gateway.core.merging import MAX_MERGED_CHANGES, Merging, group_key, plan_groups
from gateway.spool.contract import Lease, NewDelivery, Notification, Offer
from gateway.spool.requests import Take
from gateway.spool.session import NEVER_MS, Draft, Held, Place, Session, Started, Stored

MAX_STORED: Final = 1024
"""Deliveries of a target that are noted: some commits of what comes in. A backlog is read from the file."""
MAX_STORED_BYTES: Final = 1024**2
"""Of their notifications: a few hundred targets that take nothing may have this much each."""


@dataclass(slots=True)
class _Known:
    """What is known of a target."""

    until_ms: int
    """Nothing else is due before."""
    stored: list[Stored] = field(default_factory=list)
    """What is due at once, and nobody holds."""


class AtHand:
    """What is known of targets, and the offers that wait for what is stored."""

    def __init__(self, file: Session, token: Callable[[], int]) -> None:
        """`token` gives the next token of a lease."""
        self._file = file
        self._token = token
        self._known: dict[str, _Known] = {}
        self._offers: dict[str, Offer] = {}

    def offer(self, offer: Offer) -> None:
        """Put an offer in place of the last one for its target. Called on the Trio thread, at any time."""
        if offer.until > 0:
            self._offers[offer.target] = offer
        else:
            self._offers.pop(offer.target, None)

    def adopt(self, draft: Draft) -> None:
        """Take over what a committed batch has found out, stored and leased."""
        for offer, leases in draft.fresh:
            offer.handed.attempts += len({lease.group or lease.token for lease in leases})
        for target, left in draft.at_hand.items():
            if target in self._known:
                self._known[target].stored = left
        for target, at_ms in draft.sooner.items():
            if target in self._known:
                self._known[target].until_ms = min(self._known[target].until_ms, at_ms)
        for target in draft.forgotten:
            self._known.pop(target, None)
        for target, due_ms in draft.quiet_until_ms.items():
            self._known[target] = _Known(due_ms)

    def next_due(self, target: str, draft: Draft) -> int | None:
        """Return when something is due that nobody holds; None: the file has to be asked."""
        known = self._known.get(target)
        if known is None or target in draft.forgotten:
            return None
        if draft.at_hand.get(target, known.stored):
            return 0
        return min(known.until_ms, draft.sooner.get(target, NEVER_MS))

    def lease(
        self, notifications: Sequence[Notification], takes: Sequence[Take], draft: Draft
    ) -> dict[Place, Started]:
        """Lease from what is known and from what is about to be stored, in this order.

        Return what is to be written into the rows of the latter. A lease that cannot be answered from here is
        left open.
        """
        news: dict[str, list[Stored]] = {}
        for number, notification in enumerate(notifications):
            for position, new in enumerate(notification.deliveries):
                if new.target in self._known:
                    if new.order_keys:
                        draft.forget(new.target)
                    news.setdefault(new.target, []).append(
                        _stored(draft.next_seq + number, position, notification, new)
                    )
        started: dict[Place, Started] = {}
        by_target = {take.target: take for take in takes}
        for target in news.keys() | by_target.keys():
            known = self._known.get(target)
            if known is not None and target not in draft.forgotten:
                self._lease_of(target, known, news.get(target, []), by_target.get(target), started, draft)
        return started

    def _lease_of(
        self,
        target: str,
        known: _Known,
        new: list[Stored],
        take: Take | None,
        started: dict[Place, Started],
        draft: Draft,
    ) -> None:
        until_ms = min(known.until_ms, draft.sooner.get(target, NEVER_MS))
        left = known.stored + new
        if take is not None and take.now_ms < until_ms:
            due = _in_lanes(left, take.lanes)
            leases = self._begin(due, take.limit, take.merging, take.now_ms, take.next_due_ms, started, draft)
            if leases is not None:
                take.result, take.is_done = leases, True
        elif take is None and not known.stored and (offer := self._offers.get(target)) is not None:
            now_ms, hands = offer.now_ms(), offer.until - offer.handed.attempts
            if hands > 0 and now_ms < until_ms:

                def next_due_ms(attempt: int) -> int:
                    return offer.next_due_ms(now_ms, attempt)

                due = _in_lanes(left, ORDER)
                leases = self._begin(due, hands, offer.merging, now_ms, next_due_ms, started, draft)
                if leases:
                    draft.fresh.append((offer, leases))
        left = [one for one in left if one.place not in started]
        self._start([one for one in known.stored if one.place in started], started)
        for one in known.stored:
            started.pop(one.place, None)
        if len(left) > MAX_STORED or sum(one.raw_bytes for one in left) > MAX_STORED_BYTES:
            draft.forget(target)
        else:
            draft.at_hand[target] = left

    def _begin(
        self,
        due: list[Stored],
        limit: int,
        merging: Merging | None,
        now_ms: int,
        next_due_ms: Callable[[int], int],
        started: dict[Place, Started],
        draft: Draft,
    ) -> tuple[Lease, ...] | None:
        """Lease for up to `limit` attempts; None: `next_due_ms` has failed, and nothing is leased."""
        wanted = (
            limit if merging is None else max(limit, min(limit * merging.max_changes, MAX_MERGED_CHANGES))
        )
        posts = plan_groups(due[:wanted], limit=limit, merging=merging)
        try:
            times = [max(1, next_due_ms(1)) for _ in posts]
        except Exception:  # noqa: BLE001 - the caller's own function: the other way to a lease tells the caller
            return None
        leases: list[Lease] = []
        for post, due_ms in zip(posts, times, strict=True):
            key = group_key(post[0].new.id, len(post)) if len(post) > 1 else None
            begun: Started = (due_ms, 1, now_ms, key)
            for one in post:
                started[one.place] = begun
                leases.append(self._hand_out(one, due_ms, now_ms, key, draft))
        return tuple(leases)

    def _start(self, rows: list[Stored], started: dict[Place, Started]) -> None:
        """Write down the attempts of what is in the file already."""
        starts = [
            (one.new.target, one.notification.received_at_ms, *one.place, due_ms, key, now_ms)
            for one in rows
            for due_ms, _, now_ms, key in (started[one.place],)
        ]
        self._file.expect(self._file.do_each("start_attempts", starts), len(starts), "deliveries to lease")

    def _hand_out(self, one: Stored, due_ms: int, now_ms: int, key: str | None, draft: Draft) -> Lease:
        notification, new = one.notification, one.new
        received_ms = notification.received_at_ms
        token = self._token()
        draft.leased[token] = Held(
            key=(new.target, received_ms, *one.place), due_ms=due_ms, raw_bytes=one.raw_bytes, ordered=False
        )
        return Lease(
            token=token,
            delivery_id=new.id,
            notification_id=notification.id,
            app=one.app,
            target=new.target,
            raw=notification.body.raw,
            selection=new.selection,
            received_at_ms=received_ms,
            clock_started_ms=received_ms,
            attempt=1,
            leased_at_ms=now_ms,
            earlier=(),
            group=key,
        )


def _stored(seq: int, position: int, notification: Notification, new: NewDelivery) -> Stored:
    body = notification.body
    return Stored(
        place=(seq, position),
        notification=notification,
        new=new,
        app=body.app,
        object=notification.object,
        lane=new.lane,
        changes=new.changes,
        raw_bytes=len(body.raw),
    )


def _in_lanes(stored: list[Stored], lanes: Sequence[Lane]) -> list[Stored]:
    """Return them in the order of a lease: lane by lane, in a lane oldest acceptance first."""
    by_lane: dict[int, list[Stored]] = {lane: [] for lane in lanes}
    for one in stored:
        if one.lane in by_lane:
            by_lane[one.lane].append(one)
    for some in by_lane.values():
        some.sort(key=_acceptance)
    return list(chain.from_iterable(by_lane.values()))


def _acceptance(one: Stored) -> tuple[int, Place]:
    return one.notification.received_at_ms, one.place
