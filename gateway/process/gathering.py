"""What the supervisor's admin port answers: what the workers say, made one.

Counts are added, of times the oldest or the newest tells, and a target is as it is in the worker where it is
worst. What all workers see whole is not added: the dead letters, which lie in one directory, and what waits
in a spool that they share. Who does what is asked for: `process.spools`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import trio

from gateway.admin.actions import ActionResult
from gateway.admin.health import Check
from gateway.admin.requests import LettersRequest, ReplayKeptRequest
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.errors import GatewayError, SpoolUnavailableError, UsageError
from gateway.operations import BY_ADMIN_PORT
from gateway.process.admin_port import AdminAnswers
from gateway.process.exposition import set_readiness
from gateway.process.fleet import Answer, Fleet
from gateway.process.observing import Facts, merge_facts
from gateway.process.spools import ACTION_SECONDS, first_serving, spools_of
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.metrics import Metrics
from gateway.tracing import read_asked, trace_letters

COUNTED_SECONDS: Final = 10.0
"""How old the count of dead letters may be: counting a hundred thousand takes some tenths of a second."""
NEWEST_REFUSALS: Final = 200
"""As many as one process keeps."""
_WORSE: Final = ("delivering", "recovering", "open", "paused", "unknown")
"""Of the states of a target, what is told where the workers differ: the last."""
_WAITING: Final = ("pending", "pending_bytes")

Answers = Sequence[Mapping[str, Any]]


class Gathering:
    """The admin port's `Actions`, health, metrics and edge, of all workers."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        metrics: Metrics,
        dead_letters: DeadLetterStore,
        audit: AuditLog,
        is_draining: Callable[[], bool],
        reload_refused: Callable[[], str],
    ) -> None:
        self._fleet = fleet
        self._spools = spools_of(fleet)
        self._metrics = metrics
        self._dead_letters = dead_letters
        self._audit = audit
        self._is_draining = is_draining
        self._reload_refused = reload_refused
        self._counting = trio.Lock()
        self._counted_at: float | None = None

    @property
    def answers(self) -> AdminAnswers:
        """What the gateway says of itself on the admin port."""
        return AdminAnswers(
            actions=self,
            health=self.health,
            render_metrics=self.render_metrics,
            edge=self.edge,
            facts=self.facts,
        )

    # -- health and metrics

    async def health(self) -> Mapping[str, Check]:
        """Ready where one worker is."""
        said = await self._fleet.ask_all("health", dict[str, tuple[bool, str]])
        doors = {worker.number for worker in self._fleet.serving}
        checks = {
            number: {name: Check(ok=ok, detail=detail) for name, (ok, detail) in one.items()}
            for number, one in said.items()
            if number in doors and not isinstance(one, GatewayError)
        }
        total = sum(not worker.drains for worker in self._fleet.workers)
        return merge_health(
            checks, total=total, draining=self._is_draining(), reload_refused=self._reload_refused()
        )

    async def render_metrics(self) -> bytes:
        """Return the text of `/metrics`; a worker that does not answer counts as it last did."""
        said: Mapping[int, str | GatewayError] = {}
        checks: Mapping[str, Check] = {}

        async def ask_health() -> None:
            nonlocal checks
            checks = await self.health()

        # At once: a worker that hangs must not cost a scrape its patience twice.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_health)
            said = await self._fleet.ask_all("metrics", str)
        set_readiness(self._metrics, checks)
        self._fleet.totals.take(
            {number: text for number, text in said.items() if not isinstance(text, GatewayError)}
        )
        for target, files in (await self._dead_letters_now()).items():
            self._metrics.dead_letters.labels(target).set(files)
        return self._fleet.totals.text(self._metrics.render().decode()).encode()

    async def _dead_letters_now(self) -> Mapping[str, int]:
        """Count the files: all workers write them. A target whose files are gone has 0."""
        async with self._counting:
            now = trio.current_time()
            if self._counted_at is None or now - self._counted_at > COUNTED_SECONDS:
                await trio.to_thread.run_sync(self._dead_letters.count, abandon_on_cancel=True)
                self._counted_at = now
        known = self._fleet.generation.settings.targets
        return {**dict.fromkeys(known, 0), **self._dead_letters.counts()}

    async def edge(self) -> Mapping[str, object]:
        """Return what `GET /api/edge` answers."""
        return merge_edges(await self._all("edge"))

    async def facts(self, with_slots: bool) -> Facts:
        """Return what all know of what Meta sends."""
        said = await self._fleet.ask_all("facts", Facts, with_slots=with_slots)
        parts = [one for one in said.values() if not isinstance(one, GatewayError)]
        if not parts:
            raise SpoolUnavailableError("no worker answers now", remedy="ask again in a moment")
        return merge_facts(parts)

    # -- actions

    async def status(self) -> Mapping[str, object]:
        """Return how each target is, and each worker."""
        said = await self._all("status")
        merged = merge_status(said, await self._dead_letters_now(), shared_spool=self._fleet.shared_spool)
        workers = [
            {
                "worker": worker.number,
                "state": worker.state,
                "pid": worker.process.pid if worker.process is not None else None,
                "restarts": worker.restarts,
            }
            for worker in self._fleet.workers
        ]
        return {**merged, "workers": workers}

    async def trace(self, text: str) -> Mapping[str, object]:
        """Follow a notification, or find those that hold a message id: wherever it may be."""
        asked, parts = read_asked(text), await self._spools.trace(text)
        targets = self._fleet.generation.settings.targets
        return await trace_letters(asked, parts, self._dead_letters, targets=targets)

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Mapping[str, object]:
        """Leave a target alone, in all workers."""
        self._demand(target)
        await self._record("pause", target=target, seconds=seconds, reason=reason)
        return _worst(await self._spools.pause(target, seconds=seconds, reason=reason))

    async def resume(self, target: str, *, rate_per_second: float | None) -> Mapping[str, object]:
        """Deliver to a target again, in all workers; each takes its share of the rate."""
        self._demand(target)
        await self._record("resume", target=target, rate_per_second=rate_per_second)
        return _worst(await self._spools.resume(target, rate_per_second=rate_per_second))

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, object]:
        """Make dead letters of what waits for a lost target: about `limit`, wherever it waits."""
        await self._record("discard_target", target=target, limit=limit)
        done = await self._spools.discard_target(target, limit=limit)
        self.recount()
        return done

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, object]:
        """Send again a part of what is kept."""
        self._demand(asked.target)
        if not asked.dry_run:
            fields = msgspec.to_builtins(asked)
            await self._record("replay_kept", **fields)
        return await self._spools.replay_kept(asked)

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Store dead letters again."""
        await self._record("replay", ids=list(ids), accept_edited=accept_edited)
        results = await self._spools.replay(ids, accept_edited=accept_edited)
        self.recount()
        return results

    async def rehearse(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Say what a replay would do."""
        return await self._of_first(
            "rehearse", dict[str, ActionResult], ids=list(ids), accept_edited=accept_edited
        )

    async def list_letters(self, asked: LettersRequest) -> Mapping[str, object]:
        """List dead letters that gateways share."""
        return await self._of_first("list_letters", dict[str, Any], asked=msgspec.to_builtins(asked))

    async def read_letter(self, identifier: str) -> Mapping[str, object]:
        """Return one of these."""
        return await self._of_first("read_letter", dict[str, Any], identifier=identifier)

    async def _of_first(self, name: str, answer: type[Answer], **arguments: object) -> Answer:
        first = first_serving(self._fleet)
        return await self._fleet.ask(first, name, answer, within_seconds=ACTION_SECONDS, **arguments)

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        """Remove dead letters for good."""
        await self._record("discard", ids=list(ids))
        done = await self._fleet.ask(
            first_serving(self._fleet),
            "discard",
            dict[str, ActionResult],
            within_seconds=ACTION_SECONDS,
            ids=list(ids),
        )
        self.recount()
        return done

    def _demand(self, target: str) -> None:
        known = self._fleet.generation.settings.targets
        if target not in known:
            raise UsageError("there is no such target", remedy=f"targets: {', '.join(sorted(known))}")

    def recount(self) -> None:
        """Count the dead letters anew when they are next asked for: they lie elsewhere."""
        self._counted_at = None

    async def _all(self, name: str) -> Answers:
        said = await self._fleet.ask_all(name, dict[str, Any])
        answers = [one for one in said.values() if not isinstance(one, GatewayError)]
        if not answers:
            raise SpoolUnavailableError("no worker answers now", remedy="ask again in a moment")
        return answers

    async def _record(self, action: str, **fields: object) -> None:
        await trio.to_thread.run_sync(partial(self._audit.record, action, by=BY_ADMIN_PORT, **fields))


