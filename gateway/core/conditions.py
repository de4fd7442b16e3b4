"""Three conditions that look alike from a chat window and have three different cures: Meta is silent, the
gateway refuses, a target fails. Pure: what was seen goes in, what is the matter comes out.

- `meta_silent`: nothing of a field for far longer than is usual at this hour of the week (`core.silence`),
  and nobody who might be Meta was turned away meanwhile.
- `gateway_refusing`: Meta came, and did not get its 200: certificate, signature, room. What only Meta can
  do (its certificate, an app secret) counts from the third time on; what anybody could do (bearing its name,
  knowing the path) counts only while nothing is accepted: a stranger cannot raise an alarm beside Meta's
  traffic.
- `target_failing`: the breaker of a target is open.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from gateway.core.heard import Heard
from gateway.core.silence import Hearing, judge_silence

WINDOW_MS: Final = 15 * 60_000
"""Refusals count for so long: Meta tries again at once and then ever more rarely."""
REFUSALS: Final = 3
"""In that window: one may be a request that was damaged on its way."""


class Name(StrEnum):
    """What each is called everywhere."""

    META_SILENT = "meta_silent"
    GATEWAY_REFUSING = "gateway_refusing"
    TARGET_FAILING = "target_failing"


class Grade(StrEnum):
    """Who can bring a refusal about."""

    OURS = "ours"
    """It is our own disk or memory, whoever met it."""
    PROVED = "proved"
    """It was Meta, or is by a staged anchor."""
    CLAIMED = "claimed"
    """It may be Meta: it bears the name of a client entry, or knows an app's path."""


class TurnedAway(msgspec.Struct, kw_only=True):
    """Refusals of one kind, lately."""

    app: str
    """Empty: a connection, of which no app is known."""
    word: str
    """Why: of a request the word of its answer, of a connection the reason."""
    grade: Grade
    times_ms: list[int]
    """The last of them, Unix time, ascending."""


class TargetSeen(msgspec.Struct, kw_only=True):
    """How a target is."""

    name: str
    state: str
    """`open` is what counts."""
    opened_at_ms: int | None
    refusing: bool
    """It opened because the target refuses everything, not because it fails."""
    pending: int
    oldest_seconds: float
    last_delivered_ms: int | None = None
    last_error: str = ""
    """Of the last attempt that failed: `503`, `connection refused`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that somebody should look at."""

    name: Name
    since_ms: int
    """Unix time."""
    summary: str
    evidence: tuple[str, ...]
    next_steps: tuple[str, ...]
    """What to do, the first thing first: commands, and a page."""
    app: str | None = None
    field: str | None = None
    target: str | None = None
    reason: str | None = None
    """Of refusals: the word."""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same as before."""
        return (self.name, self.app or "", self.field or "", self.target or "", self.reason or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that is judged."""

    heard: Sequence[Heard]
    turned_away: Sequence[TurnedAway]
    targets: Sequence[TargetSeen]
    listening_since_ms: int


_CURES: Final[Mapping[str, tuple[str, ...]]] = {
    "signature": (
        "compare the app secret in Meta's App Dashboard with app_secrets: after a rotation list both",
        "gateway doctor",
    ),
    "client_certificate": (
        "gateway doctor, which lists refused certificates by reason",
        "while it is unclear: client_certificate: report for this app, then SIGHUP",
    ),
    "unavailable": (
        "gateway doctor: is there room on the spool's disk, and can it be written?",
        "what Meta was told 503 it sends again for seven days",
    ),
    "too_large": ("raise listen.max_body: Meta sends up to 3 MB",),
    "revoked": (
        "gateway doctor, which lists revocation lists and their dates",
        "compare with Meta's announcement",
    ),
    "unknown_issuer": (
        "gateway doctor: has Meta moved to another CA? it says which staged anchor would admit it",
        "put Meta's new CA into trust_anchors, then SIGHUP; until then client_certificate: report",
    ),
}
_OTHER_CURE: Final = ("gateway doctor, which lists the last refusals", "the log's request_refused events")

_SUREST_FIRST: Final = (Grade.OURS, Grade.PROVED, Grade.CLAIMED)
_WHOM: Final = {
    Grade.OURS: "notifications",
    Grade.PROVED: "Meta",
    Grade.CLAIMED: "somebody who may be Meta",
}


