"""What is the matter, and what Meta sends: facts of one process or of several, judged, told and shown.

The facts are the journal's; the judgement is `core.conditions`'. It falls where the admin port is, on the
facts of all workers together: one worker alone may hear nothing for hours and mean nothing by it.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from gateway.core.conditions import Condition, Name, Seen, TargetSeen, TurnedAway, judge
from gateway.core.heard import Heard, Slot, merge_slots, merge_tracks
from gateway.core.silence import judge_silence
from gateway.delivery.message import rfc3339
from gateway.errors import GatewayError
from gateway.telemetry.gap_ledger import GapLedger
from gateway.telemetry.journal import Journal
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.state_file import StateFileError, write_state

FOLD_EVERY_SECONDS: Final = 5.0
"""How often intervals, hours and lags are brought up to date: what a page shows is never older."""
STORE_EVERY_SECONDS: Final = 60.0
"""How often the file is written: what a crash may lose."""
JUDGE_EVERY_SECONDS: Final = 15.0
"""How often somebody looks whether something is the matter: a scrape's interval."""
SHOWN_LINES: Final = 500
"""Of the ledger, those heard of last: a page can bear no more."""
FRESH_LAG_MS: Final = 15 * 60_000
"""A lag that was seen longer ago says nothing of now: no metric."""

log = get_logger("conditions")


class Facts(msgspec.Struct, kw_only=True):
    """What one process knows, and what several know together."""

    listening_since_ms: int
    tracks: list[Heard]
    turned_away: list[TurnedAway]
    slots: list[Slot] = []


def facts_of(journal: Journal, *, listening_since_ms: int, now_ms: int, with_slots: bool) -> Facts:
    """Return what a process knows now."""
    journal.gaps.fold(now_ms)
    return Facts(
        listening_since_ms=listening_since_ms,
        tracks=journal.gaps.tracks(),
        turned_away=journal.turned_away.all(),
        slots=journal.gaps.slots() if with_slots else [],
    )


def merge_facts(parts: Sequence[Facts]) -> Facts:
    """Make one of several. We have listened since the first of them has."""
    if len(parts) == 1:
        return parts[0]
    kinds: dict[tuple[str, str, str], TurnedAway] = {}
    for kind in (kind for part in parts for kind in part.turned_away):
        key = (kind.app, kind.word, kind.grade)
        times = kinds[key].times_ms if key in kinds else []
        kinds[key] = msgspec.structs.replace(kind, times_ms=sorted((*times, *kind.times_ms)))
    return Facts(
        listening_since_ms=min(part.listening_since_ms for part in parts),
        tracks=merge_tracks(part.tracks for part in parts),
        turned_away=list(kinds.values()),
        slots=merge_slots(part.slots for part in parts),
    )


