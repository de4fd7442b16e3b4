"""What a spool with a database does on the Trio thread: queue requests, count, and wake whoever waits.

Who groups the requests into transactions, and how, is the business of what stands behind (`_put`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

from gateway.core.lanes import ORDER, Lane
from gateway.core.merging import Merging
from gateway.core.pausing import Pauses
from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError
from gateway.spool import requests
from gateway.spool.contract import (
    HOLD_MS,
    Appended,
    Kept,
    KeptStates,
    Lease,
    NewDelivery,
    Notification,
    Offer,
    Place,
    Room,
    Settlement,
)
from gateway.spool.history import Mentions, TracedNotification
from gateway.spool.intake import check_notification, check_pauses, check_settlements
from gateway.spool.letters import LetterIndex, TakenLetter
from gateway.telemetry.log import get_logger

log = get_logger("spool")

MAX_QUEUED_REQUESTS = 8192
"""Notifications that may wait for the writer: about a second's worth; beyond it Meta hears 503."""
MAX_QUEUED_BYTES = 64 * 1024**2
"""Bodies that may wait for the writer."""

_Abort = Callable[[Callable[[], object]], trio.lowlevel.Abort]


def _not_now(_: Callable[[], object]) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


class RoomBook(Protocol):
    """What is known of the room, and what became of the last write."""

    def now(self) -> Room: ...

    def write_failed(self, detail: str) -> bool: ...

    def write_succeeded(self) -> None: ...

    def failed_for_good(self, detail: str) -> None: ...


