"""The worker processes: started, awaited, started anew when they die, and ended.

Laws:
- A worker that dies is started again; the pause before grows while its lives are short. When no worker
  serves and each has died young again and again, the gateway gives up: what runs it decides.
- Whoever starts serves what the others do: the configuration taken up last, and their pauses.
- No process outlives the fleet: each is awaited, and killed where it does not end in time.
"""

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from socket import socketpair
from typing import Any, Final, Literal, TypeVar

import trio

from gateway.core.pausing import Pause
from gateway.errors import GatewayError, PeerError, Problem, SpoolUnavailableError
from gateway.process.channel import Asker
from gateway.process.generation import Generation, fingerprint
from gateway.spool.opening import is_shared, place_of_spool
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.sums import Totals
from gateway.tls.binding import Bound
from gateway.tls.turns import Turns, make_board

State = Literal["starting", "serving", "waiting", "draining", "ended"]
STATES: Final[tuple[State, ...]] = ("starting", "serving", "waiting", "draining")
"""Those that a metric shows."""

START_SECONDS: Final = 180.0
"""From exec to serving: a second; to make all filters of 20 million keys anew on a busy machine, a minute."""
ANSWER_SECONDS: Final = 5.0
"""One question that a worker answers from memory."""
PREPARE_SECONDS: Final = 20.0
"""Within the supervisor's own time for preparing a reload."""
STEADY_SECONDS: Final = 30.0
"""A life that lasts so long was no crash at start."""
FIRST_PAUSE_SECONDS: Final = 0.1
"""Before a worker that has served well is started anew."""
LONGEST_PAUSE_SECONDS: Final = 30.0
"""Between two starts of one that dies young: two a minute cost nothing, and its disk may be mended."""
SHORT_LIVES: Final = 5
"""In a row, of every worker, with nobody serving: then it is no accident."""
END_SECONDS: Final = 15.0
"""Beyond `drain.delay` and `drain.timeout`: the worker's own grace for storing outcomes, and closing."""

Answer = TypeVar("Answer")

log = get_logger("supervisor")


