"""Where notifications have gone, as far as memory bears it: what the spool no longer says once a target has
taken its delivery.

Of the last ten to twenty thousand notifications of a process: when and how each came, for which targets, and
which of these have taken it. It begins anew with the process; `spool.keep_delivered` is what makes deliveries
visible for longer. Two generations of a dictionary: the elder is dropped as a whole when the younger is full,
so that nothing on the way of an acknowledgement looks for what is oldest.

Also what each target took last.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from gateway.telemetry.gap_ledger import Live

GENERATION: Final = 10_000
"""Notifications: some 400 bytes each, so 8 MB in two generations."""
MANY: Final = 16
"""Changes of one notification whose slots are remembered with it; of more they are read from its body."""


class Routed(Protocol):
    """A delivery of a notification, as planned."""

    @property
    def target(self) -> str:
        """Its target."""
        ...


class Came(msgspec.Struct, frozen=True, gc=False):
    """How a notification came. No cycles: it is left to reference counts."""

    received_ms: int
    app: str
    presented: str
    """What the client presented: `accepted`, `refused` or `none`."""
    connection: str | None
    """As the log has it."""
    deliveries: tuple[Routed, ...]
    slots: tuple[Live, ...] | None

    @property
    def targets(self) -> tuple[str, ...]:
        """Where it was to go."""
        return tuple(delivery.target for delivery in self.deliveries)


class Taken(NamedTuple):
    """That a target has taken a delivery."""

    at_ms: int
    attempt: int
    status: int


@dataclass(slots=True)
class Doing:
    """What a target has taken, in this life of the process."""

    delivered: int = 0
    """Deliveries."""
    last_delivered_ms: int | None = None


class Whereabouts:
    """One a process, on the Trio thread."""

    def __init__(self) -> None:
        self._young: dict[str, Came] = {}
        self._old: dict[str, Came] = {}
        self._taken: dict[str, Taken] = {}
        self._taken_before: dict[str, Taken] = {}
        self.doing: defaultdict[str, Doing] = defaultdict(Doing)
        """By target."""

    def came(self, notification_id: str, came: Came) -> None:
        """Note a notification that is on disk."""
        if len(self._young) >= GENERATION:
            self._old, self._young = self._young, {}
        self._young[notification_id] = came

    def of(self, notification_id: str) -> Came | None:
        """Return how it came; None where that is not known any more."""
        return self._young.get(notification_id) or self._old.get(notification_id)

    def taken(self, target: str, delivery_id: str, taken: Taken) -> None:
        """Note that a target has taken a delivery."""
        if len(self._taken) >= 2 * GENERATION:
            self._taken_before, self._taken = self._taken, {}
        self._taken[delivery_id] = taken
        doing = self.doing[target]
        doing.delivered += 1
        doing.last_delivered_ms = taken.at_ms

    def taken_by(self, notification_id: str, targets: Sequence[str]) -> Mapping[str, Taken]:
        """Return which of these targets have taken it, as far as that is known."""
        found = {}
        for target in targets:
            delivery_id = f"{notification_id}-{target}"
            one = self._taken.get(delivery_id) or self._taken_before.get(delivery_id)
            if one is not None:
                found[target] = one
        return found
