"""What lets one target's attempts out: its pauses, and the breaker's state, told to metrics and log.

Lives as long as the process keeps the target, over reloads of its settings.
"""

import math
from collections.abc import Callable
from typing import Final

import trio

from gateway.core import breaker, pausing
from gateway.core.breaker import Breaker, BreakerPolicy, State, Ticket
from gateway.core.pausing import Pause, Pauses
from gateway.delivery.parcel import Parcel
from gateway.delivery.view import TargetState, TargetView
from gateway.spool.history import INTERRUPTED, AttemptRecord
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics

_log = get_logger("delivery")


_SHOWN: Final = {
    State.STARTING: TargetState.DELIVERING,
    State.DELIVERING: TargetState.DELIVERING,
    State.FAILING: TargetState.OPEN,
    State.REFUSING: TargetState.OPEN,
    State.RECOVERING: TargetState.RECOVERING,
}


class Gate:
    """The breaker of one target, between its lease loop and its attempts."""

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        *,
        hands: int,
        metrics: Metrics,
        now_ms: Callable[[], int],
        processes: int = 1,
    ) -> None:
        """`processes` share the rate that a `resume` states, this one among them."""
        self._processes = processes
        self._name = name
        self._policy = policy
        self._hands = hands
        self._metrics = metrics
        self._now_ms = now_ms
        self._breaker = Breaker()
        self._tickets: dict[int, Ticket] = {}
        """Of attempts under way whose outcome is not known yet, by the token of their first lease."""
        self._opened_at_ms: int | None = None
        self._last_failure: AttemptRecord | None = None
        self._retired = False
        self._pauses: Pauses = ()
        self._was_paused = False
        self._next_start_seconds = 0.0
        """While there is a rate: the next attempt does not start before."""
        self._show()

    def adopt(self, policy: BreakerPolicy, *, hands: int) -> None:
        """Go on by other settings; the state stays as it is. It cannot fail."""
        self._policy, self._hands = policy, hands

    def retire(self) -> None:
        """Show nothing any more: the target has left the configuration. It cannot fail."""
        self._retired = True
        self._metrics.breaker_open.remove(self._name)
        for state in TargetState:
            self._metrics.target_state.remove(self._name, str(state))

    def set_pauses(self, pauses: Pauses) -> None:
        """Take note of the pauses; the caller wakes the lease loop."""
        self._pauses = pauses
        self._look_at_pause()

    def clock_ms(self, started_ms: int) -> int:
        """Return when a give-up clock would have started that never stood still."""
        return started_ms + pausing.standstill_ms(self._pauses, started_ms=started_ms, now_ms=self._now_ms())

    def started_by_ms(self, running_seconds: float) -> int:
        """Return the latest start of a give-up clock that has run for so long."""
        return pausing.started_by_ms(
            self._pauses, now_ms=self._now_ms(), running_ms=round(running_seconds * 1000)
        )

    # -- what the lease loop asks

    def startable(self, under_way: int) -> int:
        """Return how many attempts may start now."""
        now_seconds = trio.current_time()
        if self._look_at_pause() is not None:
            return 0
        startable = breaker.startable(
            self._breaker, hands=self._hands, under_way=under_way, now_seconds=now_seconds
        )
        if rate := self._rate():
            return min(startable, max(0, 1 + math.floor((now_seconds - self._next_start_seconds) * rate)))
        return startable

    def startable_in_seconds(self) -> float | None:
        """Return when more may start, from now; None where that is no question of time alone."""
        now_seconds = trio.current_time()
        if (pause := self._look_at_pause()) is not None:
            return None if pause.until_ms is None else max(0.0, (pause.until_ms - self._now_ms()) / 1000)
        waits: list[float] = []
        if self._breaker.open:
            if self._breaker.probing:
                return None
            waits.append(self._breaker.probe_at_seconds - now_seconds)
        if self.paced:
            waits.append(self._next_start_seconds - now_seconds)
        return max(0.0, *waits) if waits else None

    @property
    def paced(self) -> bool:
        """Whether attempts start at a rate."""
        return self._rate() is not None

    def _rate(self) -> float | None:
        """Return how many attempts may start here a second."""
        rate = pausing.rate_after(self._pauses)
        return None if rate is None else rate / self._processes

    def start(self, parcel: Parcel) -> None:
        """Note that an attempt starts; `end` must follow."""
        failed_before = any(record.error != INTERRUPTED for record in parcel.first.earlier)
        if rate := self._rate():
            self._next_start_seconds = (
                max(self._next_start_seconds, trio.current_time() - 1 / rate) + 1 / rate
            )
        after, ticket = breaker.start(self._breaker, failed_before=failed_before)
        self._tickets[parcel.first.token] = ticket
        self._become(after)

    def end(self, parcel: Parcel) -> None:
        """Note that an attempt has ended; one without outcome says nothing of the target."""
        if ticket := self._tickets.pop(parcel.first.token, None):
            self._become(breaker.nothing_learnt(self._breaker, ticket))

    # -- what the attempts tell

    def taken(self, parcel: Parcel) -> None:
        """Note a success."""
        if ticket := self._tickets.pop(parcel.first.token, None):
            self._become(breaker.taken(self._breaker, ticket, hands=self._hands))

    def failed(self, parcel: Parcel) -> None:
        """Note a failure of the target's."""
        if ticket := self._tickets.pop(parcel.first.token, None):
            now_seconds = trio.current_time()
            self._become(breaker.failed(self._breaker, ticket, self._policy, now_seconds=now_seconds))

    def refused(self, parcel: Parcel) -> bool:
        """Note a refusal; return whether it is to be believed: if not, the delivery stays in the spool."""
        ticket = self._tickets.pop(parcel.first.token, None)
        if ticket is None:
            return True
        after, believed = breaker.refused(
            self._breaker,
            ticket,
            self._policy,
            delivery_id=None if parcel.merged else parcel.first.delivery_id,
            now_seconds=trio.current_time(),
        )
        self._become(after)
        return believed

    def remember(self, record: AttemptRecord) -> None:
        """Keep what came of an attempt that the target did not take, for people."""
        self._last_failure = record

    # -- what others see

    @property
    def open(self) -> bool:
        """Whether only probes are sent, which a pause stops, too."""
        return self._breaker.open and not self._was_paused

    def view(self) -> TargetView:
        """Return the state, for people."""
        pause = self._look_at_pause()
        return TargetView(
            state=_SHOWN[self._breaker.state] if pause is None else TargetState.PAUSED,
            breaker=self._breaker.state,
            opened_at_ms=self._opened_at_ms,
            pause=pause,
            rate_per_second=pausing.rate_after(self._pauses) if pause is None else None,
            not_before_ms=self._not_before_ms() if pause is None else pause.until_ms,
            last_failure=self._last_failure,
        )

    def _not_before_ms(self) -> int:
        if not self._breaker.open:
            return 0
        return self._now_ms() + round((self._breaker.probe_at_seconds - trio.current_time()) * 1000)

    def _look_at_pause(self) -> Pause | None:
        """Return the pause that is going on; the first to see that it begins or ends tells."""
        pause = pausing.current(self._pauses, self._now_ms())
        if (pause is not None) is not self._was_paused:
            self._was_paused = pause is not None
            if pause is not None:
                _log.warning("target_paused", target=self._name, reason=pause.reason)
            else:
                _log.info("target_resumed", target=self._name)
            self._show()
        return pause

    def _become(self, after: Breaker) -> None:
        before, self._breaker = self._breaker, after
        if after.state is before.state:
            return
        self._opened_at_ms = (self._opened_at_ms or self._now_ms()) if after.open else None
        if after.open and not before.open:
            _log.warning(
                "breaker_opened",
                target=self._name,
                state=str(after.state),
                probe_seconds=self._policy.probe_every_seconds,
            )
        elif after.state is State.RECOVERING:
            _log.info("breaker_recovering", target=self._name)
        elif before.state is State.RECOVERING:
            _log.info("breaker_closed", target=self._name)
        self._show()

    def _show(self) -> None:
        if self._retired:
            return
        self._metrics.breaker_open.labels(self._name).set(self._breaker.open)
        current = self.view().state
        for state in TargetState:
            self._metrics.target_state.labels(self._name, str(state)).set(state is current)
