"""Handing what the spool holds to the targets, each target for itself (law 9).

Every target has a task, lanes and limits of its own; what they share is the spool's group commit. Each
attempt's number and the time of the next are durable before it starts (law 5): the spool stores them with
the lease. So a process that dies anywhere in here loses nothing, and does again only what was under way.

An exception that is not foreseen ends the dispatcher, and with it the process: its supervisor starts it
anew, and the spool has everything. That is better than a target whose task died in silence. What a target
answers, and what Meta sent, can raise none: it becomes a retry or a dead letter.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import trio

from gateway.core.merging import Merging
from gateway.core.pausing import Pauses
from gateway.core.retry import RetryPolicy, give_up_at_ms
from gateway.core.routing import UNROUTED
from gateway.delivery.attempts import Surroundings, TargetAttempts
from gateway.delivery.burial import UNROUTED_POLICY, DeadLetters, Undertaker
from gateway.delivery.expiry import Expiry
from gateway.delivery.gate import Gate
from gateway.delivery.lease_loop import LeaseLoop
from gateway.delivery.parcel import Parcel
from gateway.delivery.pause_book import HASTENED_AT_ONCE, PauseBook
from gateway.delivery.resolver import PerHostResolver
from gateway.delivery.sender import AttemptLane, Endpoint, Lane
from gateway.delivery.shared_letters import SharedLetters
from gateway.delivery.target import DispatchTarget
from gateway.delivery.view import TargetView
from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import HOLD_MS, Spool
from gateway.telemetry.journal import Journal
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.notification_lines import NotificationLog, TroubleLines

UNROUTED_AT_ONCE: Final = 8
"""Burials at once of what no route takes; twice the threads that write, so that these never wait for work."""
SETTLE_GRACE_SECONDS: Final = 5.0
"""After the drain's time-out: for attempts that have their answer, to store it. One commit, or one dead
letter.
"""

_log = get_logger("delivery")


class Dispatcher:
    """Delivers what is due, until it is drained."""

    def __init__(
        self,
        *,
        spool: Spool,
        targets: Mapping[str, DispatchTarget],
        dead_letters: DeadLetters,
        metrics: Metrics,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        app_secret: Callable[[str], bytes | None],
        sender: Callable[[Endpoint], AttemptLane] = Lane,
        log_notifications: Callable[[], NotificationLog] = lambda: "problems",
        journal: Journal | None = None,
        processes: int = 1,
        shared: SharedLetters | None = None,
    ) -> None:
        """`app_secret` gives an app's first secret; `sender` opens one lane to an endpoint;
        `log_notifications` is the setting as it holds now; `journal` is told what targets take; `processes`
        deliver besides each other, this one among them, and share the rate of a `resume`; `shared` are the
        dead letters, where gateways share the spool."""
        self._processes = processes
        self._spool = spool
        lines = TroubleLines(log_notifications, clock=trio.current_time)
        self._undertaker = Undertaker(
            spool=spool,
            dead_letters=dead_letters,
            metrics=metrics,
            now_ms=now_ms,
            lines=lines,
            shared=shared,
        )
        self._now_ms = now_ms
        self._random = random
        self._sender = sender
        self._surroundings = Surroundings(
            spool=spool,
            undertaker=self._undertaker,
            metrics=metrics,
            now_ms=now_ms,
            random=random,
            app_secret=app_secret,
            journal=journal or Journal(),
            lines=lines,
        )
        self._targets: dict[str, DispatchTarget] = {}
        self._book = PauseBook(spool, now_ms)
        self._gates: dict[str, Gate] = {}
        self._attempts: dict[str, TargetAttempts] = {}
        self._retired: set[TargetAttempts] = set()
        """Of targets that have left the configuration, until their last attempt has ended."""
        self._loops = {UNROUTED: self._loop(UNROUTED, UNROUTED_AT_ONCE, UNROUTED_POLICY, None, None)}
        for name, target in targets.items():
            self._add(name, target)
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        """While new targets may be taken on."""
        self._finished = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until drained or cancelled.

        Raises:
            SpoolBrokenError: the spool has failed for good.
        """
        self._spool.on_ready(self._ready)
        await self._book.load()
        self._spool.on_pauses(self._follow_pauses)
        for name in self._gates:
            self._note_pauses(name)
        self._tell_of_unknown()
        former = trio.socket.set_custom_hostname_resolver(PerHostResolver())
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    for name in self._attempts:
                        self._begin(self._nursery, name)
                    self._nursery.start_soon(self._loops[UNROUTED].run, self._bury)
                    task_status.started()
        finally:
            trio.socket.set_custom_hostname_resolver(former)
            self._finished.set()
            for attempts in self._all_attempts():
                await attempts.aclose()

    def views(self) -> Mapping[str, TargetView]:
        """Return how each target is, for people."""
        return {name: gate.view() for name, gate in self._gates.items()}

    async def pause(self, name: str, *, seconds: float | None, reason: str) -> None:
        """Leave a target alone, for so long or until it is resumed; durable on return.

        Attempts under way end as they do. Raises SpoolUnavailableError: nothing has changed.
        """
        await self._book.pause(name, seconds=seconds, reason=reason)
        self._note_pauses(name)

    async def resume(self, name: str, *, rate_per_second: float | None) -> None:
        """Deliver to a target again, at that rate until nothing that is due waits. Raises as `pause`.

        What waits for a later attempt is due now, the first of it on return. Those that fail meanwhile are
        not hurried for ever: no more are made due than wait now.
        """
        now_ms, left = self._now_ms(), self._spool.pending().get(name, 0)
        # First, since a target that finds nothing due has caught up, and loses its rate.
        left -= await self._spool.hasten(name, now_ms=now_ms, limit=HASTENED_AT_ONCE)
        await self._book.resume(name, rate_per_second=rate_per_second)
        self._note_pauses(name)
        if self._nursery is not None:
            self._nursery.start_soon(self._hasten, name, now_ms, left)

    async def _hasten(self, name: str, now_ms: int, left: int) -> None:
        try:
            while left > 0 and (
                done := await self._spool.hasten(name, now_ms=now_ms, limit=HASTENED_AT_ONCE)
            ):
                left -= done
        except SpoolUnavailableError as error:
            _log.error("lease_failed", target=name, error=error.message)  # the rest is due when it was

    def next_give_ups_ms(self, oldest_clock_ms: Mapping[str, int]) -> Mapping[str, int]:
        """Return per target when its next delivery is given up, from `Spool.oldest_clock_ms`."""
        return {
            name: give_up_at_ms(target.policy, self._gates[name].clock_ms(oldest_clock_ms[name]))
            for name, target in self._targets.items()
            if name in oldest_clock_ms
        }

    def adopt(self, targets: Mapping[str, DispatchTarget]) -> None:
        """Deliver to these targets from now on. A target that is the same object as before is left alone.

        Attempts under way end as they began. What waits for a target that is gone stays in the spool. It
        cannot fail, and no delivery is leased twice: leases are the spool's.
        """
        if self._nursery is None:
            return  # draining: nothing is begun any more
        for name in self._targets.keys() - targets.keys():
            del self._targets[name]
            self._loops.pop(name).stop()
            self._retired.add(self._attempts.pop(name))
            self._gates.pop(name).retire()
        for name, target in targets.items():
            if name not in self._targets:
                self._add(name, target)
                self._begin(self._nursery, name)
            elif target is not self._targets[name]:
                self._targets[name] = target
                self._gates[name].adopt(target.breaker, hands=target.concurrency)
                self._attempts[name].adopt(target)
                self._nursery.start_soon(self._attempts[name].close_past)
                self._loops[name].adopt(
                    hands=target.concurrency,
                    policy=target.policy,
                    merging=target.merging,
                    hold_ms=target.hold_ms,
                )
        self._tell_of_unknown()

    async def drain(self, timeout_seconds: float) -> None:
        """Start no attempt; let those under way end within the time-out; then make `run` return.

        What is cut short stays as it was stored when it began: attempted, and due at its next time.
        """
        started, self._nursery = self._nursery is not None, None
        for loop in self._loops.values():
            loop.stop()
        if not started:
            return
        with trio.move_on_after(timeout_seconds):
            await self._finished.wait()
        for attempts in self._all_attempts():
            attempts.cut_short()
        with trio.move_on_after(SETTLE_GRACE_SECONDS):
            await self._finished.wait()
        self._scope.cancel()
        await self._finished.wait()

    def _add(self, name: str, target: DispatchTarget) -> None:
        self._targets[name] = target
        gate = Gate(
            name,
            target.breaker,
            hands=target.concurrency,
            metrics=self._surroundings.metrics,
            now_ms=self._now_ms,
            processes=self._processes,
        )
        gate.set_pauses(self._book.of(name))
        self._gates[name] = gate
        self._attempts[name] = TargetAttempts(name, target, self._sender, self._surroundings, gate)
        self._loops[name] = self._loop(
            name, target.concurrency, target.policy, target.merging, gate, hold_ms=target.hold_ms
        )

    def _loop(
        self,
        name: str,
        hands: int,
        policy: RetryPolicy,
        merging: Merging | None,
        gate: Gate | None,
        *,
        hold_ms: int = HOLD_MS,
    ) -> LeaseLoop:
        return LeaseLoop(
            spool=self._spool,
            target=name,
            hands=hands,
            policy=policy,
            now_ms=self._now_ms,
            random=self._random,
            merging=merging,
            hold_ms=hold_ms,
            gate=gate,
            caught_up=None if gate is None else partial(self._catch_up, name),
        )

    def _begin(self, nursery: trio.Nursery, name: str) -> None:
        attempts, gate = self._attempts[name], self._gates[name]
        expiry = Expiry(
            spool=self._spool,
            target=name,
            gate=gate,
            started_by_ms=lambda: gate.started_by_ms(attempts.target.policy.give_up_after_seconds),
            max_pending_bytes=lambda: attempts.target.max_pending_bytes,
            give_up=attempts.give_up,
            settle=self._undertaker.settle,
            now_ms=self._now_ms,
        )
        nursery.start_soon(self._deliver, self._loops[name], attempts, expiry, name=f"deliver to {name}")

    async def _deliver(self, loop: LeaseLoop, attempts: TargetAttempts, expiry: Expiry) -> None:
        """Deliver to one target until it is stopped."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expiry.run)
            await loop.run(attempts.take)
            nursery.cancel_scope.cancel()
        self._retired.discard(attempts)
        await attempts.aclose()

    async def _catch_up(self, name: str) -> None:
        try:
            await self._book.catch_up(name)
        except SpoolUnavailableError as error:
            _log.error("lease_failed", target=name, error=error.message)
            return  # the rate stands until it can be taken back
        self._note_pauses(name)

    async def follow_pauses(self) -> None:
        """Do as the spool says now; raises as `pause`."""
        self._follow_pauses(await self._spool.pauses())

    def _follow_pauses(self, pauses: Mapping[str, Pauses]) -> None:
        for name in self._book.adopt(pauses):
            _log.info("target_pauses_followed", target=name)
            self._note_pauses(name)

    def _note_pauses(self, name: str) -> None:
        if (gate := self._gates.get(name)) is not None:
            gate.set_pauses(self._book.of(name))
            self._loops[name].wake()

    def _all_attempts(self) -> tuple[TargetAttempts, ...]:
        return (*self._attempts.values(), *self._retired)

    async def _bury(self, parcel: Parcel) -> bool:
        await self._undertaker.bury_unrouted(parcel.first)
        return False  # or its dead letter could not be written

    def _ready(self, targets: frozenset[str]) -> None:
        for name in targets:
            if loop := self._loops.get(name):
                loop.wake()

    def _tell_of_unknown(self) -> None:
        for name, pending in self._spool.pending().items():
            if name not in self._loops and pending:
                _log.warning("target_unknown_pending", target=name, pending=pending)
