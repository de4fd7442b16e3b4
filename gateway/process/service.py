"""The process: from settings to a gateway that serves, and its end; the order of start and of stop.

Start: sockets are bound (so that a wrong address is told before anything else), the spool is opened and
locked, the dispatcher runs, the admin port answers, and last the public port accepts: ready.

Stop, on SIGTERM or SIGINT: `/readyz` says 503; after `drain.delay` nothing new is accepted; requests in
flight and attempts in flight end within `drain.timeout`; everything else stays in the spool. A second signal
skips the waiting.
"""

import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

import trio

from gateway.clock import unix_ms
from gateway.errors import GatewayError, SpoolBrokenError
from gateway.process.admin_port import AdminPort
from gateway.process.assembly import Assembly, Life
from gateway.process.exposition import ReloadRecord
from gateway.process.generation import Generation, build_generation, callback_urls
from gateway.process.reloading import Reloader
from gateway.process.replicas import with_others
from gateway.process.service_manager import ServiceManager
from gateway.settings.load import Loaded
from gateway.settings.values import Address, ListenAddress
from gateway.spool.contract import Spool
from gateway.spool.opening import open_exchange, open_spool
from gateway.spool.succession import succeed
from gateway.telemetry.audit import FILE_NAME as AUDIT_FILE_NAME
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.tls.activation import take_activated
from gateway.tls.binding import Bound, bind

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""How long a thread may keep the others from running: the spool's writer and the loop contend for the
interpreter, and the default of 5 ms would be added to acknowledgements."""

YOUNG_OBJECTS: Final = 20_000
"""How many more objects there are before cycles among them are looked for. With the default of 700 a few
dozen requests in flight set it off again and again: a tenth of the processor, and pauses in the slowest
answers."""

log = get_logger("service")

Announce = Callable[[str], None]
"""Tells the operator a line: `gateway run` prints it."""


async def serve(
    loaded: Loaded, *, announce: Announce, reload_asked: Callable[[], bool] = lambda: False
) -> None:
    """Serve until SIGTERM or SIGINT. `reload_asked`: whether a SIGHUP has come while it was started.

    Raises:
        GatewayError: it could not start, or the spool has failed for good.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    settings = loaded.settings
    life, manager = Life(), ServiceManager(os.environ)
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
        Sockets() as sockets,
    ):
        public = sockets.bind_public(settings.listen.address)
        admin = sockets.bind("admin.address", settings.admin.address)
        metrics_port = sockets.bind("metrics.address", settings.metrics.address) if settings.metrics else None
        metrics = Metrics()
        generation = build_generation(loaded)
        async with (
            open_spool(settings.spool, metrics=metrics, now_ms=unix_ms) as spool,
            open_exchange(settings.spool) as exchange,
        ):
            audit = AuditLog(settings.spool.directory.parent / AUDIT_FILE_NAME)
            record = ReloadRecord(generation, metrics=metrics, at_ms=unix_ms())
            assembly = Assembly(
                generation,
                spool=spool,
                metrics=metrics,
                audit=audit,
                life=life,
                record=record,
                public=public,
            )
            admin_port = AdminPort(
                with_others(
                    exchange,
                    assembly.answers,
                    dead_letters=assembly.dead_letters,
                    targets=lambda: assembly.generation.settings.targets,
                    now_ms=unix_ms,
                ),
                generation=lambda: assembly.generation,
                record=record,
                public=public,
                dead_letters=assembly.dead_letters,
                metrics=metrics,
                left_behind=succeed(settings.spool),
            )
            reloader = Reloader(
                generation,
                environ=os.environ,
                install=assembly.install,
                record=record,
                audit=audit,
                now_ms=unix_ms,
                manager=manager,
            )
            with leading_error(), trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(listen_to_signals, signals, life, reloader.ask)
                    nursery.start_soon(fail_with, spool)
                    await assembly.start(nursery)
                    await admin_port.open(nursery, admin=admin, metrics_port=metrics_port)
                    await assembly.open_door(nursery)
                    settle_memory()
                    life.listening = True
                    announce_urls(generation, public, announce)
                    log.info(
                        "ready",
                        addresses=[str(Address(host=host, port=port)) for host, port in public.addresses],
                    )
                    manager.ready()
                    nursery.start_soon(manager.keep_alive)
                    async with trio.open_nursery() as reloading:
                        reloading.start_soon(reloader.run)
                        if reload_asked():
                            reloader.ask()
                        await life.stop.wait()
                        # What is about to stop takes up nothing new.
                        reloading.cancel_scope.cancel()
                    manager.stopping()
                    await assembly.drain()
                    scope.cancel()
    log.info("stopped")


def settle_memory() -> None:
    """Look for cycles more rarely, and no more among what the start has made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


class Sockets(ExitStack):
    """Sockets that listen, closed again where the start fails; whoever serves them closes them as well."""

    def bind(self, key: str, address: Address) -> Bound:
        return self._open(key, partial(bind, address))

    def bind_public(self, address: ListenAddress) -> Bound:
        take = partial(take_activated, os.environ) if address.activated else partial(bind, address)
        return self._open("listen.address", take)

    def _open(self, key: str, take: Callable[[], Bound]) -> Bound:
        try:
            bound = take()
        except GatewayError as error:
            raise type(error)(f"{key}: {error.message}", remedy=error.remedy) from error
        for one in bound.sockets:
            self.callback(one.close)
        return bound


async def listen_to_signals(signals: AsyncIterator[int], life: Life, ask_reload: Callable[[], None]) -> None:
    """SIGHUP reloads, SIGTERM and SIGINT stop, and the second of them at once."""
    async for number in signals:
        if number == signal.SIGHUP:
            ask_reload()
        elif life.stop.is_set():
            life.hurry.set()
        else:
            life.stop.set()


async def fail_with(spool: Spool) -> None:
    """Wait until the spool has failed for good, and raise that."""
    await spool.wait_broken()
    raise SpoolBrokenError(
        "the spool has failed for good; nothing more is accepted",
        remedy="look at the disk and at the log's event spool_broken; what was answered 200 is on disk",
    )


@contextmanager
def leading_error() -> Iterator[None]:
    """Let the error that ended everything out by itself: several tasks meet a broken spool at once."""
    try:
        yield
    except* GatewayError as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[GatewayError]) -> GatewayError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, GatewayError):
        raise TypeError("except* let another error through") from error
    return error


def announce_urls(generation: Generation, public: Bound, announce: Announce) -> None:
    """Tell what to give to Meta, and what is not as configured."""
    if public.notice:
        announce(public.notice)
    for name, url in callback_urls(generation, public.addresses).items():
        announce(f"callback URL of app {name}: {url}")
