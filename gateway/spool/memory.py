"""The spool in memory: a fake for the tests of what stands around the spool; tests/contracts holds it to the
promises. What a disk would keep is in a `MemoryState`, so opening that again is a restart.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter

import trio

from gateway.core.lanes import ORDER, Lane
from gateway.core.merging import MAX_MERGED_CHANGES, Merging, group_key, plan_groups
from gateway.core.pausing import Pauses
from gateway.errors import SpoolBrokenError, SpoolLockedError, SpoolUnavailableError
from gateway.spool import duplicates, memory_keeping, memory_tracing
from gateway.spool.contract import (
    HOLD_MS,
    Appended,
    Buried,
    Done,
    Kept,
    KeptStates,
    Lease,
    NewDelivery,
    Notification,
    Offer,
    Place,
    Release,
    Remembered,
    RetryLater,
    Room,
    Settlement,
)
from gateway.spool.history import AttemptRecord, Mentions, TracedNotification
from gateway.spool.intake import check_notification, check_pauses, check_settlements
from gateway.spool.letters import TakenLetter
from gateway.spool.memory_state import Key, MemoryState, StoredDelivery

_tokens = itertools.count(1)
"""Over all openings: a lease of one is never taken for one of another."""


@asynccontextmanager
async def open_memory_spool(
    state: MemoryState,
    *,
    duplicates_window_seconds: float = 604_800,
    duplicates_max: int = 20_000_000,
    keep_delivered_seconds: float = 0.0,
    now_ms: Callable[[], int] = lambda: 0,
) -> AsyncIterator["MemorySpool"]:
    """Open a state. `now_ms` says when something was delivered that is kept.

    Raises:
        SpoolLockedError: it is open already.
    """
    if state.opened:
        raise SpoolLockedError("the spool is in use")
    state.opened = True
    limits = duplicates.Limits(window_ms=round(duplicates_window_seconds * 1000), max_keys=duplicates_max)
    spool = MemorySpool(state, limits, keep_ms=round(keep_delivered_seconds * 1000), now_ms=now_ms)
    try:
        yield spool
    finally:
        spool.closed = True
        state.opened = False


class MemorySpool:
    """A `Spool`. Made by `open_memory_spool`."""

    def __init__(
        self,
        state: MemoryState,
        limits: duplicates.Limits,
        *,
        keep_ms: int = 0,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._keep_ms = keep_ms
        self._now_ms = now_ms
        self._state = state
        self._limits = limits
        self._held: dict[int, Key] = {}
        self._callbacks: list[Callable[[frozenset[str]], None]] = []
        self._broken = trio.Event()
        self.closed = False

    async def append(self, notification: Notification) -> Appended:
        """See `Spool.append`."""
        check_notification(notification)
        await self._enter(storing=True)
        if self._limits.enabled and not self._state.remember(notification, self._limits):
            result = Appended.DUPLICATE
        else:
            self._add(notification, notification.deliveries, notification.received_at_ms)
            result = Appended.STORED
        return result

    @property
    def letters(self) -> None:
        """See `Spool.letters`."""
        return None

    async def restore(
        self, notification: Notification, *, clock_started_ms: int, taken: TakenLetter | None = None
    ) -> frozenset[str]:
        """See `Spool.restore`."""
        check_notification(notification)
        await self._enter(storing=True)
        pending = {delivery.new.id for delivery in self._state.deliveries.values()}
        missing = {new.id: new for new in notification.deliveries if new.id not in pending}
        self._add(notification, tuple(missing.values()), clock_started_ms)
        return frozenset(missing)

    async def lease(
        self,
        target: str,
        *,
        now_ms: int,
        limit: int,
        next_due_ms: Callable[[int], int],
        merging: Merging | None = None,
        lanes: Sequence[Lane] = ORDER,
        hold_ms: int = HOLD_MS,
    ) -> tuple[Lease, ...]:
        """See `Spool.lease`."""
        del hold_ms  # nobody shares it
        await self._enter()
        limit = max(0, limit)
        wanted = (
            limit if merging is None else max(limit, min(limit * merging.max_changes, MAX_MERGED_CHANGES))
        )
        waiting = self._state.waiting(target)
        free = sorted(
            (
                (key, found)
                for key, found in self._free(target)
                if found.due_ms <= now_ms and key not in waiting
            ),
            key=itemgetter(0),
        )
        due = [(key, found) for lane in lanes for key, found in free if found.lane == lane]
        posts = plan_groups([found for _, found in due[:wanted]], limit=limit, merging=merging)
        starts: list[tuple[StoredDelivery, int, str | None]] = []
        for post in posts:
            name = post[0].group_key
            if name is not None:
                post = [found for _, found in due if found.group_key == name]
            elif len(post) > 1:
                name = group_key(post[0].new.id, len(post))
            due_ms = max(1, next_due_ms(post[0].attempt + 1))
            starts += ((found, due_ms, name) for found in post)
        keys = {id(found): key for key, found in due}
        return tuple(
            self._lease(keys[id(found)], found, due_ms, now_ms, name) for found, due_ms, name in starts
        )

    def offer(self, offer: Offer) -> bool:
        """See `Spool.offer`."""
        del offer
        return False

    async def lease_oldest(
        self, target: str, *, now_ms: int, clock_started_by_ms: int, limit: int
    ) -> tuple[Lease, ...]:
        """See `Spool.lease_oldest`."""
        await self._enter()
        free = sorted(self._free(target), key=itemgetter(0))
        started = [(key, found) for key, found in free if found.clock_started_ms <= clock_started_by_ms]
        chosen: dict[Key, StoredDelivery] = {}
        for key, found in started[: max(0, limit)]:
            chosen[key] = found
            if found.group_key is not None:
                chosen.update((k, one) for k, one in free if one.group_key == found.group_key)
        return tuple(self._hand_out(key, found, now_ms, attempting=False) for key, found in chosen.items())

    async def settle(self, lease: Lease, settlement: Settlement) -> bool:
        """See `Spool.settle`."""
        return await self.settle_together(((lease, settlement),))

    async def settle_together(self, settled: Sequence[tuple[Lease, Settlement]]) -> bool:
        """See `Spool.settle_together`."""
        check_settlements(settled)
        await self._enter()
        ended = [self._end(lease, settlement) for lease, settlement in settled]
        return all(ended)

    def _end(self, lease: Lease, settlement: Settlement) -> bool:
        key = self._held.pop(lease.token, None)
        if key is None:
            return False
        found = self._state.deliveries[key]
        match settlement:
            case Done() | Buried():
                del self._state.deliveries[key]
                if self._keep_ms and isinstance(settlement, Done):
                    self._state.kept[key] = found, self._now_ms()
                if found.new.order_keys:
                    self._tell({lease.target})
            case RetryLater(at_ms=at_ms, record=record, group=group):
                found.due_ms, found.attempt_at_ms = max(1, at_ms), None
                found.group_key = group
                found.attempts.append(record)
            case Release(alone=leaves):
                if lease.attempting:
                    found.attempt -= 1
                    found.attempt_at_ms = None
                    found.group_key = found.group_key if found.attempt else None
                    found.due_ms = 0 if found.group_key is None else 1
                if leaves:
                    found.due_ms, found.group_key = 0, None
                self._tell({lease.target})
        return True

    async def next_due_ms(self, target: str) -> int | None:
        """See `Spool.next_due_ms`; 0 means at once."""
        await self._enter()
        waiting = self._state.waiting(target)
        return min((found.due_ms for key, found in self._free(target) if key not in waiting), default=None)

    async def hasten(self, target: str, *, now_ms: int, limit: int) -> int:
        """See `Spool.hasten`."""
        await self._enter(storing=True)
        waiting, now_ms, done = self._state.waiting(target), max(1, now_ms), 0
        for lane in ORDER:
            later = [
                one
                for key, one in self._free(target)
                if one.due_ms > now_ms and key not in waiting and one.lane == lane
            ]
            dues = sorted((one.due_ms for one in later), reverse=True)[: max(0, max(1, limit) - done)]
            for one in (one for one in later if dues and one.due_ms >= dues[-1]):
                one.due_ms, done = now_ms, done + 1
        if done:
            self._tell({target})
        return done

    async def oldest_received_ms(self) -> Mapping[str, int]:
        """See `Spool.oldest_received_ms`."""
        await self._enter()
        return self._state.oldest(lambda found: found.notification.received_at_ms)

    async def oldest_clock_ms(self) -> Mapping[str, int]:
        """See `Spool.oldest_clock_ms`."""
        await self._enter()
        return self._state.oldest(lambda found: found.clock_started_ms)

    async def pauses(self) -> Mapping[str, Pauses]:
        """See `Spool.pauses`."""
        await self._enter()
        return dict(self._state.pauses)

    async def set_pauses(self, target: str, pauses: Pauses, *, former: Pauses | None = None) -> bool:
        """See `Spool.set_pauses`."""
        check_pauses(target, pauses)
        await self._enter(storing=True)
        if former not in (None, self._state.pauses.get(target, ())):
            return False
        self._state.pauses.pop(target, None)
        if pauses:
            self._state.pauses[target] = pauses
        return True

    async def kept(
        self, *, since_ms: int, until_ms: int, after: Place | None = None, limit: int
    ) -> tuple[Kept, ...]:
        """See `Spool.kept`."""
        await self._enter()
        self._state.forget_kept(self._now_ms() - self._keep_ms)
        return memory_keeping.read_kept(
            self._state, since_ms=since_ms, until_ms=until_ms, after=after, limit=limit
        )

    async def kept_states(self, ids: Sequence[str]) -> KeptStates:
        """See `Spool.kept_states`."""
        await self._enter()
        self._state.forget_kept(self._now_ms() - self._keep_ms)
        return KeptStates(
            waiting=frozenset(found.new.id for found in self._state.deliveries.values()).intersection(ids),
            kept=frozenset(found.new.id for found, _ in self._state.kept.values()).intersection(ids),
        )

    async def send_again(
        self, items: Sequence[tuple[Kept, NewDelivery]], *, clock_started_ms: int
    ) -> frozenset[str]:
        """See `Spool.send_again`."""
        await self._enter(storing=True)
        self._state.forget_kept(self._now_ms() - self._keep_ms)
        added = memory_keeping.send_again(self._state, items, clock_started_ms=clock_started_ms)
        self._tell({new.target for _, new in items if new.id in added})
        return added

    async def oldest_kept_ms(self) -> int | None:
        """See `Spool.oldest_kept_ms`."""
        await self._enter()
        self._state.forget_kept(self._now_ms() - self._keep_ms)
        return min((at_ms for _, at_ms in self._state.kept.values()), default=None)

    async def trace(self, notification_id: str) -> TracedNotification | None:
        """See `Spool.trace`."""
        await self._enter()
        self._state.forget_kept(self._now_ms() - self._keep_ms)
        return memory_tracing.trace(self._state, notification_id)

    async def mentions(self, needles: Sequence[bytes], *, before: int | None = None) -> Mentions:
        """See `Spool.mentions`; a slice is one body."""
        await self._enter()
        self._state.forget_kept(self._now_ms() - self._keep_ms)
        return memory_tracing.find_mentions(self._state, needles, before=before)

    def remembered(self, now_ms: int) -> Remembered:
        """See `Spool.remembered`."""
        buckets = self._state.buckets
        return Remembered(
            keys=sum(bucket.keys for bucket in buckets),
            since_ms=duplicates.kept_since_ms(buckets, now_ms, self._limits),
        )

    def pending(self) -> Mapping[str, int]:
        """See `Spool.pending`."""
        counts: dict[str, int] = {}
        for found in self._state.deliveries.values():
            counts[found.new.target] = counts.get(found.new.target, 0) + 1
        return counts

    def pending_bytes(self) -> Mapping[str, int]:
        """See `Spool.pending_bytes`."""
        sizes: dict[str, int] = {}
        for found in self._state.deliveries.values():
            sizes[found.new.target] = sizes.get(found.new.target, 0) + found.raw_bytes
        return sizes

    def on_ready(self, callback: Callable[[frozenset[str]], None]) -> None:
        """See `Spool.on_ready`."""
        self._callbacks.append(callback)

    def on_pauses(self, callback: Callable[[Mapping[str, Pauses]], None]) -> None:
        """See `Spool.on_pauses`: nobody shares it."""

    def room(self) -> Room:
        """See `Spool.room`."""
        trouble = (
            "the disk failed" if self._broken.is_set() else "the disk is full" if self._state.full else ""
        )
        return Room(
            free_bytes=0 if self._state.full else 1 << 30,
            total_bytes=1 << 30,
            enough=not self._state.full,
            writable=not trouble,
            detail=trouble,
        )

    def size_bytes(self) -> int:
        """See `Spool.size_bytes`."""
        return sum(len(found.notification.body.raw) for found in self._state.deliveries.values())

    async def wait_broken(self) -> None:
        """See `Spool.wait_broken`."""
        await self._broken.wait()

    # -- inside

    async def _enter(self, *, storing: bool = False) -> None:
        """Everything after this is done without a pause: whole, or not at all."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self.closed:
            raise SpoolUnavailableError("the spool is closed")
        if self._state.failing:
            self._broken.set()
        if self._broken.is_set():
            raise SpoolBrokenError("the disk failed")
        if storing and self._state.full:
            raise SpoolUnavailableError("the disk is full")

    def _add(self, notification: Notification, planned: tuple[NewDelivery, ...], clock_ms: int) -> None:
        seq = self._state.next_seq
        self._state.next_seq += 1
        for position, new in enumerate(planned):
            key = (notification.received_at_ms, seq, position)
            self._state.deliveries[key] = StoredDelivery(
                notification=notification, new=new, clock_started_ms=clock_ms
            )
        self._tell({new.target for new in planned})

    def _free(self, target: str) -> list[tuple[Key, StoredDelivery]]:
        held = set(self._held.values())
        return [
            (key, found)
            for key, found in self._state.deliveries.items()
            if found.new.target == target and key not in held
        ]

    def _lease(self, key: Key, found: StoredDelivery, due_ms: int, now_ms: int, group: str | None) -> Lease:
        self._note_interrupted(found)
        found.attempt += 1
        found.attempt_at_ms, found.due_ms, found.group_key = now_ms, due_ms, group
        return self._hand_out(key, found, now_ms, attempting=True)

    def _note_interrupted(self, found: StoredDelivery) -> None:
        if found.attempt_at_ms is not None:
            interrupted = AttemptRecord.interrupted(number=found.attempt, at_ms=found.attempt_at_ms)
            found.attempts.append(interrupted)
            found.attempt_at_ms = None

    def _hand_out(self, key: Key, found: StoredDelivery, now_ms: int, *, attempting: bool) -> Lease:
        if not attempting:
            self._note_interrupted(found)
        token = next(_tokens)
        self._held[token] = key
        return Lease(
            token=token,
            delivery_id=found.new.id,
            notification_id=found.notification.id,
            app=found.notification.body.app,
            target=found.new.target,
            raw=self._state.damaged.get(found.notification.id, found.notification.body.raw),
            selection=found.new.selection,
            received_at_ms=found.notification.received_at_ms,
            clock_started_ms=found.clock_started_ms,
            attempt=found.attempt,
            leased_at_ms=now_ms,
            earlier=tuple(found.attempts),
            group=found.group_key,
            attempting=attempting,
            damaged=found.notification.id in self._state.damaged,
        )

    def _tell(self, targets: set[str]) -> None:
        if targets:
            for callback in self._callbacks:
                callback(frozenset(targets))
