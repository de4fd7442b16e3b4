"""The process above the workers (`listen.workers`): binds once, holds the lock on the spool directory, starts
and ends them, and answers for all of them on the admin port. It touches no notification.

The public sockets are bound here and inherited by the workers, which all accept on them. SIGTERM drains all,
SIGHUP has all take up the new state or none: each builds it, and when each has, each installs it.
"""

import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import trio

from gateway.clock import unix_ms
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.seal_key import FILE_NAME as SEAL_KEY_FILE_NAME
from gateway.delivery.seal_key import load_or_make_seal_key
from gateway.process.admin_port import AdminPort
from gateway.process.assembly import Life
from gateway.process.exposition import ReloadRecord, describe_generation
from gateway.process.fleet import Fleet
from gateway.process.gathering import Gathering
from gateway.process.generation import Generation, build_generation
from gateway.process.reloading import Reloader
from gateway.process.replicas import with_others
from gateway.process.service import Announce, Sockets, announce_urls, leading_error, listen_to_signals
from gateway.process.service_manager import ServiceManager
from gateway.settings.amounts import AUTO
from gateway.settings.load import Loaded
from gateway.settings.model import Settings
from gateway.settings.values import Address
from gateway.spool.exchange import Exchange
from gateway.spool.lock import DirectoryLock
from gateway.spool.opening import files_of_workers, open_exchange
from gateway.spool.succession import succeed
from gateway.telemetry.audit import FILE_NAME as AUDIT_FILE_NAME
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.log import apply_log_settings, get_logger
from gateway.telemetry.metrics import Metrics
from gateway.tls.binding import Bound

log = get_logger("service")

SOLE: Final = 1
"""One worker needs nobody above it."""


def worker_count(settings: Settings) -> int:
    """Return how many workers there are to be."""
    workers = settings.listen.workers
    return len(os.sched_getaffinity(0)) if workers == AUTO else workers


def orphans(settings: Settings) -> tuple[int, ...]:
    """Return the numbers of workers that are no more, whose files are still there: something may wait in
    them."""
    count = worker_count(settings)
    return tuple(number for number in files_of_workers(settings.spool) if number >= count)


def needs_supervisor(settings: Settings) -> bool:
    """Whether there is more to run than one worker."""
    return worker_count(settings) > SOLE or bool(orphans(settings))


async def supervise(
    loaded: Loaded, *, config: Path, announce: Announce, reload_asked: Callable[[], bool] = lambda: False
) -> None:
    """Run the workers until SIGTERM or SIGINT; `config` is the file, as it was named. See `service.serve`.

    Raises:
        GatewayError: it could not start, or no worker stays alive.
    """
    settings = loaded.settings
    life, manager = Life(), ServiceManager(os.environ)
    async with AsyncExitStack() as stack:
        signals = stack.enter_context(trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        sockets = stack.enter_context(Sockets())
        stack.enter_context(DirectoryLock(settings.spool.directory))
        public = sockets.bind_public(settings.listen.address)
        admin = sockets.bind("admin.address", settings.admin.address)
        metrics_port = sockets.bind("metrics.address", settings.metrics.address) if settings.metrics else None
        exchange = await stack.enter_async_context(open_exchange(settings.spool))
        head = _Head(
            build_generation(loaded),
            config=config,
            public=public,
            life=life,
            manager=manager,
            exchange=exchange,
        )
        with leading_error(), trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen_to_signals, signals, life, head.reloader.ask)
                await head.admin_port.open(nursery, admin=admin, metrics_port=metrics_port)
                nursery.start_soon(head.fleet.run)
                async with trio.open_nursery() as serving:
                    serving.start_soon(_tell_when_ready, head, public, announce, manager)
                    serving.start_soon(head.reloader.run)
                    if reload_asked():
                        head.reloader.ask()
                    await life.stop.wait()
                    # What is about to stop takes up nothing new.
                    serving.cancel_scope.cancel()
                life.draining = True
                manager.stopping()
                for one in public.sockets:
                    one.close()  # the workers' are open for as long as they accept
                await head.fleet.drain(life.hurry)
                scope.cancel()
    log.info("stopped")


async def _tell_when_ready(head: "_Head", public: Bound, announce: Announce, manager: ServiceManager) -> None:
    await head.fleet.workers[0].ready.wait()
    announce_urls(head.generation, public, announce)
    log.info("ready", addresses=[str(Address(host=host, port=port)) for host, port in public.addresses])
    manager.ready()
    await manager.keep_alive()


class _Head:
    """What the supervisor has besides its workers."""

    def __init__(
        self,
        generation: Generation,
        *,
        config: Path,
        public: Bound,
        life: Life,
        manager: ServiceManager,
        exchange: Exchange | None,
    ) -> None:
        settings = generation.settings
        self.generation = generation
        self._metrics = Metrics()
        describe_generation(self._metrics, generation)
        audit = AuditLog(settings.spool.directory.parent / AUDIT_FILE_NAME)
        record = ReloadRecord(generation, metrics=self._metrics, at_ms=unix_ms())
        beside_spool = settings.spool.directory.parent
        self._dead_letters = DeadLetterStore(
            settings.dead_letter.directory, load_or_make_seal_key(beside_spool / SEAL_KEY_FILE_NAME)
        )
        self._dead_letters.prepare()
        self.fleet = Fleet(
            generation,
            config=config,
            public=public,
            count=worker_count(settings),
            orphans=orphans(settings),
            metrics=self._metrics,
        )
        self.reloader = Reloader(
            generation,
            environ=os.environ,
            install=self._install,
            record=record,
            audit=audit,
            now_ms=unix_ms,
            consent=self.fleet.prepare,
            manager=manager,
        )
        self._gathering = Gathering(
            self.fleet,
            metrics=self._metrics,
            dead_letters=self._dead_letters,
            audit=audit,
            is_draining=lambda: life.draining,
            reload_refused=record.refusal,
        )
        self.admin_port = AdminPort(
            with_others(
                exchange,
                self._gathering.answers,
                dead_letters=self._dead_letters,
                targets=lambda: self.generation.settings.targets,
                now_ms=unix_ms,
            ),
            generation=lambda: self.generation,
            record=record,
            public=public,
            dead_letters=self._dead_letters,
            metrics=self._metrics,
            left_behind=succeed(settings.spool),
        )

    def _install(self, generation: Generation) -> None:
        former, self.generation = self.generation, generation
        settings = generation.settings
        self.fleet.commit(generation)
        describe_generation(self._metrics, generation)
        if settings.dead_letter.directory != former.settings.dead_letter.directory:
            self._dead_letters.move(settings.dead_letter.directory)
            self._gathering.recount()
        if settings.log != former.settings.log:
            apply_log_settings(settings.log)