def merge_health(
    said: Mapping[int, Mapping[str, Check]], *, total: int, draining: bool, reload_refused: str
) -> Mapping[str, Check]:
    """Make one `/readyz` of several: all is well where all is well with one worker; the others are told."""
    ready = [number for number, checks in said.items() if all(check.ok for check in checks.values())]
    names = {name: None for checks in said.values() for name in checks} or {"listener": None}
    told = {
        name: "; ".join(
            f"worker {number}: {checks[name].detail}"
            for number, checks in said.items()
            if name in checks and checks[name].detail
        )
        for name in names
    }
    merged = {
        name: Check(
            ok=bool(ready) or (bool(said) and all(name in one and one[name].ok for one in said.values())),
            detail=detail or ("" if said else "no worker serves"),
        )
        for name, detail in told.items()
    }
    return {
        **merged,
        "draining": Check(ok=not draining, detail="about to stop" if draining else ""),
        "configuration": Check(ok=True, detail=reload_refused),
        "workers": Check(
            ok=bool(ready), detail="" if len(ready) == total else f"{len(ready)} of {total} serve"
        ),
    }


def merge_status(
    said: Answers, dead_letters: Mapping[str, int], *, shared_spool: bool = False
) -> dict[str, Any]:
    """Make one status of several; in all but the targets, the first has the word. Who shares a spool sees all
    that waits, up to a second late: the most is told, and nothing added."""
    waiting = _most_waiting if shared_spool else _all_waiting
    names = {name: None for one in said for name in one["targets"]} | dict.fromkeys(dead_letters)
    targets = {}
    for name in names:
        parts = [one["targets"][name] for one in said if name in one["targets"]]
        targets[name] = {
            **_worst(parts),
            **waiting(parts),
            "oldest_seconds": max((part["oldest_seconds"] for part in parts), default=0.0),
            # RFC 3339, UTC: text sorts.
            "next_attempt_at": min(
                filter(None, (part.get("next_attempt_at") for part in parts)), default=None
            ),
            **_last_error(parts),
            "dead_letters": dead_letters.get(name, 0),
            **_doing(parts),
        }
    return {**(said[0] if said else {}), "targets": targets}


