"""Judge: do load balancer and gateway agree on the PROXY header? Where not, nobody gets in. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from gateway.core.identity import Reason
from gateway.core.proxy_header import NOT_EXPECTED, NOT_FROM_BALANCER
from gateway.doctor.advice import ADMITTED_LATELY_SECONDS, MALFORMED_PROXY, PROXY_ADVICE, RECENT_SECONDS
from gateway.doctor.finding import Area, Finding, Level, plural, say_ago
from gateway.doctor.observed import EDGE, Observations
from gateway.doctor.reading import mappings, text, time
from gateway.telemetry.redaction import visible


def judge_proxy(seen: Observations) -> Iterator[Finding]:
    """Refusals for a header that is missing, not expected, or not as it should be; one finding for each
    detail."""
    edge = seen.running.content(EDGE) if seen.running is not None else None
    if edge is None:
        return
    by_detail: dict[str, list[Mapping[str, object]]] = {}
    for one in mappings(edge, "refusals"):
        if text(one, "reason") == Reason.PROTOCOL and _concerns(
            text(one, "detail"), proxied=seen.plan.proxied
        ):
            by_detail.setdefault(text(one, "detail"), []).append(one)
    admitted = _last_admitted(edge)
    for detail, these in by_detail.items():
        at = time(these[0], "at")
        level = _level(at, admitted, seen.now)
        when = f", last {say_ago(at, seen.now)}" if at else ""
        yield Finding(
            code="proxy_header_refused",
            level=level,
            area=Area.CLIENTS,
            what=f"{plural(len(these), 'connection')} refused over the PROXY header{when}:"
            f" {visible(detail).partition(';')[0]}",
            why="and nobody has been admitted lately: behind this load balancer Meta is locked out"
            if level is Level.PROBLEM
            else "",
            remedy=PROXY_ADVICE.get(detail, MALFORMED_PROXY),
            facts=(("from", visible(text(these[0], "address"))),),
        )


def _concerns(detail: str, *, proxied: bool) -> bool:
    """Say whether a refusal is about the header, as the configuration is now: the ledger outlives reloads."""
    if detail == NOT_EXPECTED:
        return not proxied
    return proxied and (detail == NOT_FROM_BALANCER or "PROXY header" in detail)


def _last_admitted(edge: Mapping[str, object]) -> datetime | None:
    """When somebody was last let in with a certificate, or believed for a signature."""
    times = [time(one, "last_seen_at") for one in mappings(edge, "anchors")]
    times += [time(one, "last_used_at") for one in mappings(edge, "secrets")]
    return max((at for at in times if at is not None), default=None)


def _level(at: datetime | None, admitted: datetime | None, now: datetime) -> Level:
    if at is None:
        return Level.WARNING
    if (now - at).total_seconds() > RECENT_SECONDS:
        return Level.NOTE
    if admitted is None or (at - admitted).total_seconds() > ADMITTED_LATELY_SECONDS:
        return Level.PROBLEM
    mended = (admitted - at).total_seconds() > ADMITTED_LATELY_SECONDS
    return Level.NOTE if mended else Level.WARNING