class GapKeeper:
    """Folds the gap ledger, and keeps it in a file beside the spool."""

    def __init__(self, ledger: GapLedger, path: Path, *, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._path = path
        self._now_ms = now_ms
        self._written = b""

    def restore(self, *, apps: Collection[str]) -> None:
        """Take in what a former life of the process has stored; an app that is no more is forgotten."""
        try:
            self._ledger.load(self._path, apps=apps)
        except StateFileError as error:
            log.warning("gap_ledger_unusable", error=str(error))
        self._written = self._ledger.content()

    async def run(self) -> None:
        """Fold and store, until it is cancelled; then store once more."""
        stored_at = trio.current_time()
        try:
            while True:
                await trio.sleep(FOLD_EVERY_SECONDS)
                self._ledger.fold(self._now_ms())
                if trio.current_time() - stored_at >= STORE_EVERY_SECONDS:
                    stored_at = trio.current_time()
                    await self._store()
        finally:
            # As with the times of anchors: a deployment must not cost the last minute.
            with trio.CancelScope(shield=True):
                self._ledger.fold(self._now_ms())
                await self._store()

    async def _store(self) -> None:
        content = self._ledger.content()
        if content == self._written:
            return
        try:
            await trio.to_thread.run_sync(write_state, self._path, content)
        except StateFileError as error:
            log.warning("gap_ledger_unusable", error=str(error))
        else:
            self._written = content


Gather = Callable[[bool], Awaitable[Facts]]
"""Returns the facts of all processes; the argument: with the lines of the ledger."""


class Judged(msgspec.Struct, kw_only=True):
    """What is judged."""

    facts: Facts
    targets: list[TargetSeen]


class Observer:
    """Judges now and again, tells what begins and ends, and answers `GET /api/ledger`."""

    def __init__(
        self,
        gather: Gather,
        *,
        status: Callable[[], Awaitable[Mapping[str, Any]]],
        apps: Callable[[], Collection[str]],
        metrics: Metrics,
        now_ms: Callable[[], int],
        judged: Callable[[], Awaitable[Judged]] | None = None,
    ) -> None:
        """`status` is that of the admin port's actions; `apps` are those configured now. `judged` is what is
        judged, where that is not what is shown: every look must judge the same, whoever looks."""
        self._judged = judged
        self._gather = gather
        self._status = status
        self._apps = apps
        self._metrics = metrics
        self._now_ms = now_ms
        self._standing: dict[tuple[str, ...], Condition] = {}
        self._looking = trio.Lock()
        """What was gathered first is judged first: else a condition would seem to end and begin again."""
        for name in Name:
            metrics.condition.labels(name.value).set(0)

    async def watch(self) -> None:
        """Judge until cancelled."""
        while True:
            try:
                await self._look()
            except GatewayError as error:  # the spool is closing, or no worker answers: the next look tells
                log.debug("conditions_not_judged", error=str(error))
            await trio.sleep(JUDGE_EVERY_SECONDS)

    async def report(self) -> Mapping[str, object]:
        """Return what `GET /api/ledger` answers; see `admin.reports.LedgerReport`."""
        facts, status, conditions = await self._look_closely()
        now_ms = self._now_ms()
        return {
            "at": rfc3339(now_ms),
            "listening_since": rfc3339(facts.listening_since_ms),
            "conditions": [shown_condition(one) for one in conditions],
            "fields": [self._shown_track(track, facts, now_ms) for track in self._configured(facts)],
            "lines": [_shown_slot(slot) for slot in facts.slots[:SHOWN_LINES]],
            "lines_left_out": max(0, len(facts.slots) - SHOWN_LINES),
            "targets": {
                name: {key: target.get(key) for key in _TARGET_KEYS}
                for name, target in status["targets"].items()
            },
        }

    async def _look(self) -> tuple[Condition, ...]:
        if self._judged is None:
            return (await self._look_at_all(with_slots=False))[2]
        async with self._looking:
            judged = await self._judged()
            return self._judge(judged.facts, judged.targets)

    async def _look_closely(self) -> tuple[Facts, Mapping[str, Any], tuple[Condition, ...]]:
        if self._judged is None:
            return await self._look_at_all(with_slots=True)
        conditions = await self._look()
        return await self._gather(True), await self._status(), conditions

    async def _look_at_all(
        self, *, with_slots: bool
    ) -> tuple[Facts, Mapping[str, Any], tuple[Condition, ...]]:
        async with self._looking:
            facts, status = await self._gather(with_slots), await self._status()
            return facts, status, self._judge(facts, targets_seen(status))

    def _configured(self, facts: Facts) -> list[Heard]:
        apps = self._apps()
        return sorted((track for track in facts.tracks if track.app in apps), key=lambda one: one.key)

    def _judge(self, facts: Facts, targets: Sequence[TargetSeen]) -> tuple[Condition, ...]:
        """Judge, tell what has begun and what has ended, and set the metrics."""
        now_ms = self._now_ms()
        heard = self._configured(facts)
        seen = Seen(
            heard=heard,
            turned_away=facts.turned_away,
            targets=targets,
            listening_since_ms=facts.listening_since_ms,
        )
        found: dict[tuple[str, ...], Condition] = {}
        for one in judge(seen, now_ms=now_ms):
            before = self._standing.get(one.key)
            # Refusals age out of their window while the condition goes on: it began when it began.
            since_ms = one.since_ms if before is None else min(one.since_ms, before.since_ms)
            found[one.key] = replace(one, since_ms=since_ms)
        for key, one in found.items():
            if key not in self._standing:
                log.warning("condition_began", **_told(one), summary=one.summary, evidence=list(one.evidence))
        for key, one in self._standing.items():
            if key not in found:
                log.info("condition_ended", **_told(one), seconds=max(0, now_ms - one.since_ms) // 1000)
        self._standing = found
        self._set_gauges(heard, now_ms)
        return tuple(found.values())

    def _set_gauges(self, heard: Sequence[Heard], now_ms: int) -> None:
        metrics = self._metrics
        for name in Name:
            number = sum(one.name is name for one in self._standing.values())
            metrics.condition.labels(name.value).set(number)
        metrics.meta_lag_seconds.clear()
        metrics.usual_interval_seconds.clear()
        latest: dict[str, Heard] = {}
        for track in heard:
            if track.usual_ms:
                gauge = metrics.usual_interval_seconds.labels(track.app, track.object, track.field)
                gauge.set(track.usual_ms / 1000)
            is_fresh = track.lag_ms is not None and now_ms - track.lag_at_ms <= FRESH_LAG_MS
            if is_fresh and (track.app not in latest or latest[track.app].lag_at_ms < track.lag_at_ms):
                latest[track.app] = track
        for app, track in latest.items():
            metrics.meta_lag_seconds.labels(app).set((track.lag_ms or 0) / 1000)

    @staticmethod
    def _shown_track(track: Heard, facts: Facts, now_ms: int) -> Mapping[str, object]:
        silence = judge_silence(track, listening_since_ms=facts.listening_since_ms, now_ms=now_ms)
        return {
            "app": track.app,
            "object": track.object,
            "field": track.field,
            "received": track.received,
            "first_received_at": rfc3339(track.first_ms),
            "last_received_at": rfc3339(track.last_ms),
            "usual_interval_seconds": _seconds(track.usual_ms),
            "lag_seconds": None if track.lag_ms is None else track.lag_ms / 1000,
            "silence": {
                "judgement": silence.hearing.value,
                "seconds": silence.silent_ms / 1000,
                "missed": round(silence.missed, 1),
            },
        }


_TARGET_KEYS: Final = ("state", "delivered", "last_delivered_at", "last_error", "next_give_up_at")


def targets_seen(status: Mapping[str, Any]) -> list[TargetSeen]:
    """Read the targets of `/api/status` for the judge."""
    found = []
    for name, target in status["targets"].items():
        breaker, failure = target.get("breaker") or {}, target.get("last_error") or {}
        error = failure.get("error") or str(failure.get("status") or "")
        found.append(
            TargetSeen(
                name=name,
                state=target.get("state", ""),
                opened_at_ms=_ms(breaker.get("opened_at")) if breaker.get("open") else None,
                refusing=breaker.get("state") == "refusing",
                pending=target.get("pending", 0),
                oldest_seconds=target.get("oldest_seconds", 0.0),
                last_delivered_ms=_ms(target.get("last_delivered_at")),
                last_error=error,
            )
        )
    return found


def shown_condition(condition: Condition) -> Mapping[str, object]:
    """Return it fit for JSON."""
    return {
        **_told(condition),
        "since": rfc3339(condition.since_ms),
        "summary": condition.summary,
        "evidence": list(condition.evidence),
        "next_steps": list(condition.next_steps),
    }


def _told(condition: Condition) -> dict[str, object]:
    return {
        "condition": condition.name.value,
        "app": condition.app,
        "field": condition.field,
        "target": condition.target,
        "reason": condition.reason,
    }


def _shown_slot(slot: Slot) -> Mapping[str, object]:
    return {
        "app": slot.app,
        "waba": slot.waba,
        "phone_number_id": slot.phone_number_id,
        "object": slot.object,
        "field": slot.field,
        "received": slot.count,
        "first_received_at": rfc3339(slot.first_ms),
        "last_received_at": rfc3339(slot.last_ms),
        "usual_interval_seconds": _seconds(slot.usual_ms),
        "lag_seconds": None if slot.lag_ms is None else slot.lag_ms / 1000,
        "delivered": {
            target: {"count": count, "last_at": rfc3339(at_ms)}
            for target, (count, at_ms) in sorted(slot.delivered.items())
        },
    }


def _seconds(ms: float) -> float | None:
    return round(ms / 1000, 3) if ms else None


def _ms(moment: str | None) -> int | None:
    return None if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1000)
