"""Routing: which changes of a notification go to which targets, decided once, before the commit (law 4)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import msgspec

from gateway.core.change import Change, Kind
from gateway.core.envelope import Envelope, Unparseable
from gateway.core.globs import Glob, compile_globs
from gateway.core.lanes import Lane, lane_of

UNROUTED: Final = "_unrouted"
"""The pseudo-target of what no route takes; its deliveries are dead letters at once."""

_WHATSAPP: Final = "whatsapp_business_account"
_MAX_CACHED_KEYS: Final = 4096
"""Triples of app, object and field whose routes are remembered: some fifty are in use, and each is a few
hundred bytes."""

_MAX_CACHED_NAMES_CHARS: Final = 256
"""Object and field together: the longest known pair has 60, and a body may hold a name of 3 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route of the configuration; `None` for a key that it does not state. Patterns as in a shell (`*`,
    `?`)."""

    to: tuple[str, ...]
    app: tuple[str, ...] | None = None
    object: tuple[str, ...] | None = None
    field: tuple[str, ...] | None = None
    kind: tuple[str, ...] | None = None
    waba: tuple[str, ...] | None = None
    phone_number_id: tuple[str, ...] | None = None
    display_phone_number: tuple[str, ...] | None = None
    priority: Lane | None = None
    """The lane of what it takes; None: by kind."""


class PlannedDelivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Those changes of one notification that the routes give to one target."""

    target: str
    selection: tuple[int, ...] | None
    """Positions in `Envelope.changes`, ascending; None: the original bytes go (all changes, or `payload:
    original`)."""
    lane: Lane = Lane.NORMAL
    ordered: bool = False
    """The target wants order by sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteExplanation:
    """Why a change goes where it goes: for `gateway routes`."""

    change: Change
    matched: tuple[int, ...]
    """Positions in the table's routes, ascending."""
    targets: tuple[str, ...]
    """In order of first mention, without repeats; empty: no route takes it."""
    lanes: Mapping[str, Lane]
    """By target; one that asks for order has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CompiledRoute:
    """A route with its patterns as predicates; those on ids stand apart, since nearly every change differs in
    them."""

    position: int
    to: tuple[str, ...]
    app: Glob
    object: Glob
    field: Glob
    kind: Glob | None
    ids: tuple[tuple[Callable[[Change], str], Glob], ...]
    priority: Lane | None

    def may_take(self, app: str, object_: str, field: str, kinds: frozenset[Kind]) -> bool:
        """Whether everything but the ids matches."""
        if not (self.app(app) and self.object(object_) and self.field(field)):
            return False
        return self.kind is None or any(map(self.kind, kinds))

    def takes_ids(self, change: Change) -> bool:
        """Whether the ids match: what a route states, a change must have."""
        return all(bool(id_ := read(change)) and glob(id_) for read, glob in self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidates:
    """The routes that may take the changes of one app, object, field and set of kinds."""

    routes: tuple[_CompiledRoute, ...]
    targets: Mapping[str, Lane] | None
    """Where all of these changes go, and by which lane, if no route looks at ids."""
    whole: tuple[PlannedDelivery, ...] | None
    """The plan of a notification that is one such change."""


def _lanes_of(routes: Iterable[_CompiledRoute], by_kind: Lane) -> Mapping[str, Lane]:
    """Return target -> lane, in order of first mention: the most urgent priority that a route states, else
    `by_kind`."""
    lanes: dict[str, Lane | None] = {}
    for route in routes:
        for target in route.to:
            known = lanes.setdefault(target, route.priority)
            if route.priority is not None and (known is None or route.priority < known):
                lanes[target] = route.priority
    return {target: by_kind if lane is None else lane for target, lane in lanes.items()}


def _compile(position: int, route: Route) -> _CompiledRoute:
    ids = (
        (_waba_of, route.waba),
        (attrgetter("phone_number_id"), route.phone_number_id),
        (attrgetter("display_phone_number"), route.display_phone_number),
    )
    return _CompiledRoute(
        position=position,
        to=route.to,
        app=compile_globs(route.app),
        object=compile_globs(route.object),
        field=compile_globs(route.field),
        kind=None if route.kind is None else compile_globs(route.kind),
        ids=tuple((read, compile_globs(patterns)) for read, patterns in ids if patterns is not None),
        priority=route.priority,
    )


def _waba_of(change: Change) -> str:
    """`entry.id` is a WABA id only for WhatsApp; elsewhere it is a page, a user, an app."""
    return change.entry_id if change.object == _WHATSAPP else ""


class RoutingTable:
    """The routes, compiled. Pure: the same envelope gives the same plan."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        payload_original: frozenset[str],
        drop_unrouted: bool,
        ordered: frozenset[str] = frozenset(),
    ) -> None:
        """`payload_original`, `ordered`: names of the targets that want the original bytes; order by sender.

        The latter have one lane: a message must not overtake a status of the same user.
        """
        self.ordered = ordered
        self._routes = tuple(_compile(position, route) for position, route in enumerate(routes))
        self._payload_original = payload_original
        self._drop_unrouted = drop_unrouted
        self._candidates: dict[tuple[str, str, str, frozenset[Kind]], _Candidates] = {}

    def plan(self, app: str, envelope: Envelope | Unparseable) -> tuple[PlannedDelivery, ...]:
        """One delivery a target; what no route takes, one delivery to `UNROUTED` (none with `drop_unrouted`).

        Targets stand in order of first mention: by change, then by route; `UNROUTED` is last.
        """
        changes = envelope.changes if isinstance(envelope, Envelope) else ()
        if len(changes) == 1 and (plan := self._candidates_for(app, changes[0]).whole) is not None:
            return plan
        positions: dict[str, list[int]] = {}
        lanes: dict[str, Lane] = {}
        unrouted: list[int] = []
        for position, change in enumerate(changes):
            targets = self._targets(app, change)
            if not targets:
                unrouted.append(position)
            for target, lane in targets.items():
                positions.setdefault(target, []).append(position)
                if lane < lanes.setdefault(target, lane):
                    lanes[target] = lane
        deliveries = [
            self._planned(
                target,
                None if len(taken) == len(changes) or target in self._payload_original else tuple(taken),
                lanes[target],
            )
            for target, taken in positions.items()
        ]
        if not self._drop_unrouted and (unrouted or not changes):
            whole = len(unrouted) == len(changes)
            deliveries.append(PlannedDelivery(target=UNROUTED, selection=None if whole else tuple(unrouted)))
        return tuple(deliveries)

    def explain(self, app: str, change: Change) -> RouteExplanation:
        """Say which routes match one change, and where it goes."""
        matched = [route for route in self._candidates_for(app, change).routes if route.takes_ids(change)]
        lanes = _lanes_of(matched, lane_of(change.kinds, change.field))
        return RouteExplanation(
            change=change,
            matched=tuple(route.position for route in matched),
            targets=tuple(lanes),
            lanes={target: lane for target, lane in lanes.items() if target not in self.ordered},
        )

    def _targets(self, app: str, change: Change) -> Mapping[str, Lane]:
        candidates = self._candidates_for(app, change)
        if candidates.targets is not None:
            return candidates.targets
        routes = (route for route in candidates.routes if route.takes_ids(change))
        return _lanes_of(routes, lane_of(change.kinds, change.field))

    def _plan_whole(self, targets: Mapping[str, Lane] | None) -> tuple[PlannedDelivery, ...] | None:
        if targets is None:
            return None
        if not targets:
            return () if self._drop_unrouted else (PlannedDelivery(target=UNROUTED, selection=None),)
        return tuple(self._planned(target, None, lane) for target, lane in targets.items())

    def _planned(self, target: str, selection: tuple[int, ...] | None, lane: Lane) -> PlannedDelivery:
        ordered = target in self.ordered
        return PlannedDelivery(
            target=target, selection=selection, lane=Lane.NORMAL if ordered else lane, ordered=ordered
        )

    def _candidates_for(self, app: str, change: Change) -> _Candidates:
        key = (app, change.object, change.field, change.kinds)
        found = self._candidates.get(key)
        if found is None:
            routes = tuple(route for route in self._routes if route.may_take(*key))
            targets = (
                None
                if any(route.ids for route in routes)
                else _lanes_of(routes, lane_of(change.kinds, change.field))
            )
            found = _Candidates(routes=routes, targets=targets, whole=self._plan_whole(targets))
            # Names come from outside: the cache is emptied rather than let grow, and long ones stay out.
            if len(self._candidates) >= _MAX_CACHED_KEYS:
                self._candidates.clear()
            if len(change.object) + len(change.field) <= _MAX_CACHED_NAMES_CHARS:
                self._candidates[key] = found
        return found


def delivery_ids(notification_id: str, plan: Sequence[PlannedDelivery]) -> Mapping[str, str]:
    """Return target -> delivery id, `<notification id>-<target>`: unique, stable, and derived, never drawn.

    Notification ids are 32 hexadecimal digits (UUID version 7); targets match
    `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
    """
    return {delivery.target: f"{notification_id}-{delivery.target}" for delivery in plan}


def rerouted_delivery_ids(dead_letter_id: str, plan: Sequence[PlannedDelivery]) -> Mapping[str, str]:
    """Return target -> delivery id for what is routed again from an `_unrouted` dead letter.

    `<id of the dead letter>-<target>`: no target's name begins with `_`, so it meets no id of the first
    routing, and a replay that is done twice gives the same ids twice.
    """
    return {delivery.target: f"{dead_letter_id}-{delivery.target}" for delivery in plan}
