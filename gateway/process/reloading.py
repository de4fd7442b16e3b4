"""Reload: a whole new generation, or nothing (law 7).

Everything that may fail happens away from the running gateway, in a thread: reading, examining, building.
What comes of it is a generation or a list of problems. A generation is then installed by assignments; a list
is told, in the log, the metrics, `/readyz`, `/api/config` and the audit log, and that is all.

A signal reads everything anew. A changed file is looked at under the configuration as it was loaded: the
file of the configuration itself waits for a signal, so that a half-written one is never taken up by a
certificate that happens to be renewed.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from gateway.delivery.dead_letter import DeadLetterStore
from gateway.errors import RESTART_REMEDY, GatewayError, Problem
from gateway.preflight import load_and_examine
from gateway.process.exposition import Outcome, ReloadRecord, Trigger
from gateway.process.generation import Generation, build_generation
from gateway.process.service_manager import ServiceManager
from gateway.process.watching import FileWatch
from gateway.settings.differences import differences
from gateway.settings.files import Sight, look
from gateway.settings.load import KeyPath, Loaded, write_key_path
from gateway.settings.model import Settings
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.log import get_logger

_FIXED: Final[Mapping[KeyPath, Callable[[Settings], object]]] = {
    ("listen", "address"): lambda settings: settings.listen.address,
    ("listen", "workers"): lambda settings: settings.listen.workers,
    ("spool",): lambda settings: settings.spool,
    ("admin", "address"): lambda settings: settings.admin.address,
    ("admin", "hosts"): lambda settings: settings.admin.hosts,
    # Where the token stands; what it is may change with its file, as every secret may.
    ("admin", "token"): lambda settings: settings.admin.token and settings.admin.token.source,
    ("metrics",): lambda settings: settings.metrics,
}
"""What sockets, locks and the way in hang on: a change of it is refused (contract, section 7)."""

_REMEDIES: Final[Mapping[Trigger, str]] = {
    "signal": "nothing was changed; mend it (`gateway check`), then send SIGHUP again",
    "file": "nothing was changed; mend the file, and it is taken up by itself",
}

PREPARE_SECONDS: Final = 30.0
"""Building takes milliseconds; a file that is a pipe nobody writes to, or lies on a server that is gone, must
not keep all later reloads waiting."""

THREADS_AT_ONCE: Final = 4
"""Threads that a file system keeps cannot be ended. Of their own number, they take none of those that all the
rest of the process has in common; where all are kept, reloads are overdue until one comes back."""

Consent = Callable[[Generation], Awaitable[Sequence[Problem]]]
"""Asks others that would have to take it up, too; returns what keeps them from it."""

log = get_logger("configuration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What came of an attempt to read, examine and build."""

    generation: Generation | None
    problems: tuple[Problem, ...]
    """Empty exactly where there is a generation."""
    sight: Sight | None
    """The files that were tried; None where it was not these that were tried, but another configuration."""


