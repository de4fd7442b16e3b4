"""Routing: which changes of a notification go to which targets, decided once, before the commit (law 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.envelope import Change, Envelope, Unparseable

UNROUTED: Final = "_unrouted"
"""The pseudo-target of what no route takes; its deliveries are dead letters at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route of the configuration; `None` for a key that it does not state. Patterns as in a shell (`*`, `?`)."""

    to: tuple[str, ...]
    app: tuple[str, ...] | None = None
    object: tuple[str, ...] | None = None
    field: tuple[str, ...] | None = None
    kind: tuple[str, ...] | None = None
    waba: tuple[str, ...] | None = None
    phone_number_id: tuple[str, ...] | None = None
    display_phone_number: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDelivery:
    """Those changes of one notification that the routes give to one target."""

    target: str
    selection: tuple[int, ...] | None
    """Positions in `Envelope.changes`, ascending; None: the original bytes go (all changes, or `payload: original`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteExplanation:
    """Why a change goes where it goes: for `gateway routes`."""

    change: Change
    matched: tuple[int, ...]
    """Positions in the table's routes, ascending."""
    targets: tuple[str, ...]
    """In order of first mention, without repeats; empty: no route takes it."""


class RoutingTable:
    """The routes, compiled. Pure: the same envelope gives the same plan."""

    def __init__(
        self, routes: Sequence[Route], *, payload_original: frozenset[str], drop_unrouted: bool
    ) -> None:
        """`payload_original`: names of the targets that want the original bytes."""
        raise NotImplementedError

    def plan(self, app: str, envelope: Envelope | Unparseable) -> tuple[PlannedDelivery, ...]:
        """One delivery a target; what no route takes, one delivery to `UNROUTED` (none with `drop_unrouted`)."""
        raise NotImplementedError

    def explain(self, app: str, change: Change) -> RouteExplanation:
        """Say which routes match one change, and where it goes."""
        raise NotImplementedError


def delivery_ids(notification_id: str, plan: Sequence[PlannedDelivery]) -> Mapping[str, str]:
    """Return target -> delivery id, `<notification id>-<target>`: unique, stable, and derived, never drawn.

    Notification ids are 32 hexadecimal digits (UUID version 7); targets match `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
    What is routed again from an `_unrouted` dead letter gets `<id of the dead letter>-<target>`.
    """
    raise NotImplementedError
