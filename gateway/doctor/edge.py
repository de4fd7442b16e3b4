"""Judge: who came to the door. Refusals, migration to `required`, app secrets, revocation lists. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from gateway.core.identity import Reason
from gateway.doctor.advice import (
    FEW_NOTIFICATIONS,
    PROVED_ADVICE,
    RECENT_SECONDS,
    REFUSAL_ADVICE,
    SWITCH_ON_MTLS,
)
from gateway.doctor.finding import Area, Finding, Level, plural, say_ago
from gateway.doctor.observed import EDGE, ClientCertificate, Observations
from gateway.doctor.reading import mapping, mappings, number, text, time
from gateway.telemetry.redaction import visible

_SHOWN: Final = 120
"""Characters of a stranger's text."""

_DIGITS: Final = 16
"""Of an anchor's SHA-256, where a refusal names the anchor (`core.identity.Refusal.would_admit`)."""

_Entry = Mapping[str, object]


def judge_clients(seen: Observations) -> Iterator[Finding]:
    """What the door of the running gateway has on record."""
    edge = seen.running.content(EDGE) if seen.running is not None else None
    if edge is None:
        return
    apps = mapping(edge.get("apps"))
    for name, configured in seen.plan.apps.items():
        if name in apps:
            yield from _judge_app(name, mapping(apps[name]), configured)
    refusals = list(mappings(edge, "refusals"))
    trusted = _named(edge, staged=False)
    open_ones = [one for one in refusals if text(one, "staged") not in trusted]
    yield _count_refusals(refusals, len(refusals) - len(open_ones), seen)
    yield from _judge_claims(open_ones, edge, seen)
    yield from _judge_proved(refusals, edge, seen)
    yield from _judge_staged(refusals, edge)
    yield from _judge_secrets(edge, seen)


def _judge_app(name: str, app: _Entry, configured: ClientCertificate) -> Iterator[Finding]:
    recent = mapping(app.get("recent"))
    count, without = int(number(recent, "notifications")), int(number(recent, "without_accepted"))
    policy = text(app, "client_certificate") or configured
    last = plural(count, "notification")
    came = f"{without} of the last {last} came without an accepted certificate"
    if not count:
        yield Finding(
            code="no_notifications",
            level=Level.NOTE,
            area=Area.CLIENTS,
            what=f"{name}: no notification since the gateway started",
            why="nothing can be said of the certificates that it comes with",
        )
    elif policy == "required":
        yield Finding(
            code="certificate_required",
            level=Level.OK,
            area=Area.CLIENTS,
            what=f"{name}: a certificate is required; {last} accepted with one lately",
        )
    elif without:
        yield Finding(
            code="not_safe_to_require",
            level=Level.WARNING,
            area=Area.CLIENTS,
            what=f"{name}: not safe to require: {came}",
            why="their signatures were right; under `required` each would have been refused",
            remedy=f"see the refusals below; where none was presented, switch it on {SWITCH_ON_MTLS}",
        )
    else:
        few = count < FEW_NOTIFICATIONS
        yield Finding(
            code="safe_to_require",
            level=Level.NOTE,
            area=Area.CLIENTS,
            what=f"{name}: safe to require: {came}",
            why="these are few: a day's worth says more" if few else "",
            remedy=f"write client_certificate: required under apps.{name}, then reload",
        )


def _named(edge: _Entry, *, staged: bool) -> frozenset[str]:
    """Return the anchors that are configured now, each as a refusal's `staged` names it."""
    return frozenset(
        f"{text(one, 'client')} {text(one, 'sha256')[:_DIGITS]}"
        for one in mappings(edge, "anchors")
        if (one.get("staged") is True) is staged
    )


def _count_refusals(refusals: list[_Entry], solved: int, seen: Observations) -> Finding:
    if not refusals:
        return Finding(
            code="refusals",
            level=Level.OK,
            area=Area.CLIENTS,
            what="nothing was refused, as far as kept",
        )
    counts = Counter(text(one, "reason") for one in refusals)
    newest = time(refusals[0], "at")
    facts = [("newest", say_ago(newest, seen.now))] if newest else []
    if solved:
        facts.append(("solved", f"{solved}: by an anchor that was staged then, and is trusted now"))
    return Finding(
        code="refusals",
        level=Level.OK,
        area=Area.CLIENTS,
        what=f"{plural(len(refusals), 'refusal')} on record: "
        + ", ".join(f"{count} {visible(reason)}" for reason, count in counts.most_common()),
        facts=tuple(facts),
    )


