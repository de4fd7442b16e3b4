"""A worker process: accepts on sockets that it was given, and delivers from a spool file of its own, or
from the spool that all workers share.

It is started by the supervisor (`gateway run --worker N`), hears from it alone (signals are the supervisor's
to take), and ends with it. What it serves is what the supervisor has read: the content of the configuration
comes with the first question, so that a worker which is started anew does not take up what waits for a
SIGHUP. A worker that drains has no door: it delivers what is left in the file of a worker that is no more,
and when nothing is, removes the file and ends.
"""

import os
import socket
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from gateway.admin.requests import LettersRequest, ReplayKeptRequest
from gateway.clock import unix_ms
from gateway.core import pausing
from gateway.core.pausing import Pause, Pauses
from gateway.errors import ConfigurationError, GatewayError, UsageError
from gateway.preflight import load_and_examine
from gateway.process.assembly import Assembly, Life
from gateway.process.channel import Question, Questions, end_with_other_side
from gateway.process.exposition import Outcome, ReloadRecord
from gateway.process.generation import Generation, build_generation, fingerprint
from gateway.process.reloading import prepare
from gateway.process.service import SWITCH_INTERVAL_SECONDS, fail_with, leading_error, settle_memory
from gateway.settings.model import Spool as SpoolSettings
from gateway.spool.contract import Spool
from gateway.spool.opening import open_locked_spool, place_of_spool
from gateway.spool.sqlite import remove_worker_file
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.log import apply_log_settings, get_logger, tell_worker
from gateway.telemetry.metrics import Metrics
from gateway.tls.binding import Bound
from gateway.tls.turns import Turns

LOOK_SECONDS: Final = 1.0
"""How often a worker that drains sees whether something is left."""

log = get_logger("service")


class Post(msgspec.Struct, frozen=True):
    """What a worker is to do: the first question."""

    number: int
    content: str
    """The configuration, base64."""
    sockets: list[int]
    """Descriptors of the public port; none: it drains."""
    board: int
    """A descriptor, of what all show each other (`tls.turns`)."""
    addresses: list[tuple[str, int]]
    workers: int
    """How many there are: each delivers at its share of the rate of a `resume`."""
    spool: str
    """Where the spool is, or that of all."""
    pauses: dict[str, Pause] | None
    """Those that go on in the other workers; None where there is no other, or the spool has them."""


class Prepared(msgspec.Struct, frozen=True):
    """What came of preparing a reload."""

    fingerprint: str
    problems: list[dict[str, Any]]


class _Unaudited(AuditLog):
    """The supervisor keeps the audit log: one line an action, not one a worker."""

    def record(self, action: str, **fields: object) -> None:
        del action, fields