class Reloader:
    """Takes up new settings, certificates, anchors, lists and secrets while the gateway runs."""

    def __init__(
        self,
        generation: Generation,
        *,
        environ: Mapping[str, str],
        install: Callable[[Generation], None],
        record: ReloadRecord,
        audit: AuditLog,
        now_ms: Callable[[], int],
        manager: ServiceManager,
        consent: Consent | None = None,
    ) -> None:
        """`install` puts a generation in the place of the one before. It must not fail. `consent` is asked
        before: worker processes can refuse."""
        self._manager = manager
        self._generation = generation
        self._environ = environ
        self._install = install
        self._consent = consent
        self._record = record
        self._audit = audit
        self._now_ms = now_ms
        self._seen = generation.sight
        self._asked = trio.Event()
        self._lock = trio.Lock()
        self._threads = trio.CapacityLimiter(THREADS_AT_ONCE)
        self._watch = FileWatch(seen=lambda: self._seen, changed=partial(self.reload, "file"))

    def ask(self) -> None:
        """Reload soon, for a signal; what is asked for while one is under way is one more."""
        self._asked.set()

    async def run(self) -> None:
        """Reload when asked, and when files change."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch.run)
            while True:
                await self._asked.wait()
                self._asked = trio.Event()
                self._manager.reloading()
                await self.reload("signal")
                self._manager.ready()

    async def reload(self, trigger: Trigger) -> None:
        """Build a new generation and install it; or say why not, and change nothing."""
        async with self._lock:
            former = self._generation
            prepared = _overdue(former)
            with trio.move_on_after(PREPARE_SECONDS):
                content = former.loaded.source.content if trigger == "file" else None
                prepared = await trio.to_thread.run_sync(
                    prepare,
                    former,
                    content,
                    self._environ,
                    abandon_on_cancel=True,
                    limiter=self._threads,
                )
            if prepared.generation is not None:
                prepared = await self._with_consent(prepared.generation)
            generation = prepared.generation
            changed = [] if generation is None else list(changes(former, generation))
            await self._put_on_record(trigger, prepared, changed)
            if generation is not None:
                # From here to the end there is no await: whoever looks sees the old state or the new one.
                self._install(generation)
                self._generation = generation
                self._seen = generation.sight
                self._record.loaded(generation, at_ms=self._now_ms())
                self._watch.poke()
                log.info("reloaded", trigger=trigger, hash=generation.loaded.source.sha256, changed=changed)
            else:
                self._seen = self._seen if prepared.sight is None else prepared.sight
                log.error(
                    "reload_refused",
                    trigger=trigger,
                    problems=[str(problem) for problem in prepared.problems],
                    remedy=_remedy(trigger, prepared.problems),
                )
            self._record.tried(Outcome(at_ms=self._now_ms(), trigger=trigger, problems=prepared.problems))

    async def _with_consent(self, generation: Generation) -> Prepared:
        problems = await self._consent(generation) if self._consent is not None else ()
        return Prepared(
            generation=None if problems else generation, problems=tuple(problems), sight=generation.sight
        )

    async def _put_on_record(self, trigger: Trigger, prepared: Prepared, changed: list[str]) -> None:
        """Write the audit log. Where that cannot be, the reload goes on: a full disk must not keep an expired
        certificate in its place."""
        fields = (
            {"result": "refused", "problems": [str(problem) for problem in prepared.problems]}
            if prepared.generation is None
            else {"result": "loaded", "hash": prepared.generation.loaded.source.sha256, "changed": changed}
        )
        try:
            await trio.to_thread.run_sync(
                partial(self._audit.record, "reload", by=trigger, **fields), abandon_on_cancel=True
            )
        except GatewayError as error:
            log.error("reload_not_audited", error=str(error))  # noqa: TRY400 (no defect: the disk)


def changes(former: Generation, new: Generation) -> Iterator[str]:
    """Name what differs: keys, as the configuration writes them, and files with other content."""
    for key_path in differences(former.settings, new.settings):
        yield write_key_path(key_path)
    for path, digest in new.sight.items():
        if former.sight.get(path, digest) != digest:
            yield str(path)


def prepare(former: Generation, content: bytes | None, environ: Mapping[str, str]) -> Prepared:
    """Read (in place of the file: `content`), examine and build. Blocks; raises nothing: whatever goes wrong
    is a problem to tell."""
    source = former.loaded.source
    sight: Sight | None = look(former.sight)
    try:
        loaded, problems = load_and_examine(source.file, environ=environ, content=content)
        if content is None and (loaded is None or loaded.source.content != source.content):
            sight = None
        if loaded is not None and not problems:
            problems = tuple(_fixed_problems(former, loaded))
        if loaded is not None and not problems:
            generation = build_generation(loaded, former=former)
            DeadLetterStore(generation.settings.dead_letter.directory, b"").prepare()
            return Prepared(generation=generation, problems=(), sight=generation.sight)
    except GatewayError as error:
        problems = (source.problem((), error.message, remedy=error.remedy),)
    except Exception as error:  # noqa: BLE001 (the last line of defence: what runs, runs on)
        log.error("reload_failed", error=type(error).__name__)  # noqa: TRY400 (its text may quote a secret)
        message = f"cannot be taken up: a defect of the gateway ({type(error).__name__})"
        problems = (source.problem((), message, remedy="restart the gateway, and report this"),)
    return Prepared(generation=None, problems=problems, sight=sight)


def _remedy(trigger: Trigger, problems: tuple[Problem, ...]) -> str:
    """`gateway check` finds nothing wrong with what only a restart can take up; the problems say that."""
    if all(problem.remedy == RESTART_REMEDY for problem in problems):
        return "nothing was changed"
    return _REMEDIES[trigger]


def _overdue(former: Generation) -> Prepared:
    problem = former.loaded.source.problem(
        (),
        f"could not be read within {PREPARE_SECONDS:g} s, or a file that it names",
        remedy="is one of them a pipe, or on a file system that does not answer?",
    )
    return Prepared(generation=None, problems=(problem,), sight=None)


def _fixed_problems(former: Generation, loaded: Loaded) -> Iterator[Problem]:
    for key_path, read in _FIXED.items():
        if read(former.settings) != read(loaded.settings):
            yield loaded.source.problem(
                key_path, "cannot be changed while the gateway runs", remedy=RESTART_REMEDY
            )
