"""What the supervisor's admin port answers: what the workers say, made one.

Counts are added, of times the oldest or the newest tells, and a target is as it is in the worker where it is
worst. What all workers see whole is not added: the dead letters, which lie in one directory, and what waits
in a spool that they share. Who does what is asked for: `process.spools`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import trio

from gateway.admin.actions import ActionResult
from gateway.admin.health import Check
from gateway.admin.requests import LettersRequest, ReplayKeptRequest
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.errors import GatewayError, UsageError
from gateway.operations import BY_ADMIN_PORT
from gateway.process.admin_port import AdminAnswers
from gateway.process.exposition import set_readiness
from gateway.process.fleet import Answer, Fleet
from gateway.process.merging import Answers, merge_edges, merge_health, merge_status, most_dead, worst
from gateway.process.observing import Facts, merge_facts
from gateway.process.spools import ACTION_SECONDS, answers_of, first_serving, spools_of
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.metrics import Metrics
from gateway.tracing import Part, read_asked, trace_letters

COUNTED_SECONDS: Final = 10.0
"""How old the count of dead letters may be: counting a hundred thousand takes some tenths of a second."""


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
            changes=partial(trio.to_thread.run_sync, self._audit.tail, abandon_on_cancel=True),
            trace_parts=self._spools.trace,
            recall=self._recall,
            follow_pauses=self._follow_pauses,
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
        return merge_facts(answers_of(await self._fleet.ask_all("facts", Facts, with_slots=with_slots)))

    # -- actions

    async def status(self) -> Mapping[str, object]:
        """Return how each target is, and each worker."""
        said = await self._all("status")
        shared = self._fleet.shared_spool
        dead = most_dead(said) if shared else await self._dead_letters_now()
        merged = merge_status(said, dead, shared_spool=shared)
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
        return worst(await self._spools.pause(target, seconds=seconds, reason=reason))

    async def resume(self, target: str, *, rate_per_second: float | None) -> Mapping[str, object]:
        """Deliver to a target again, in all workers; each takes its share of the rate."""
        self._demand(target)
        await self._record("resume", target=target, rate_per_second=rate_per_second)
        return worst(await self._spools.resume(target, rate_per_second=rate_per_second))

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

    async def _recall(self, ids: Sequence[str]) -> list[Part]:
        said = await self._fleet.ask_all("recall", Part, ids=list(ids))
        return [one for one in said.values() if not isinstance(one, GatewayError)]

    async def _follow_pauses(self) -> None:
        await self._fleet.ask_all("follow_pauses", type(None))

    def _demand(self, target: str) -> None:
        known = self._fleet.generation.settings.targets
        if target not in known:
            raise UsageError("there is no such target", remedy=f"targets: {', '.join(sorted(known))}")

    def recount(self) -> None:
        """Count the dead letters anew when they are next asked for: they lie elsewhere."""
        self._counted_at = None

    async def _all(self, name: str) -> Answers:
        return answers_of(await self._fleet.ask_all(name, dict[str, Any]))

    async def _record(self, action: str, **fields: object) -> None:
        await trio.to_thread.run_sync(partial(self._audit.record, action, by=BY_ADMIN_PORT, **fields))