class SpoolFront:
    """The part of a `Spool` before its writers."""

    def __init__(
        self,
        room: RoomBook,
        *,
        pending: Mapping[str, int],
        pending_bytes: Mapping[str, int],
        max_queued_requests: int,
        max_queued_bytes: int,
    ) -> None:
        self._room = room
        self._pending = dict(pending)
        self._pending_bytes = dict(pending_bytes)
        self._max_queued_requests = max_queued_requests
        self._max_queued_bytes = max_queued_bytes
        self._callbacks: list[Callable[[frozenset[str]], None]] = []
        self._pause_callbacks: list[Callable[[Mapping[str, Pauses]], None]] = []
        self._queued_requests = 0
        self._queued_bytes = 0
        self._failure: SpoolBrokenError | None = None
        self._broken = trio.Event()
        self._closed = False

    def _put(self, request: requests.Request) -> None:
        """Queue a request with who does it."""
        raise NotImplementedError

    async def append(self, notification: Notification) -> Appended:
        """See `Spool.append`. ValueError: an id, a name or a time that cannot be kept."""
        check_notification(notification)
        request = requests.Append(notification=notification)
        await self._store(request)
        return request.result

    async def restore(
        self, notification: Notification, *, clock_started_ms: int, taken: TakenLetter | None = None
    ) -> frozenset[str]:
        """See `Spool.restore`. ValueError: an id, a name or a time that cannot be kept."""
        check_notification(notification)
        request = requests.Restore(notification=notification, clock_started_ms=clock_started_ms, taken=taken)
        await self._store(request)
        return request.result

    @property
    def letters(self) -> LetterIndex | None:
        """See `Spool.letters`."""
        return None

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
        """See `Spool.lease`. SpoolUnavailableError: no room to write the attempts down; nothing is leased."""
        request = requests.Take(
            target=target,
            now_ms=now_ms,
            limit=max(0, limit),
            next_due_ms=next_due_ms,
            merging=merging,
            lanes=tuple(lanes),
            hold_ms=hold_ms,
        )
        await self._ask(request)
        return request.result

    def offer(self, offer: Offer) -> bool:
        """See `Spool.offer`."""
        del offer
        return False

    async def lease_oldest(
        self, target: str, *, now_ms: int, clock_started_by_ms: int, limit: int
    ) -> tuple[Lease, ...]:
        """See `Spool.lease_oldest`."""
        request = requests.TakeOldest(
            target=target, now_ms=now_ms, clock_started_by_ms=clock_started_by_ms, limit=max(0, limit)
        )
        await self._ask(request)
        return request.result

    async def settle(self, lease: Lease, settlement: Settlement) -> bool:
        """See `Spool.settle`. SpoolUnavailableError: no room to write it down; the lease stands."""
        return await self.settle_together(((lease, settlement),))

    async def settle_together(self, settled: Sequence[tuple[Lease, Settlement]]) -> bool:
        """See `Spool.settle_together`. SpoolUnavailableError: no room to write it down; the leases stand."""
        check_settlements(settled)
        request = requests.Settle(settled=tuple((lease.token, settlement) for lease, settlement in settled))
        await self._ask(request)
        return request.result

    async def next_due_ms(self, target: str) -> int | None:
        """See `Spool.next_due_ms`; 0 means at once."""
        request = requests.NextDue(target=target)
        await self._inquire(request)
        return request.result

    async def hasten(self, target: str, *, now_ms: int, limit: int) -> int:
        """See `Spool.hasten`."""
        request = requests.Hasten(target=target, now_ms=now_ms, limit=max(1, limit))
        await self._ask(request)
        return request.result

    async def oldest_received_ms(self) -> Mapping[str, int]:
        """See `Spool.oldest_received_ms`."""
        request = requests.Oldest(targets=tuple(self.pending()))
        await self._inquire(request)
        return request.result

    async def oldest_clock_ms(self) -> Mapping[str, int]:
        """See `Spool.oldest_clock_ms`."""
        request = requests.OldestClock(targets=tuple(self.pending()))
        await self._inquire(request)
        return request.result

    async def pauses(self) -> Mapping[str, Pauses]:
        """See `Spool.pauses`."""
        request = requests.GetPauses()
        await self._inquire(request)
        return request.result

    async def set_pauses(self, target: str, pauses: Pauses, *, former: Pauses | None = None) -> bool:
        """See `Spool.set_pauses`. ValueError: a name, a reason or a time that cannot be kept."""
        check_pauses(target, pauses)
        request = requests.SetPauses(target=target, pauses=pauses, former=former)
        await self._ask(request)
        return request.result

    async def kept(
        self, *, since_ms: int, until_ms: int, after: Place | None = None, limit: int
    ) -> tuple[Kept, ...]:
        """See `Spool.kept`."""
        request = requests.GetKept(since_ms=since_ms, until_ms=until_ms, after=after, limit=max(0, limit))
        await self._ask(request)
        return request.result

    async def kept_states(self, ids: Sequence[str]) -> KeptStates:
        """See `Spool.kept_states`."""
        request = requests.AskKept(ids=tuple(ids))
        await self._ask(request)
        return request.result

    async def send_again(
        self, items: Sequence[tuple[Kept, NewDelivery]], *, clock_started_ms: int
    ) -> frozenset[str]:
        """See `Spool.send_again`."""
        request = requests.SendAgain(items=tuple(items), clock_started_ms=clock_started_ms)
        await self._ask(request)
        return request.result

    async def oldest_kept_ms(self) -> int | None:
        """See `Spool.oldest_kept_ms`."""
        request = requests.OldestKept()
        await self._inquire(request)
        return request.result

    async def trace(self, notification_id: str) -> TracedNotification | None:
        """See `Spool.trace`."""
        request = requests.Trace(notification_id=notification_id)
        await self._inquire(request)
        return request.result

    async def mentions(self, needles: Sequence[bytes], *, before: int | None = None) -> Mentions:
        """See `Spool.mentions`."""
        request = requests.FindMentions(needles=tuple(needles), before=before)
        await self._inquire(request)
        return request.result

    def pending(self) -> Mapping[str, int]:
        """See `Spool.pending`."""
        return dict(self._pending)

    def pending_bytes(self) -> Mapping[str, int]:
        """See `Spool.pending_bytes`."""
        return dict(self._pending_bytes)

    def on_ready(self, callback: Callable[[frozenset[str]], None]) -> None:
        """See `Spool.on_ready`."""
        self._callbacks.append(callback)

    def on_pauses(self, callback: Callable[[Mapping[str, Pauses]], None]) -> None:
        """See `Spool.on_pauses`."""
        self._pause_callbacks.append(callback)

    def room(self) -> Room:
        """See `Spool.room`."""
        return self._room.now()

    async def wait_broken(self) -> None:
        """See `Spool.wait_broken`."""
        await self._broken.wait()

    # -- the way to the writer and back

    async def _store(self, request: requests.Append | requests.Restore) -> None:
        size_bytes = request.size_bytes
        if (
            self._queued_requests >= self._max_queued_requests
            or self._queued_bytes + size_bytes > self._max_queued_bytes
        ):
            raise SpoolUnavailableError(
                "too many notifications wait for the disk", remedy="it passes by itself"
            )
        self._queued_requests += 1
        self._queued_bytes += size_bytes
        try:
            await self._ask(request)
        finally:
            self._queued_requests -= 1
            self._queued_bytes -= size_bytes

    async def _inquire(self, request: requests.Request) -> None:
        """Ask for what changes nothing: who is cancelled waits no more, even where a database hangs."""

        def leave(_: Callable[[], object]) -> trio.lowlevel.Abort:
            request.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await self._ask(request, leave)

    async def _ask(self, request: requests.Request, abort: _Abort = _not_now) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._failure is not None:
            raise _again(self._failure)
        if self._closed:
            raise SpoolUnavailableError("the spool is closed")
        request.task = trio.lowlevel.current_task()
        self._put(request)
        await trio.lowlevel.wait_task_rescheduled(abort)
        if request.error is not None:
            raise _again(request.error)

    def _wake(self, batch: list[requests.Request], effects: requests.Effects) -> None:
        """Give out the answers of a batch: on the Trio thread, where an exception would end the program."""
        self._count(effects)
        if effects.failure is not None:
            if self._room.write_failed(effects.failure.message):
                log.warning("spool_write_failed", detail=effects.failure.message)
        elif effects.stored:
            self._room.write_succeeded()
        for request in batch:
            if request.task is not None:
                trio.lowlevel.reschedule(request.task)
        for offer, leases in effects.fresh:
            self._hand_over(offer, leases)
        if effects.ready:
            self._tell_ready(effects.ready)

    def _count(self, effects: requests.Effects) -> None:
        for target, change in effects.pending.items():
            left = self._pending.get(target, 0) + change
            if left:
                self._pending[target] = left
                size_bytes = self._pending_bytes.get(target, 0) + effects.pending_bytes[target]
                self._pending_bytes[target] = size_bytes
            else:
                self._pending.pop(target, None)
                self._pending_bytes.pop(target, None)

    def _hand_over(self, offer: Offer, leases: tuple[Lease, ...]) -> None:
        try:
            offer.take(leases)
        except Exception as error:  # noqa: BLE001 - see `_wake`; the fault is the callback's
            log.error("spool_ready_callback_failed", error=repr(error))  # noqa: TRY400 - our Logger has no exception()

    def _tell_ready(self, targets: frozenset[str]) -> None:
        for callback in self._callbacks:
            try:
                callback(targets)
            except Exception as error:  # noqa: BLE001 - see `_wake`; the fault is the callback's
                log.error("spool_ready_callback_failed", error=repr(error))  # noqa: TRY400 - our Logger has no exception()

    def _break(self, failure: SpoolBrokenError) -> None:
        self._failure = failure
        self._room.failed_for_good(failure.message)
        log.error("spool_broken", detail=failure.message)
        self._broken.set()


def _again(error: Exception) -> Exception:
    """Return an error of one's own: many tasks that raise one object would add up its tracebacks."""
    if isinstance(error, GatewayError):
        copy = type(error)(error.message, remedy=error.remedy)
        copy.__cause__ = error
        return copy
    return error