async def work(end: socket.socket, *, config: Path) -> None:
    """Do what the supervisor at the other end asks, until it is done or gone.

    Raises:
        GatewayError: it could not start, or the spool has failed for good.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    end_with_other_side(end)
    questions = Questions(end)
    first = await questions.next()
    if first is None:
        return
    post = msgspec.convert(first.arguments, Post)
    tell_worker(post.number)
    loaded, problems = load_and_examine(config, environ=os.environ, content=b64decode(post.content))
    if problems or loaded is None:
        raise ConfigurationError(problems)
    apply_log_settings(loaded.settings.log)
    demand_place(loaded.settings.spool, post.spool)
    generation = build_generation(loaded)
    if await _serve(post, generation, questions, first):
        remove_worker_file(loaded.settings.spool.directory, post.number)
        log.info("worker_file_drained", file=post.number)


def demand_place(settings: SpoolSettings, place: str) -> None:
    """See that the spool is that of the others: where a worker is started anew, secrets are read anew.

    Raises:
        UsageError: it is not.
    """
    if (now := place_of_spool(settings)) != place:
        raise UsageError(
            f"spool.dsn now names {now}, and the gateway was started with {place}",
            remedy="restart the gateway to change over: what waits there stays there",
        )


async def _serve(post: Post, generation: Generation, questions: Questions, first: Question) -> bool:
    """Serve until told to stop; return whether it had to drain a file and has."""
    spool_settings = generation.settings.spool
    life, metrics = Life(), Metrics()
    public = _take_over(post)
    turns = Turns(post.board, own=post.number) if post.sockets else None
    drained = False
    async with open_locked_spool(spool_settings, post.number, metrics=metrics, now_ms=unix_ms) as spool:
        if post.pauses is not None:
            await _write_pauses(spool, post.pauses)
        record = ReloadRecord(generation, metrics=metrics, at_ms=unix_ms())
        assembly = Assembly(
            generation,
            spool=spool,
            metrics=metrics,
            audit=_Unaudited(spool_settings.directory),
            life=life,
            record=record,
            public=public,
            number=post.number,
            workers=post.workers,
            turns=turns,
        )
        with leading_error(), trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_with, spool)
                await assembly.start(nursery)
                if turns is not None:
                    turns.show(0)
                    await assembly.open_door(nursery)
                    life.listening = True
                settle_memory()
                desk = _Desk(assembly, spool=spool, life=life, record=record)
                nursery.start_soon(desk.answer_all, questions, nursery)
                await questions.answer(first, fingerprint(generation))
                if not post.sockets:
                    drained = await _wait_empty(spool, life)
                await life.stop.wait()
                await assembly.drain()
                scope.cancel()
    return drained


def _take_over(post: Post) -> Bound:
    sockets = tuple(socket.socket(fileno=descriptor) for descriptor in post.sockets)
    for one in sockets:
        one.setblocking(False)
    return Bound(sockets=sockets, addresses=tuple(post.addresses), notice="")


async def _wait_empty(spool: Spool, life: Life) -> bool:
    """Return True, and have the worker end, when nothing waits or is kept; False when told to before."""
    while spool.pending() or await spool.oldest_kept_ms() is not None:
        with trio.move_on_after(LOOK_SECONDS):
            await life.stop.wait()
            return False
    life.hurry.set()
    life.stop.set()
    return True


async def _write_pauses(spool: Spool, going_on: Mapping[str, Pause]) -> None:
    """Have the file say what the other workers do: it may be new, or have been away for a while."""
    now_ms = unix_ms()
    own = await spool.pauses()
    for target, pauses in own.items():
        if target not in going_on and pausing.current(pauses, now_ms):
            await spool.set_pauses(target, pausing.resumed(pauses, now_ms=now_ms, rate_per_second=None))
    for target, pause in going_on.items():
        held = own.get(target, ())
        if not _is_like(pausing.current(held, now_ms), pause):
            await spool.set_pauses(
                target, pausing.paused(held, now_ms=now_ms, until_ms=pause.until_ms, reason=pause.reason)
            )


def _is_like(one: Pause | None, other: Pause | None) -> bool:
    """Whether two pauses mean the same from now on."""
    if one is None or other is None:
        return one is other
    return (one.until_ms, one.reason) == (other.until_ms, other.reason)


def going_on(pauses: Mapping[str, Pauses], now_ms: int) -> dict[str, Pause]:
    """Return the pauses that go on, by target."""
    found = {target: pausing.current(each, now_ms) for target, each in pauses.items()}
    return {target: pause for target, pause in found.items() if pause is not None}


class _Desk:
    """Answers the supervisor's questions."""

    def __init__(self, assembly: Assembly, *, spool: Spool, life: Life, record: ReloadRecord) -> None:
        self._assembly = assembly
        self._spool = spool
        self._life = life
        self._record = record
        self._prepared: Generation | None = None
        operations = assembly.operations
        self._answers: Mapping[str, Callable[..., Awaitable[object]]] = {
            "health": self._health,
            "metrics": self._metrics,
            "edge": self._edge,
            "facts": self._facts,
            "trace_part": operations.trace_part,
            "recall": self._recall,
            "status": operations.status,
            "pause": operations.pause,
            "resume": operations.resume,
            "replay": operations.replay,
            "discard": operations.discard,
            "rehearse": operations.rehearse,
            "list_letters": self._list_letters,
            "read_letter": operations.read_letter,
            "discard_target": operations.discard_target,
            "replay_kept": self._replay_kept,
            "waiting": self._waiting,
            "pauses": self._pauses,
            "adopt_pauses": self._adopt_pauses,
            "follow_pauses": assembly.follow_pauses,
            "prepare": self._prepare,
            "commit": self._commit,
            "drain": self._drain,
            "hurry": self._hurry,
        }

    async def answer_all(self, questions: Questions, nursery: trio.Nursery) -> None:
        """Answer until the supervisor is gone; then end at once: a successor may wait for our file."""
        while (question := await questions.next()) is not None:
            nursery.start_soon(self._answer, questions, question)
        self._life.hurry.set()
        self._life.stop.set()

    async def _answer(self, questions: Questions, question: Question) -> None:
        try:
            result = await self._answers[question.name](**question.arguments)
        except GatewayError as error:
            await questions.refuse(question, error)
        else:
            await questions.answer(question, result)

    async def _health(self) -> object:
        return {name: (check.ok, check.detail) for name, check in self._assembly.health().items()}

    async def _metrics(self) -> object:
        return (await self._assembly.render_metrics()).decode()

    async def _edge(self) -> object:
        return self._assembly.edge.report()

    async def _facts(self, with_slots: bool) -> object:
        return self._assembly.facts(with_slots=with_slots)

    async def _recall(self, ids: list[str]) -> object:
        return self._assembly.operations.recall(ids)

    async def _waiting(self, ids: list[str]) -> object:
        return sorted((await self._spool.kept_states(ids)).waiting)

    async def _pauses(self) -> object:
        return going_on(await self._spool.pauses(), unix_ms())

    async def _adopt_pauses(self, pauses: dict[str, Any]) -> None:
        """Do as the other workers do, where something has changed since the start began."""
        wanted = msgspec.convert(pauses, dict[str, Pause])
        now_ms = unix_ms()
        own = going_on(await self._spool.pauses(), now_ms)
        for target in own.keys() | wanted.keys():
            pause = wanted.get(target)
            if _is_like(own.get(target), pause):
                continue
            with suppress(UsageError):  # the configuration has lost the target: nothing is delivered to it
                await self._follow(target, pause, now_ms)

    async def _follow(self, target: str, pause: Pause | None, now_ms: int) -> None:
        if pause is None:
            await self._assembly.operations.resume(target, rate_per_second=None)
        else:
            seconds = None if pause.until_ms is None else max(1, pause.until_ms - now_ms) / 1000
            await self._assembly.operations.pause(target, seconds=seconds, reason=pause.reason)

    async def _list_letters(self, asked: dict[str, Any]) -> object:
        return await self._assembly.operations.list_letters(msgspec.convert(asked, LettersRequest))

    async def _replay_kept(self, asked: dict[str, Any]) -> object:
        return await self._assembly.operations.replay_kept(msgspec.convert(asked, ReplayKeptRequest))

    async def _prepare(self, content: str) -> Prepared:
        prepared = await trio.to_thread.run_sync(
            partial(prepare, self._assembly.generation, b64decode(content), os.environ),
            abandon_on_cancel=True,
        )
        self._prepared = prepared.generation
        return Prepared(
            fingerprint=fingerprint(prepared.generation) if prepared.generation is not None else "",
            problems=[problem.plain() for problem in prepared.problems],
        )

    async def _commit(self, made_of: str) -> None:
        generation, self._prepared = self._prepared, None
        if generation is None or fingerprint(generation) != made_of:
            raise UsageError("that is not what was prepared")
        self._assembly.install(generation)
        now_ms = unix_ms()
        self._record.loaded(generation, at_ms=now_ms)
        self._record.tried(Outcome(at_ms=now_ms, trigger="signal", problems=()))

    async def _drain(self) -> None:
        self._life.stop.set()

    async def _hurry(self) -> None:
        self._life.hurry.set()
        self._life.stop.set()
