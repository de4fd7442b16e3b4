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

from gateway.core.retry import expired_started_by_ms, give_up_at_ms
from gateway.core.routing import UNROUTED
from gateway.delivery.attempts import Surroundings, TargetAttempts
from gateway.delivery.burial import UNROUTED_POLICY, DeadLetters, Undertaker
from gateway.delivery.expiry import Expiry
from gateway.delivery.gate import Gate, GateView
from gateway.delivery.lease_loop import LeaseLoop
from gateway.delivery.parcel import Parcel
from gateway.delivery.resolver import PerHostResolver
from gateway.delivery.sender import AttemptLane, Endpoint, Lane
from gateway.delivery.target import DispatchTarget
from gateway.spool.contract import Spool
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics

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
    ) -> None:
        """`app_secret` gives an app's first secret; `sender` opens one lane to an endpoint."""
        self._spool = spool
        self._targets = targets
        self._undertaker = Undertaker(spool=spool, dead_letters=dead_letters, metrics=metrics, now_ms=now_ms)
        surroundings = Surroundings(
            spool=spool,
            undertaker=self._undertaker,
            metrics=metrics,
            now_ms=now_ms,
            random=random,
            app_secret=app_secret,
        )
        self._gates = {
            name: Gate(name, target.breaker, hands=target.concurrency, metrics=metrics, now_ms=now_ms)
            for name, target in targets.items()
        }
        self._attempts = {
            name: TargetAttempts(
                name,
                target,
                [sender(target.endpoint) for _ in range(target.concurrency)],
                surroundings,
                self._gates[name],
            )
            for name, target in targets.items()
        }
        self._expiries = {
            name: Expiry(
                spool=spool,
                target=name,
                gate=self._gates[name],
                started_by_ms=partial(expired_started_by_ms, target.policy),
                give_up=self._attempts[name].give_up,
                now_ms=now_ms,
            )
            for name, target in targets.items()
        }
        self._loops = {
            name: LeaseLoop(
                spool=spool,
                target=name,
                hands=hands,
                policy=policy,
                now_ms=now_ms,
                random=random,
                merging=merging,
                gate=self._gates.get(name),
            )
            for name, hands, policy, merging in (
                *((name, one.concurrency, one.policy, one.merging) for name, one in targets.items()),
                (UNROUTED, UNROUTED_AT_ONCE, UNROUTED_POLICY, None),
            )
        }
        self._scope = trio.CancelScope()
        self._started = False
        self._finished = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until drained or cancelled.

        Raises:
            SpoolBrokenError: the spool has failed for good.
        """
        self._started = True
        self._spool.on_ready(self._ready)
        self._tell_of_unknown()
        former = trio.socket.set_custom_hostname_resolver(PerHostResolver())
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    async with trio.open_nursery() as loops:
                        for name, attempts in self._attempts.items():
                            loops.start_soon(self._loops[name].run, attempts.take, name=f"deliver to {name}")
                            nursery.start_soon(self._expiries[name].run, name=f"give up for {name}")
                        loops.start_soon(self._loops[UNROUTED].run, self._bury)
                        task_status.started()
                    nursery.cancel_scope.cancel()
        finally:
            trio.socket.set_custom_hostname_resolver(former)
            self._finished.set()
            for attempts in self._attempts.values():
                await attempts.aclose()

    def views(self) -> Mapping[str, GateView]:
        """Return how each target is, for people."""
        return {name: gate.view() for name, gate in self._gates.items()}

    def next_give_ups_ms(self, oldest_clock_ms: Mapping[str, int]) -> Mapping[str, int]:
        """Return per target when its next delivery is given up, from `Spool.oldest_clock_ms`."""
        return {
            name: give_up_at_ms(target.policy, oldest_clock_ms[name])
            for name, target in self._targets.items()
            if name in oldest_clock_ms
        }

    async def drain(self, timeout_seconds: float) -> None:
        """Start no attempt; let those under way end within the time-out; then make `run` return.

        What is cut short stays as it was stored when it began: attempted, and due at its next time.
        """
        for loop in self._loops.values():
            loop.stop()
        if not self._started:
            return
        with trio.move_on_after(timeout_seconds):
            await self._finished.wait()
        for attempts in self._attempts.values():
            attempts.cut_short()
        with trio.move_on_after(SETTLE_GRACE_SECONDS):
            await self._finished.wait()
        self._scope.cancel()
        await self._finished.wait()

    async def _bury(self, parcel: Parcel) -> None:
        await self._undertaker.bury_unrouted(parcel.first)

    def _ready(self, targets: frozenset[str]) -> None:
        for name in targets:
            if loop := self._loops.get(name):
                loop.wake()

    def _tell_of_unknown(self) -> None:
        for name, pending in self._spool.pending().items():
            if name not in self._loops and pending:
                _log.warning("target_unknown_pending", target=name, pending=pending)
