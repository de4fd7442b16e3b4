"""One moment of the gateway as a value: what the overview shows. Pure; all that is asked for comes in.

What the gateway says of itself (`/api/status`, `/api/edge`, `/api/config`, the metrics) is taken as it comes:
what is not there is shown as not known, so that a worker that starts takes no page away.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any, Final

from gateway.admin.dashboard import charts, wording
from gateway.admin.dashboard.changes import ChangeRow, change_rows
from gateway.admin.dashboard.charts import Chart, Tick
from gateway.admin.dashboard.history import History
from gateway.admin.dashboard.verdict import Condition, Level, Verdict, judge
from gateway.admin.health import WARN_DAYS, Check

REFUSALS_SHOWN: Final = 8
CHANGES_SHOWN: Final = 8
"""On the overview; each has a page with all that is kept."""
DAY_MS: Final = 86_400_000
AXIS_DAYS: Final = 3650.0
"""The end of the certificates' axis: a root lasts ten years and more."""
_AXIS_STEP_DAYS: Final = 12.0
"""Where the axis turns from even to logarithmic, so that the next weeks are wide."""
_AXIS_TICKS: Final = ((7, "7 d"), (30, "30 d"), (90, "90 d"), (365, "1 y"), (1095, "3 y"), (3650, "10 y"))
_LEVELS: Final = {
    "delivering": Level.GOOD,
    "recovering": Level.WATCH,
    "paused": Level.WATCH,
    "unknown": Level.WATCH,
    "open": Level.BAD,
}
_HEARING: Final = {"usual": Level.GOOD, "learning": Level.IDLE, "suspicious": Level.BAD}
_BREAKERS: Final = {
    "starting": "closed",
    "delivering": "closed",
    "recovering": "released gradually",
    "failing": "probes alone",
    "refusing": "it refuses everything; probes alone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the gateway says of itself at one moment; empty where it cannot be asked."""

    now_ms: int
    health: Mapping[str, Check] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    edge: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)
    changes: Sequence[Mapping[str, Any]] = ()
    callback_urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """One target."""

    name: str
    state: str
    level: Level
    pending: int
    pending_bytes: int
    oldest_seconds: float
    rate: float | None
    failing: float | None
    spark: tuple[str, ...]
    error: str
    error_at_ms: int | None
    breaker: str
    since_ms: int | None
    """When the breaker opened, or the pause began."""
    pause: str
    give_up_ms: int | None
    delivered_ms: int | None
    """When it last took one, since the gateway began."""
    dead_letters: int
    each: tuple[tuple[str, str], ...]
    """Gateway and state, where several share a database and see it differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRow:
    """One of the gateways on a database."""

    name: str
    own: bool
    state: str
    level: Level
    started_ms: int | None
    silent_seconds: float
    version: str
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRow:
    """One field of one app."""

    app: str
    object: str
    field: str
    received: int
    last_ms: int | None
    rate: float | None
    spark: tuple[str, ...]
    level: Level
    hearing: str
    missed: float
    """What should have come by now."""
    usual_seconds: float | None
    lag_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRow:
    """One line of the gap ledger: a field of one phone number."""

    app: str
    waba: str
    phone_number_id: str
    field: str
    received: int
    last_ms: int | None
    usual_seconds: float | None
    lag_seconds: float | None
    delivered: tuple[tuple[str, int, int | None], ...]
    """Target, how many notifications it has taken, and when the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRow:
    """One certificate on the timeline."""

    name: str
    what: str
    level: Level
    not_after_ms: int
    place: float
    """In percent of the axis; 0: it has ended."""
    beyond: bool
    """It ends after the end of the axis."""
    seen_ms: int | None
    """When an anchor last admitted a client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRow:
    """One refusal."""

    at_ms: int | None
    level: Level
    reason: str
    detail: str
    address: str
    who: str
    subject: str
    issuer: str
    serial: str
    sha256: str
    staged: str
    where: str
    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The page."""

    now_ms: int
    verdict: Verdict
    charts: tuple[Chart, ...]
    targets: tuple[TargetRow, ...]
    fields: tuple[FieldRow, ...]
    certificates: tuple[CertificateRow, ...]
    axis: tuple[Tick, ...]
    refusals: tuple[RefusalRow, ...]
    more_refusals: int
    changes: tuple[ChangeRow, ...]
    dead_letters: Mapping[str, int]
    config_hash: str
    loaded_ms: int | None
    workers: tuple[Mapping[str, Any], ...]
    gateways: tuple[GatewayRow, ...]
    """Empty where there is only the one that was asked."""