def _judge_claims(refusals: list[_Entry], edge: _Entry, seen: Observations) -> Iterator[Finding]:
    """Refused certificates that call themselves Meta's: anybody may write that into one."""
    by_reason: dict[str, list[_Entry]] = {}
    for one in refusals:
        if one.get("claims_meta") is True and text(one, "kind") != "request":
            by_reason.setdefault(text(one, "reason"), []).append(one)
    # Where nobody was ever admitted, these are most likely Meta itself, locked out.
    locked_out = not any(time(anchor, "last_seen_at") for anchor in mappings(edge, "anchors"))
    for reason, these in by_reason.items():
        newest = these[0]
        at = time(newest, "at")
        when = f", last {say_ago(at, seen.now)}" if at else ""
        old = at is not None and (seen.now - at).total_seconds() > RECENT_SECONDS
        yield Finding(
            code="meta_refused",
            level=Level.PROBLEM if locked_out else Level.NOTE if old else Level.WARNING,
            area=Area.CLIENTS,
            what=f"a certificate that calls itself Meta's was refused {plural(len(these), 'time')}"
            f" ({visible(reason)}{when})",
            why="and nobody has been admitted: Meta may be locked out" if locked_out else "",
            remedy=REFUSAL_ADVICE[Reason(reason)] if reason in REFUSAL_ADVICE else "",
            facts=tuple(
                (label, visible(text(newest, key))[:_SHOWN])
                for label, key in (
                    ("subject", "subject"), ("issuer", "issuer"), ("serial", "serial"),
                    ("from", "address"), ("detail", "detail"),
                )
                if text(newest, key)
            ),
        )  # fmt: skip


def _judge_proved(refusals: list[_Entry], edge: _Entry, seen: Observations) -> Iterator[Finding]:
    """Requests of a client that was proved to be Meta, refused for another reason: each is an alarm."""
    groups: dict[tuple[str, str, int], list[_Entry]] = {}
    for one in refusals:
        if one.get("proved") is True and text(one, "kind") == "request":
            key = (text(one, "app"), text(one, "reason"), int(number(one, "status")))
            groups.setdefault(key, []).append(one)
    accepted: dict[str, datetime] = {}
    for secret in mappings(edge, "secrets"):
        if used := time(secret, "last_used_at"):
            accepted[text(secret, "app")] = max(used, accepted.get(text(secret, "app"), used))
    for (app, reason, status), these in groups.items():
        at = time(these[0], "at")
        when = f", last {say_ago(at, seen.now)}" if at else ""
        yield Finding(
            code="proved_client_refused",
            level=_level_of_alarm(at, accepted.get(app), seen),
            area=Area.CLIENTS,
            what=f"{visible(app) or 'unknown path'}: a client with an accepted certificate was answered"
            f" {status}, {plural(len(these), 'time')} ({visible(reason)}{when})",
            why="it is one of the app's clients, Meta most likely, and what it sent was not taken",
            remedy=PROVED_ADVICE.get(status, ""),
        )


def _level_of_alarm(at: datetime | None, accepted: datetime | None, seen: Observations) -> Level:
    """What was refused long ago may be mended since; the ledger keeps it until the gateway is restarted."""
    if at is not None and (seen.now - at).total_seconds() > RECENT_SECONDS:
        return Level.NOTE
    mended = at is not None and accepted is not None and accepted > at
    return Level.WARNING if mended else Level.PROBLEM


def _judge_staged(refusals: list[_Entry], edge: _Entry) -> Iterator[Finding]:
    # The ledger outlives reloads: an anchor may be trusted by now, or be gone from the configuration.
    waiting = _named(edge, staged=True) - _named(edge, staged=False)
    named: dict[str, list[_Entry]] = {}
    for one in refusals:
        if (said := text(one, "staged")) in waiting:
            named.setdefault(visible(said), []).append(one)
    for anchor, these in named.items():
        yield Finding(
            code="staged_would_admit",
            level=Level.WARNING,
            area=Area.CLIENTS,
            what=f"{plural(len(these), 'refused connection')} would be admitted by the staged anchor"
            f" {anchor[:_SHOWN]}",
            remedy="if these are Meta's: move it from staged_anchors to trust_anchors, beside the old one",
        )


def _judge_secrets(edge: _Entry, seen: Observations) -> Iterator[Finding]:
    by_app: dict[str, list[_Entry]] = {}
    for secret in mappings(edge, "secrets"):
        by_app.setdefault(text(secret, "app"), []).append(secret)
    for app, secrets in by_app.items():
        used = {int(number(one, "index")): time(one, "last_used_at") for one in secrets}
        if len(used) < 2 or not any(used.values()):
            continue
        told = ", ".join(
            f"secret {index} {say_ago(at, seen.now) if at else 'never'}" for index, at in sorted(used.items())
        )
        yield Finding(
            code="secrets_in_rotation",
            level=Level.NOTE,
            area=Area.CLIENTS,
            what=f"{app}: {plural(len(used), 'app secret')}; last used: {told}",
            why="Meta may still retry for seven days what it signed with the old one",
            remedy="take the old one out when it was not used for seven days",
        )