@dataclass(slots=True, kw_only=True, eq=False)
class Worker:
    """One place for a process."""

    number: int
    drains: bool
    state: State = "starting"
    process: trio.Process | None = None
    """While it lives."""
    asker: Asker | None = None
    """While it answers."""
    restarts: int = 0
    short_lives: int = 0
    """In a row."""
    ready: trio.Event = field(default_factory=trio.Event)
    """It has served at some time, or never will."""

    def kill(self) -> None:
        """End its process, if there is one."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()


class Fleet:
    """All workers of one supervisor."""

    def __init__(
        self,
        generation: Generation,
        *,
        config: Path,
        public: Bound,
        count: int,
        orphans: Sequence[int],
        metrics: Metrics,
    ) -> None:
        """`orphans`: the numbers of workers that are no more, whose files are to be drained."""
        self.generation = generation
        self.shared_spool = is_shared(generation.settings.spool)
        """All have the same, and none a file of its own."""
        self.totals = Totals(shared_spool=self.shared_spool)
        self._config = config
        self._public = public
        self._metrics = metrics
        self.workers = tuple(
            Worker(number=number, drains=number >= count) for number in (*range(count), *orphans)
        )
        self._board = make_board(count)
        self._turns = Turns(self._board, own=0)
        self._stop = trio.Event()
        self._changing = trio.Lock()
        """Held while pauses change and while a new worker learns of them."""
        self._nursery: trio.Nursery | None = None
        self._ended = trio.Event()

    # -- lives

    async def run(self) -> None:
        """Keep the workers alive. Returns after `drain`.

        Raises:
            GatewayError: the first did not come to serve, or none does any more.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                first, *others = self.workers
                # By itself: it makes what all share (keys, directories), and its pauses are those of all.
                nursery.start_soon(self._keep, first)
                await first.ready.wait()
                if not self._stop.is_set():
                    for worker in others:
                        nursery.start_soon(self._keep, worker)
        finally:
            self._ended.set()
            os.close(self._board)

    async def _keep(self, worker: Worker) -> None:
        while True:
            began = trio.current_time()
            code = await self._live(worker)
            served, worker.asker = worker.state in ("serving", "draining"), None
            if not worker.drains:
                self._turns.leave(worker.number)
            self.totals.end(worker.number, for_good=worker.drains and code == 0)
            if self._stop.is_set() or (worker.drains and code == 0):
                break
            if worker is self.workers[0] and not worker.ready.is_set():
                raise GatewayError(
                    f"worker {worker.number} ended before it served (exit code {code})",
                    remedy="the lines above say why",
                )
            lasted = served and trio.current_time() - began >= STEADY_SECONDS
            worker.short_lives = 0 if lasted else worker.short_lives + 1
            self._give_up_if_hopeless()
            pause_seconds = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(worker.short_lives, 10))
            log.error("worker_ended", number=worker.number, exit_code=code, restart_seconds=pause_seconds)
            self._note(worker, "waiting")
            with trio.move_on_after(pause_seconds):
                await self._stop.wait()
                break
            worker.restarts += 1
            self._metrics.worker_restarts_total.labels(str(worker.number)).inc()
        self._note(worker, "ended")
        worker.ready.set()

    def _give_up_if_hopeless(self) -> None:
        doors = [worker for worker in self.workers if not worker.drains]
        if all(worker.short_lives >= SHORT_LIVES and worker.state != "serving" for worker in doors):
            raise GatewayError(
                f"every worker has ended {SHORT_LIVES} times in a row soon after its start",
                remedy="the lines above say why",
            )

    async def _live(self, worker: Worker) -> int:
        """One life of a worker, from exec to its end; return the exit code, negative for a signal."""
        self._note(worker, "starting")
        if not worker.drains:
            self._turns.leave(worker.number)
        ours, theirs = socketpair()
        sockets = () if worker.drains else self._public.sockets
        descriptors = [one.fileno() for one in sockets]
        try:
            process = await trio.lowlevel.open_process(
                _command(self._config, worker.number, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._board, *descriptors),
            )
        except OSError as error:
            ours.close()
            log.error("worker_not_started", number=worker.number, error=str(error))  # noqa: TRY400 (no defect)
            return os.EX_OSERR
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker.process = process
        if self._stop.is_set():
            worker.kill()
        asker = Asker(ours)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, asker, worker)
                nursery.start_soon(self._introduce, worker, asker, process, descriptors)
                code = await process.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                worker.kill()
                await process.wait()
            worker.process = None
            ours.close()
        return code

    async def _listen(self, asker: Asker, worker: Worker) -> None:
        try:
            await asker.run()
        except PeerError as error:
            log.error("worker_unintelligible", number=worker.number, error=str(error))  # noqa: TRY400
            worker.kill()

    async def _introduce(
        self, worker: Worker, asker: Asker, process: trio.Process, descriptors: list[int]
    ) -> None:
        """Tell a process what to do, and take it in when it serves; kill it where that fails."""
        generation = self.generation
        try:
            await asker.ask(
                "start",
                str,
                within_seconds=START_SECONDS,
                number=worker.number,
                content=_content(generation),
                sockets=descriptors,
                board=self._board,
                addresses=self._public.addresses,
                workers=len(self.workers),
                spool=place_of_spool(generation.settings.spool),
                pauses=await self._pauses_of_others(worker),
            )
            async with self._changing:
                pauses = await self._pauses_of_others(worker)
                if pauses is not None:
                    await asker.ask("adopt_pauses", type(None), within_seconds=ANSWER_SECONDS, pauses=pauses)
                # Since it began, the others may have taken up something else.
                while generation is not self.generation:
                    generation = self.generation
                    await _bring_up_to_date(asker, generation)
                worker.asker = asker
                self._note(worker, "draining" if worker.drains else "serving")
                worker.ready.set()
        except GatewayError as error:
            if process.poll() is None:
                log.error("worker_not_started", number=worker.number, error=str(error))  # noqa: TRY400
                worker.kill()
        else:
            log.info("worker_started", number=worker.number, pid=process.pid, drains=worker.drains)

    async def _pauses_of_others(self, worker: Worker) -> dict[str, Any] | None:
        if self.shared_spool:
            return None
        for other in self.workers:
            if other is not worker and other.asker is not None and not other.drains:
                with suppress(PeerError):
                    pauses = await other.asker.ask("pauses", dict[str, Pause], within_seconds=ANSWER_SECONDS)
                    return {target: asdict(pause) for target, pause in pauses.items()}
        return None

    def _note(self, worker: Worker, state: State) -> None:
        worker.state = state
        for one in STATES:
            number = sum(each.state == one for each in self.workers)
            self._metrics.workers.labels(one).set(number)

    # -- asking all

    @property
    def serving(self) -> tuple[Worker, ...]:
        """Those with a door that answer."""
        return tuple(worker for worker in self.workers if worker.state == "serving")

    @property
    def answering(self) -> tuple[Worker, ...]:
        """Those that answer, with a door or without."""
        return tuple(worker for worker in self.workers if worker.asker is not None)

    async def ask_all(
        self,
        name: str,
        answer: type[Answer],
        *,
        within_seconds: float = ANSWER_SECONDS,
        **arguments: object,
    ) -> dict[int, Answer | GatewayError]:
        """Ask every worker that answers, at the same time; return what each says, by number."""
        said: dict[int, Answer | GatewayError] = {}

        async def one(worker: Worker) -> None:
            try:
                said[worker.number] = await self.ask(
                    worker, name, answer, within_seconds=within_seconds, **arguments
                )
            except GatewayError as error:
                said[worker.number] = error

        async with trio.open_nursery() as nursery:
            for worker in self.answering:
                nursery.start_soon(one, worker)
        return dict(sorted(said.items()))

    async def ask(
        self,
        worker: Worker,
        name: str,
        answer: type[Answer],
        *,
        within_seconds: float = ANSWER_SECONDS,
        **arguments: object,
    ) -> Answer:
        """Ask one. Raises as `Asker.ask`."""
        if worker.asker is None:
            raise PeerError(f"worker {worker.number} does not answer")
        return await worker.asker.ask(name, answer, within_seconds=within_seconds, **arguments)

    async def change_all(self, name: str, **arguments: object) -> dict[int, dict[str, Any]]:
        """Have every worker that answers change its pauses; one that does not answer does as they do when it
        is back.

        Raises:
            UsageError: as one of them says.
            SpoolUnavailableError: not all of them did; to ask again is right.
        """
        async with self._changing:
            said = await self.ask_all(name, dict[str, Any], within_seconds=ANSWER_SECONDS, **arguments)
        done = {number: one for number, one in said.items() if not isinstance(one, GatewayError)}
        failed = {number: one for number, one in said.items() if isinstance(one, GatewayError)}
        for number, error in failed.items():
            if not done:
                raise error
            raise SpoolUnavailableError(
                f"done by workers {', '.join(map(str, done))}, not by worker {number}: {error.message}",
                remedy="ask again",
            )
        if not done:
            raise SpoolUnavailableError("no worker answers now", remedy="ask again in a moment")
        return done

    # -- reload

    async def prepare(self, generation: Generation) -> Sequence[Problem]:
        """Have every worker build what the supervisor has built; return what keeps one from it."""
        found: dict[int, Sequence[Problem]] = {}

        async def one(worker: Worker, asker: Asker) -> None:
            try:
                found[worker.number], _ = await _prepare(asker, generation)
            except GatewayError as error:
                # One that has died comes back with what holds then.
                if worker.asker is asker:
                    source = generation.loaded.source
                    message = f"worker {worker.number} cannot take it up: {error.message}"
                    found[worker.number] = [source.problem((), message, remedy="send SIGHUP again")]

        async with trio.open_nursery() as nursery:
            for worker in self.answering:
                if worker.asker is not None:
                    nursery.start_soon(one, worker, worker.asker)
        return next((problems for problems in found.values() if problems), ())

    def commit(self, generation: Generation) -> None:
        """Have every worker take up what it has prepared; one that does not is started anew, with it."""
        self.generation = generation
        if self._nursery is not None:
            made_of = fingerprint(generation)
            for worker in self.answering:
                if worker.asker is not None:
                    self._nursery.start_soon(self._commit, worker, worker.asker, made_of)

    async def _commit(self, worker: Worker, asker: Asker, made_of: str) -> None:
        try:
            await asker.ask("commit", type(None), within_seconds=ANSWER_SECONDS, made_of=made_of)
        except GatewayError as error:
            if worker.asker is asker:
                log.error("worker_behind", number=worker.number, error=str(error))  # noqa: TRY400 (no defect)
                worker.kill()

    # -- the end

    async def drain(self, hurry: trio.Event) -> None:
        """Have all workers end in order, and await them; `hurry` skips the waiting."""
        self._stop.set()
        drain = self.generation.settings.listen.drain
        for worker in self.workers:
            if worker.asker is None:
                worker.kill()  # it has nothing under way
        with trio.move_on_after(drain.delay_seconds + drain.timeout_seconds + END_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(self.ask_all, "drain", type(None)))
                nursery.start_soon(self._hurry, hurry)
                nursery.start_soon(self._await_end, nursery.cancel_scope)
        for worker in self.workers:
            if worker.process is not None:
                log.error("worker_killed", number=worker.number)
                worker.kill()
        await self._ended.wait()

    async def _hurry(self, hurry: trio.Event) -> None:
        await hurry.wait()
        await self.ask_all("hurry", type(None))

    async def _await_end(self, scope: trio.CancelScope) -> None:
        await self._ended.wait()
        scope.cancel()