def make_overview(facts: Facts, history: History) -> Overview:
    """Put the page together."""
    targets = tuple(target_rows(facts, history))
    fields = tuple(_field_rows(facts, history))
    refusals = tuple(refusal_rows(facts.edge))
    gateways = tuple(gateway_rows(facts))
    last = [row.last_ms for row in fields if row.last_ms is not None]
    return Overview(
        now_ms=facts.now_ms,
        verdict=judge(
            health=facts.health,
            conditions=_conditions(facts),
            states={row.name: row.state for row in targets if row.name != _UNROUTED},
            last_received_ms=max(last, default=None),
            accepted_per_second=history.now("accepted"),
            callback_urls=facts.callback_urls,
            now_ms=facts.now_ms,
        ),
        charts=(
            charts.rate_chart(history, of_several=bool(gateways)),
            charts.latency_chart(history, of_several=bool(gateways)),
            charts.waiting_chart(history),
        ),
        targets=targets,
        fields=fields,
        certificates=tuple(_certificate_rows(facts)),
        axis=tuple(Tick(at=_place(days), text=text) for days, text in _AXIS_TICKS),
        refusals=refusals[:REFUSALS_SHOWN],
        more_refusals=max(0, len(refusals) - REFUSALS_SHOWN),
        changes=tuple(change_rows(facts.changes))[:CHANGES_SHOWN],
        dead_letters={row.name: row.dead_letters for row in targets if row.dead_letters},
        config_hash=str(facts.config.get("hash", "")),
        loaded_ms=wording.parse_time(facts.config.get("loaded_at")),
        workers=tuple(facts.status.get("workers", ())),
        gateways=gateways,
    )


_GATEWAYS: Final = {
    "answers": ("answers", Level.GOOD),
    "no_answer": ("no answer", Level.WATCH),
    "silent": ("not heard of", Level.WATCH),
}
_COMMON_NAME: Final = re.compile(r"(?:^|,)CN=((?:\\.|[^,\\])+)")
"""Of a subject in RFC 4514."""
_UNROUTED: Final = "_unrouted"
"""No target: what no route takes is a dead letter at once."""


def _conditions(facts: Facts) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            name=str(one.get("condition", "")),
            summary=_capital(str(one.get("summary", ""))),
            since_ms=wording.parse_time(one.get("since")),
            evidence=tuple(map(str, one.get("evidence", ()))),
            next_steps=tuple(map(str, one.get("next_steps", ()))),
            target=one.get("target"),
        )
        for one in facts.ledger.get("conditions", ())
    )


def gateway_rows(facts: Facts) -> Iterable[GatewayRow]:
    """Return the gateways on the database, the one that was asked first; none where it is alone."""
    gateways = facts.status.get("gateways", ())
    for one in gateways if len(gateways) > 1 else ():
        state, level = _GATEWAYS.get(str(one.get("state")), (str(one.get("state")), Level.IDLE))
        yield GatewayRow(
            name=str(one.get("gateway")),
            own=bool(one.get("own")),
            state=state,
            level=level,
            started_ms=wording.parse_time(one.get("started_at")),
            silent_seconds=float(one.get("silent_seconds") or 0.0),
            version=str(one.get("version")),
            directory=str(one.get("directory")),
        )


def target_rows(facts: Facts, history: History) -> Iterable[TargetRow]:
    """Return the targets: in trouble first, else in the order of the configuration."""
    rows = [_target_row(name, target, history) for name, target in facts.status.get("targets", {}).items()]
    trouble = (Level.BAD, Level.WATCH)
    return sorted(
        rows,
        key=lambda row: (
            row.name == _UNROUTED,
            trouble.index(row.level) if row.level in trouble else len(trouble),
        ),
    )


def _target_row(name: str, target: Mapping[str, Any], history: History) -> TargetRow:
    state = str(target.get("state", "")) or ("" if name == _UNROUTED else "not known")
    breaker, pause, error = target.get("breaker") or {}, target.get("pause"), target.get("last_error") or {}
    until_ms = wording.parse_time(pause.get("until")) if pause else None
    said = str(pause.get("reason", "")) if pause else ""
    return TargetRow(
        name=name,
        state=state,
        level=_LEVELS.get(state, Level.IDLE),
        pending=int(target.get("pending", 0)),
        pending_bytes=int(target.get("pending_bytes", 0)),
        oldest_seconds=float(target.get("oldest_seconds", 0.0)),
        rate=history.now("delivered", name),
        failing=history.now("failed", name),
        spark=charts.spark(history.values("delivered", name)),
        error=_error_text(error),
        error_at_ms=wording.parse_time(error.get("at")),
        breaker=_BREAKERS.get(str(breaker.get("state", "")), str(breaker.get("state", ""))),
        since_ms=wording.parse_time(pause.get("from") if pause else breaker.get("opened_at")),
        pause="; ".join(
            part for part in (f"until {wording.absolute(until_ms)}" if until_ms else "", said) if part
        ),
        give_up_ms=wording.parse_time(target.get("next_give_up_at")),
        delivered_ms=wording.parse_time(target.get("last_delivered_at")),
        dead_letters=int(target.get("dead_letters", 0)),
        each=tuple((str(one["gateway"]), str(one["state"])) for one in target.get("gateways") or ()),
    )