def judge(seen: Seen, *, now_ms: int) -> tuple[Condition, ...]:
    """Say what is the matter, refusals first; empty where nothing is."""
    refusing = tuple(_refusing(seen, now_ms))
    return (*refusing, *_silent(seen, refusing, now_ms), *_failing(seen.targets))


def _refusing(seen: Seen, now_ms: int) -> Iterable[Condition]:
    told = set()
    for kind in sorted(seen.turned_away, key=lambda one: _SUREST_FIRST.index(one.grade)):
        if (kind.app, kind.word) in told:
            continue
        recent = [at_ms for at_ms in kind.times_ms if 0 <= now_ms - at_ms <= WINDOW_MS]
        accepted_ms = max((one.last_ms for one in seen.heard if kind.app in ("", one.app)), default=0)
        doubtful = kind.grade is Grade.CLAIMED and accepted_ms >= now_ms - WINDOW_MS
        if len(recent) < REFUSALS or doubtful:
            continue
        told.add((kind.app, kind.word))
        whom = _WHOM[kind.grade]
        where = f" on app {kind.app}" if kind.app else ""
        evidence = [
            f"{len(recent)} times or more in the last 15 minutes, {_age(now_ms, recent[-1])} ago the last"
        ]
        evidence.append(
            f"the last notification was accepted {_age(now_ms, accepted_ms)} ago"
            if accepted_ms
            else "no notification has been accepted so far"
        )
        if kind.grade is Grade.CLAIMED:
            evidence.append("anybody can bear Meta's name or try a path: look at addresses before you act")
        yield Condition(
            name=Name.GATEWAY_REFUSING,
            since_ms=recent[0],
            summary=f"the gateway turns {whom} away{where}: {kind.word}",
            evidence=tuple(evidence),
            next_steps=_CURES.get(kind.word, _OTHER_CURE),
            app=kind.app or None,
            reason=kind.word,
        )


def _silent(seen: Seen, refusing: Sequence[Condition], now_ms: int) -> Iterable[Condition]:
    refused = {condition.app for condition in refusing}
    for heard in seen.heard:
        if None in refused or heard.app in refused:
            continue  # Meta is not silent: it is not let in
        silence = judge_silence(heard, listening_since_ms=seen.listening_since_ms, now_ms=now_ms)
        if silence.hearing is not Hearing.SUSPICIOUS:
            continue
        expected = f"at least {silence.missed:.0f} should have come by now" if silence.missed else ""
        usual = f"usually one every {_span(round(heard.usual_ms))}" if heard.usual_ms else ""
        yield Condition(
            name=Name.META_SILENT,
            since_ms=silence.since_ms,
            summary=f"Meta is silent: no {heard.field} for app {heard.app} for {_span(silence.silent_ms)}",
            evidence=tuple(
                text
                for text in (
                    f"last received {_age(now_ms, heard.last_ms)} ago",
                    usual,
                    expected,
                    "nobody who may be Meta was turned away meanwhile",
                )
                if text
            ),
            next_steps=(
                "gateway doctor, which looks at the public port from outside",
                "gateway subscriptions check --all: is it still subscribed? Meta unsubscribes what fails",
                "https://metastatus.com, and the network before the gateway",
            ),
            app=heard.app,
            field=heard.field,
        )


def _failing(targets: Iterable[TargetSeen]) -> Iterable[Condition]:
    for target in targets:
        if target.opened_at_ms is None or target.state == "paused":
            continue
        oldest = _span(round(target.oldest_seconds * 1000))
        evidence = [
            f"{target.pending} deliveries wait, the oldest for {oldest}"
            if target.pending
            else "nothing waits for it now: the next delivery shows how it is"
        ]
        if target.last_error:
            evidence.append(f"the last attempt failed: {target.last_error}")
        verb = "refuses everything" if target.refusing else "fails"
        yield Condition(
            name=Name.TARGET_FAILING,
            since_ms=target.opened_at_ms,
            summary=f"target {target.name} {verb}",
            evidence=tuple(evidence),
            next_steps=(
                "look at the target itself, and at the log's delivery_retried events",
                f"for planned work: gateway targets pause {target.name} --for 2h",
                "what waits goes out by itself once an attempt is taken",
            ),
            target=target.name,
        )


def _age(now_ms: int, at_ms: int) -> str:
    return _span(max(0, now_ms - at_ms))


def _span(ms: int) -> str:
    """Say a duration in one unit, two at the most."""
    seconds = ms / 1000
    for unit, size, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < below:
            return f"{seconds / size:.2g} {unit}" if seconds < 1 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
