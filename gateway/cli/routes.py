"""`gateway routes`: where a field or a payload would go, route by route."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.completion.proposals import complete_app, complete_field
from gateway.cli.output import err, options, out, out_json
from gateway.core.envelope import Change, Kind, Unparseable, parse_envelope
from gateway.core.fields import FIELDS
from gateway.core.routing import UNROUTED, RoutingTable
from gateway.errors import UsageError
from gateway.settings.load import Loaded, load_settings
from gateway.settings.model import Settings
from gateway.settings.routes import routing_table
from gateway.simulator.payloads import MAIN_OBJECT, as_meta_writes, samples
from gateway.simulator.reasons import describe, stated
from gateway.telemetry.redaction import visible

_ID_KEYS: Final = ("waba", "phone_number_id", "display_phone_number")
"""What `--field` says nothing of: a route that states one of them takes the field on a condition."""


def command(
    field: Annotated[
        str | None,
        typer.Option(
            "--field",
            help="Explain this field, known or not; of another object: page/feed.",
            autocompletion=complete_field,
        ),
    ] = None,
    payload: Annotated[
        Path | None,
        typer.Option(
            "--payload", help="Explain this notification, change by change; - reads stdin.", metavar="FILE"
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            help="As if it had come to this app; default: to each of them.",
            autocompletion=complete_app,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result for scripts.")] = False,
) -> None:
    """Explain where a field or a payload would go, route by route; without options, list the routes.

    The lane says how urgent it is among what waits for a target: high, normal or low, by its kind unless a
    route states a priority. Warns where no route takes a change. Reads the configuration without its secrets,
    and asks nobody.
    """
    if field is not None and payload is not None:
        raise UsageError("--field and --payload together", remedy="give one of them")
    settings = load_settings(options.config, environ=os.environ, with_secrets=False)
    apps = list(settings.settings.apps)
    if app is not None and app not in apps:
        raise UsageError(f"there is no app {app!r}", remedy=f"the configuration has {', '.join(apps)}")
    listing = _Listing(settings)
    if field is not None:
        changes = _changes_of(field)
    elif payload is not None:
        changes = _changes_in(payload)
    else:
        listing.show_routes(as_json=as_json)
        return
    listing.explain([app] if app else apps, changes, as_json=as_json)


def _changes_of(name: str) -> tuple[Change, ...]:
    """One change for each kind in which the field comes, as far as samples show; ids are left open."""
    object_, _, field = name.rpartition("/")
    object_ = object_ or MAIN_OBJECT
    kinds: dict[frozenset[Kind], None] = {}
    for sample in samples():
        if (sample.object, sample.field) == (object_, field):
            envelope = parse_envelope(as_meta_writes(sample.read()))
            if not isinstance(envelope, Unparseable):
                kinds.update(dict.fromkeys(change.kinds for change in envelope.changes))
    return tuple(
        Change(
            object=object_, field=field, kinds=one, entry_id="", phone_number_id="", display_phone_number=""
        )
        for one in sorted(kinds or {frozenset({Kind.OTHER}): None}, key=sorted)
    )


def _changes_in(path: Path) -> tuple[Change, ...]:
    try:
        body = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", remedy="--payload names a file with a notification"
        ) from error
    envelope = parse_envelope(body)
    if isinstance(envelope, Unparseable):
        err(f"{path}: not an envelope of Meta's: {envelope.detail}")
        return ()
    return envelope.changes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Explanation:
    """Why a change goes where it goes."""

    change: Change
    matched: tuple[int, ...]
    on_condition: tuple[int, ...]
    """Routes that match but for an id, of which `--field` says nothing."""
    targets: tuple[str, ...]
    lanes: Mapping[str, str]
    """By target; one that asks for order has none."""


class _Listing:
    """The routes of a configuration, where they stand in it, and what they take."""

    def __init__(self, loaded: Loaded) -> None:
        self._settings = loaded.settings
        self._source = loaded.source
        self._table = routing_table(loaded.settings)
        self._table_without_ids = _without_ids(loaded.settings)

    def show_routes(self, *, as_json: bool) -> None:
        positions = range(len(self._settings.routes))
        if as_json:
            out_json([self._plain_route(position) for position in positions])
            return
        for position in positions:
            out(self._line(position))
        out(f"what no route takes: {self._fate()}")

    def explain(self, apps: Sequence[str], changes: Sequence[Change], *, as_json: bool) -> None:
        explained = {app: [self._explain(app, change) for change in changes] for app in apps}
        if as_json:
            out_json([self._plain_app(app, explanations) for app, explanations in explained.items()])
        else:
            for app, explanations in explained.items():
                self._tell(app, explanations)
        for app, explanations in explained.items():
            self._warn(app, explanations)
        for remark in _remark_unknown(changes):
            err(visible(remark))

    def _explain(self, app: str, change: Change) -> _Explanation:
        found = self._table.explain(app, change)
        without_id = not (change.entry_id or change.phone_number_id or change.display_phone_number)
        wider = self._table_without_ids.explain(app, change).matched if without_id else ()
        return _Explanation(
            change=change,
            matched=found.matched,
            on_condition=tuple(position for position in wider if position not in found.matched),
            targets=found.targets,
            lanes={target: lane.name.lower() for target, lane in found.lanes.items()},
        )

    def _tell(self, app: str, explanations: Sequence[_Explanation]) -> None:
        if len(self._settings.apps) > 1:
            out(f"app {app}")
        for number, one in enumerate(explanations, start=1):
            out(f"change {number}: {visible(_describe_change(one.change))}")
            for position in range(len(self._settings.routes)):
                mark = "->" if position in one.matched else "if" if position in one.on_condition else "  "
                out(f"  {mark} {self._line(position)}")
            out(f"  goes to: {', '.join(one.targets) or self._fate()}")
            if one.targets:
                out(f"  lane: {_describe_lanes(one)}")
            for position in one.on_condition:
                route = self._settings.routes[position]
                condition = ", ".join(
                    f"{key} {' or '.join(v)}" for key, v in stated(route).items() if key in _ID_KEYS
                )
                out(f"  and to: {', '.join(route.to)}, if {condition}")

    def _warn(self, app: str, explanations: Sequence[_Explanation]) -> None:
        lost = [one.change for one in explanations if not one.targets and not one.on_condition]
        if lost:
            fields = ", ".join(dict.fromkeys(_describe_change(change) for change in lost))
            what = f"{len(lost)} of {len(explanations)} changes ({fields})"
        elif not explanations:
            what = "a body without changes"
        else:
            return
        err(f"warning: app {app}: no route takes {what}; goes to: {self._fate()}")

    def _fate(self) -> str:
        if self._settings.unrouted == "dead_letter":
            return f"{UNROUTED}, a dead letter at once"
        return "nobody (unrouted: drop)"

    def _line(self, position: int) -> str:
        route = self._settings.routes[position]
        line, column = self._position(position)
        where = f"{self._source.file}:{line}:{column}"
        priority = f", priority {route.priority}" if route.priority else ""
        return f"{where}: route {position + 1}: {describe(route)}{priority} -> {', '.join(route.to)}"

    def _position(self, position: int) -> tuple[int, int]:
        return self._source.positions.get(("routes", position), (0, 0))

    def _plain_route(self, position: int) -> dict[str, object]:
        route = self._settings.routes[position]
        line, column = self._position(position)
        return {
            "route": position + 1,
            "file": str(self._source.file),
            "line": line,
            "column": column,
            "states": {key: list(patterns) for key, patterns in stated(route).items()},
            "priority": route.priority,
            "to": list(route.to),
        }

    def _plain_app(self, app: str, explanations: Sequence[_Explanation]) -> dict[str, object]:
        return {
            "app": app,
            "changes": [
                {
                    **_plain_change(one.change),
                    "routes": [self._plain_route(position) for position in one.matched],
                    "routes_on_condition": [self._plain_route(position) for position in one.on_condition],
                    "targets": list(one.targets),
                    "lanes": {target: one.lanes.get(target) for target in one.targets},
                }
                for one in explanations
            ],
            "unrouted": self._settings.unrouted,
        }


def _without_ids(settings: Settings) -> RoutingTable:
    routes = tuple(route.model_copy(update=dict.fromkeys(_ID_KEYS)) for route in settings.routes)
    return routing_table(settings.model_copy(update={"routes": routes}))


def _plain_change(change: Change) -> dict[str, object]:
    return {
        "object": change.object,
        "field": change.field,
        "kinds": sorted(change.kinds),
        "entry_id": change.entry_id,
        "phone_number_id": change.phone_number_id,
        "display_phone_number": change.display_phone_number,
    }


def _describe_lanes(one: _Explanation) -> str:
    """Say in which lane it waits at each target; once, where that is the same at all."""
    lanes = [one.lanes.get(target, "none (order: sender)") for target in one.targets]
    if len(set(lanes)) == 1:
        return lanes[0]
    return ", ".join(f"{target} {lane}" for target, lane in zip(one.targets, lanes, strict=True))


def _remark_unknown(changes: Iterable[Change]) -> Iterator[str]:
    """Say which fields Meta is not known to send: a slip of the pen finds no route either."""
    for object_, field in dict.fromkeys((change.object, change.field) for change in changes):
        names = [one.name for one in FIELDS if one.object == object_]
        if names and field not in names:
            near = get_close_matches(field, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"note: {field:.100} is not a known field of {object_} (gateway fields lists them){hint}"


def _describe_change(change: Change) -> str:
    words = [f"{change.field} of {change.object or 'no object'}"]
    if change.kinds != {Kind.OTHER}:
        words.append(f"kind {' and '.join(sorted(change.kinds))}")
    ids = (
        ("entry", change.entry_id),
        ("phone_number_id", change.phone_number_id),
        ("display_phone_number", change.display_phone_number),
    )
    words += [f"{name} {value}" for name, value in ids if value]
    return ", ".join(words)