def _all_waiting(parts: Answers) -> dict[str, int]:
    return {key: sum(part.get(key, 0) for part in parts) for key in _WAITING}


def _most_waiting(parts: Answers) -> dict[str, int]:
    most = max(parts, key=lambda part: tuple(part.get(key, 0) for key in _WAITING), default={})
    return {key: most.get(key, 0) for key in _WAITING}


def _doing(parts: Answers) -> dict[str, Any]:
    """Return how a target is doing in all workers (RFC 3339, UTC: text sorts)."""
    give_ups = [part["next_give_up_at"] for part in parts if part.get("next_give_up_at")]
    delivered = [part["last_delivered_at"] for part in parts if part.get("last_delivered_at")]
    return {
        "delivered": sum(part.get("delivered", 0) for part in parts),
        "last_delivered_at": max(delivered, default=None),
        "next_give_up_at": min(give_ups, default=None),
    }


def _worst(parts: Answers) -> dict[str, Any]:
    """Return the view where the target is worst."""
    return dict(sorted(parts, key=_badness)[-1]) if parts else {}


def _last_error(parts: Answers) -> dict[str, Any]:
    """Return the latest of all (RFC 3339, UTC: text sorts)."""
    errors = [part["last_error"] for part in parts if part.get("last_error")]
    return {"last_error": max(errors, key=lambda error: str(error["at"]))} if errors else {}


def _badness(part: Mapping[str, Any]) -> int:
    state = part.get("state")
    return _WORSE.index(state) if state in _WORSE else -1


def merge_edges(said: Answers) -> dict[str, Any]:
    """Make one report of several (`admin.reports.EdgeReport`)."""
    return {
        **said[0],
        "anchors": _latest(said, "anchors", ("client", "sha256"), "last_seen_at"),
        "secrets": _latest(said, "secrets", ("app", "index"), "last_used_at"),
        "certificates": _latest(said, "certificates", ("name",), "not_after"),
        "apps": {
            name: {
                **app,
                "recent": {
                    key: sum(one["apps"][name]["recent"][key] for one in said if name in one["apps"])
                    for key in app["recent"]
                },
            }
            for name, app in said[0]["apps"].items()
        },
        "refusals": sorted(
            (refusal for one in said for refusal in one["refusals"]),
            key=lambda one: str(one["at"]),
            reverse=True,
        )[:NEWEST_REFUSALS],
    }


def _latest(said: Answers, name: str, key: Iterable[str], time: str) -> list[Mapping[str, Any]]:
    """Of each thing that several tell of, take the word of the latest (RFC 3339, UTC: text sorts)."""
    found: dict[tuple[object, ...], Mapping[str, Any]] = {}
    for one in said:
        for row in one[name]:
            identity = tuple(row[part] for part in key)
            if identity not in found or (row[time] or "") > (found[identity][time] or ""):
                found[identity] = row
    return list(found.values())