async def _prepare(asker: Asker, generation: Generation) -> tuple[list[Problem], str]:
    """Return what keeps a worker from it, or of what it would be made there."""
    prepared = await asker.ask(
        "prepare", dict[str, Any], within_seconds=PREPARE_SECONDS, content=_content(generation)
    )
    problems = [Problem(**{**one, "file": Path(one["file"])}) for one in prepared["problems"]]
    if not problems and prepared["fingerprint"] != fingerprint(generation):
        message = "its files changed while they were read"
        problems = [generation.loaded.source.problem((), message, remedy="send SIGHUP again")]
    return problems, prepared["fingerprint"]


async def _bring_up_to_date(asker: Asker, generation: Generation) -> None:
    """Have one that has just started take up what the others have. Files that have changed since are its own
    to see anew: the reload that they bring about makes all alike."""
    problems, made_of = await _prepare(asker, generation)
    if not made_of:
        raise GatewayError("; ".join(map(str, problems)))
    await asker.ask("commit", type(None), within_seconds=ANSWER_SECONDS, made_of=made_of)


def _content(generation: Generation) -> str:
    return b64encode(generation.loaded.source.content).decode("ascii")


def _command(config: Path, number: int, descriptor: int) -> list[str]:
    """Return the command line of a worker: this interpreter, and modules from where they are found here."""
    path = [one or str(Path.cwd()) for one in sys.path]
    start = f"import sys; sys.path[:] = {path!r}; from gateway.cli import main; main()"
    return [
        *(sys.executable, "-P", "-c", start, "--config", str(config)),
        *("run", "--worker", str(number), "--channel", str(descriptor)),
    ]