def _error_text(error: Mapping[str, Any]) -> str:
    return f"status {error['status']}" if error.get("status") else str(error.get("error") or "")


def _field_rows(facts: Facts, history: History) -> Iterable[FieldRow]:
    for one in facts.ledger.get("fields", ()):
        app, kind, name = str(one.get("app")), str(one.get("object")), str(one.get("field"))
        silence = one.get("silence") or {}
        hearing = str(silence.get("judgement", ""))
        yield FieldRow(
            app=app,
            object=kind,
            field=name,
            received=int(one.get("received", 0)),
            last_ms=wording.parse_time(one.get("last_received_at")),
            rate=history.now("field", app, kind, name),
            spark=charts.spark(history.values("field", app, kind, name)),
            level=_HEARING.get(hearing, Level.IDLE),
            hearing=hearing,
            missed=float(silence.get("missed") or 0.0),
            usual_seconds=one.get("usual_interval_seconds"),
            lag_seconds=one.get("lag_seconds"),
        )


def line_rows(ledger: Mapping[str, Any]) -> Iterable[LineRow]:
    """Return the lines of the gap ledger, as they come."""
    for one in ledger.get("lines", ()):
        yield LineRow(
            app=str(one.get("app")),
            waba=str(one.get("waba") or ""),
            phone_number_id=str(one.get("phone_number_id") or ""),
            field=str(one.get("field")),
            received=int(one.get("received", 0)),
            last_ms=wording.parse_time(one.get("last_received_at")),
            usual_seconds=one.get("usual_interval_seconds"),
            lag_seconds=one.get("lag_seconds"),
            delivered=tuple(
                (name, int(part.get("count", 0)), wording.parse_time(part.get("last_at")))
                for name, part in (one.get("delivered") or {}).items()
            ),
        )


def _certificate_rows(facts: Facts) -> Iterable[CertificateRow]:
    anchors = {str(one.get("sha256", ""))[:16]: one for one in facts.edge.get("anchors", ())}
    rows = []
    for one in facts.edge.get("certificates", ()):
        not_after_ms = wording.parse_time(one.get("not_after"))
        if not_after_ms is None:
            continue
        name = str(one.get("name", ""))
        days = (not_after_ms - facts.now_ms) / DAY_MS
        anchor = anchors.get(name, {})
        rows.append(
            CertificateRow(
                name=name,
                what=_certificate_kind(name, anchor),
                level=Level.BAD if days <= 0 else Level.WATCH if days < WARN_DAYS else Level.GOOD,
                not_after_ms=not_after_ms,
                place=_place(days),
                beyond=days > AXIS_DAYS,
                seen_ms=wording.parse_time(anchor.get("last_seen_at")),
            )
        )
    return sorted(rows, key=lambda row: row.not_after_ms)


def _certificate_kind(name: str, anchor: Mapping[str, Any]) -> str:
    if anchor:
        kind = "staged anchor" if anchor.get("staged") else "trust anchor"
        subject = str(anchor.get("subject"))
        common = _COMMON_NAME.search(subject)
        return f"{kind} of {anchor.get('client')}: {common[1] if common else subject}"
    if name.startswith("client:"):
        return f"the certificate that {name.removeprefix('client:')} last showed"
    return "what clients of the public port see" if name == "server" else "certificate"


def _place(days: float) -> float:
    """Return where a day stands on the axis, in percent."""
    bounded = min(max(days, 0.0), AXIS_DAYS)
    return round(100 * log(1 + bounded / _AXIS_STEP_DAYS) / log(1 + AXIS_DAYS / _AXIS_STEP_DAYS), 2)


def refusal_rows(edge: Mapping[str, Any]) -> Iterable[RefusalRow]:
    """Return the ledger of refusals, the newest first."""
    for one in edge.get("refusals", ()):
        claims = one.get("claims")
        status, app = one.get("status"), one.get("app")
        admitted = status == 200
        who = (
            f"proved to be {claims or 'a client'}"
            if one.get("proved")
            else f"bears the name of {claims}"
            if claims
            else "a stranger"
        )
        level = (
            Level.BAD
            if one.get("proved") and not admitted
            else Level.WATCH
            if claims or admitted
            else Level.IDLE
        )
        yield RefusalRow(
            at_ms=wording.parse_time(one.get("at")),
            level=level,
            reason=str(one.get("reason") or ""),
            detail=str(one.get("detail") or ""),
            address=str(one.get("address") or ""),
            who=who,
            subject=str(one.get("subject") or ""),
            issuer=str(one.get("issuer") or ""),
            serial=str(one.get("serial") or ""),
            sha256=str(one.get("sha256") or ""),
            staged=str(one.get("staged_says") or ""),
            where=(
                f"request to {app}, {'admitted all the same (report)' if admitted else f'answered {status}'}"
                if one.get("kind") == "request"
                else f"connection {one.get('connection') or ''}".strip()
            ),
            gateway=str(one.get("gateway") or ""),
        )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
