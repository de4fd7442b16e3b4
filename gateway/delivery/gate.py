"""What lets one target's attempts out: the breaker's state, told to metrics and log. Decides nothing itself.

Lives as long as the process keeps the target, over reloads of its settings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import trio

from gateway.core import breaker
from gateway.core.breaker import Breaker, BreakerPolicy, State, Ticket
from gateway.delivery.parcel import Parcel
from gateway.spool.contract import INTERRUPTED
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics

_log = get_logger("delivery")


class TargetState(StrEnum):
    """What a target's state is called: in metrics, on the admin port, and by the commands."""

    DELIVERING = "delivering"
    OPEN = "open"
    RECOVERING = "recovering"


_SHOWN: Final = {
    State.STARTING: TargetState.DELIVERING,
    State.DELIVERING: TargetState.DELIVERING,
    State.FAILING: TargetState.OPEN,
    State.REFUSING: TargetState.OPEN,
    State.RECOVERING: TargetState.RECOVERING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """How a target is, for people."""

    state: TargetState
    breaker: State
    opened_at_ms: int | None
    """Unix time; None while the breaker is closed."""


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
    ) -> None:
        self._name = name
        self._policy = policy
        self._hands = hands
        self._metrics = metrics
        self._now_ms = now_ms
        self._breaker = Breaker()
        self._tickets: dict[int, Ticket] = {}
        """Of attempts under way whose outcome is not known yet, by the token of their first lease."""
        self._opened_at_ms: int | None = None
        self._changed = trio.Event()
        self._retired = False
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

    # -- what the lease loop asks

    def startable(self, under_way: int) -> int:
        """Return how many attempts may start now."""
        return breaker.startable(
            self._breaker, hands=self._hands, under_way=under_way, now_seconds=trio.current_time()
        )

    def probe_in_seconds(self) -> float | None:
        """Return when the next probe may go, from now; None where that is no question of time."""
        if not self._breaker.open or self._breaker.probing:
            return None
        return max(0.0, self._breaker.probe_at_seconds - trio.current_time())

    def start(self, parcel: Parcel) -> None:
        """Note that an attempt starts; `end` must follow."""
        failed_before = any(record.error != INTERRUPTED for record in parcel.first.earlier)
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

    # -- what others see

    @property
    def open(self) -> bool:
        """Whether only probes are sent."""
        return self._breaker.open

    async def wait_open(self) -> None:
        """Return when only probes are sent."""
        while not self.open:
            await self._changed.wait()

    def view(self) -> GateView:
        """Return the state, for people."""
        return GateView(
            state=_SHOWN[self._breaker.state], breaker=self._breaker.state, opened_at_ms=self._opened_at_ms
        )

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
        self._changed.set()
        self._changed = trio.Event()

    def _show(self) -> None:
        if self._retired:
            return
        self._metrics.breaker_open.labels(self._name).set(self._breaker.open)
        current = self.view().state
        for state in TargetState:
            self._metrics.target_state.labels(self._name, str(state)).set(state is current)
