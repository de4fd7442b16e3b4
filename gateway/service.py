"""The composition root: settings -> objects -> nurseries; the order of start and of stop.

Start: sockets are bound (so that a wrong address is told before anything else), the spool is opened and
locked, the dispatcher runs, the admin port answers, and last the public port accepts: ready.

Stop, on SIGTERM or SIGINT: `/readyz` says 503; after `drain.delay` nothing new is accepted; requests in
flight and attempts in flight end within `drain.timeout`; everything else stays in the spool. A second signal
skips the waiting.
"""

import gc
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from gateway import __version__
from gateway.admin.app import build_admin_app, build_metrics_app
from gateway.admin.health import CertificateTerm, Check, judge
from gateway.admin.token import FILE_NAME as TOKEN_FILE_NAME
from gateway.admin.token import load_or_make_token
from gateway.core.identity import Peer
from gateway.core.ids import RANDOM_BYTES, new_notification_id
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.seal_key import FILE_NAME as SEAL_KEY_FILE_NAME
from gateway.delivery.seal_key import load_or_make_seal_key
from gateway.delivery.target import dispatch_target
from gateway.descriptors import allot
from gateway.errors import GatewayError, SpoolBrokenError
from gateway.ingress.app import IngressLimits, build_ingress_app
from gateway.ingress.checks import IngressApp
from gateway.operations import Operations
from gateway.settings.load import Loaded
from gateway.settings.model import Settings
from gateway.settings.routes import routing_table
from gateway.settings.values import Address
from gateway.spool.contract import Spool
from gateway.spool.sqlite import SqliteOptions, open_sqlite_spool
from gateway.telemetry.audit import FILE_NAME as AUDIT_FILE_NAME
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.tls.binding import Bound, bind
from gateway.tls.certificate import describe, read_anchors, read_certificates
from gateway.tls.context import make_context
from gateway.tls.listener import TlsListener
from gateway.tls.policy import DoorPolicy
from gateway.tls.stream import TlsStream
from gateway.web.limits import HttpLimits
from gateway.web.plain import serve_plain
from gateway.web.server import AsgiApp, WebServer

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""How long a thread may keep the others from running: the spool's writer and the loop contend for the
interpreter, and the default of 5 ms would be added to acknowledgements."""

YOUNG_OBJECTS: Final = 20_000
"""How many more objects there are before cycles among them are looked for. With the default of 700 a few dozen
requests in flight set it off again and again: a tenth of the processor, and pauses in the slowest answers."""

HTTPS_PORT: Final = 443
"""Left out of URLs."""

ADMIN_MAX_CONNECTIONS: Final = 64
"""A scraper, probes, and people: more wait in the kernel's queue."""

PRUNE_EVERY_SECONDS: Final = 3600.0
"""How often dead letters past `keep` and `max_size` are looked for: both are days and gigabytes."""

log = get_logger("service")

Announce = Callable[[str], None]
"""Tells the operator a line: `gateway run` prints it."""


def unix_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """Draw a notification id."""
    return new_notification_id(unix_ms(), os.urandom(RANDOM_BYTES))


@dataclass(slots=True)
class _State:
    """Where the process stands in its life."""

    listening: bool = False
    draining: bool = False
    stop: trio.Event = field(default_factory=trio.Event)
    """The first signal."""
    hurry: trio.Event = field(default_factory=trio.Event)
    """The second."""


async def serve(loaded: Loaded, *, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        GatewayError: it could not start, or the spool has failed for good.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    settings = loaded.settings
    max_connections = _allot_descriptors(settings)
    state = _State()
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
        _Sockets() as sockets,
    ):
        public = sockets.bind("listen.address", settings.listen.address)
        admin = sockets.bind("admin.address", settings.admin.address)
        metrics_port = sockets.bind("metrics.address", settings.metrics.address) if settings.metrics else None
        metrics = Metrics()
        options = SqliteOptions(
            duplicates_window_seconds=settings.spool.duplicates_window_seconds,
            duplicates_max=settings.spool.duplicates_max,
            min_free_bytes=settings.spool.min_free_bytes,
        )
        async with open_sqlite_spool(
            settings.spool.directory, options, metrics=metrics, now_ms=unix_ms
        ) as spool:
            parts = _Parts(loaded, spool, metrics, state, public, max_connections=max_connections)
            with _leading_error(), trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_listen_to_signals, signals, state)
                    nursery.start_soon(_fail_with, spool)
                    await parts.start(nursery, admin=admin, metrics_port=metrics_port)
                    await parts.open_door(nursery)
                    _settle_memory()
                    state.listening = True
                    _announce(settings, public, announce)
                    log.info(
                        "ready",
                        addresses=[str(Address(host=host, port=port)) for host, port in public.addresses],
                    )
                    await state.stop.wait()
                    await parts.drain()
                    scope.cancel()
    log.info("stopped")


def _settle_memory() -> None:
    """Look for cycles more rarely, and no more among what the start has made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def _allot_descriptors(settings: Settings) -> int:
    """Return how many connections the public port may have."""
    wanted = settings.listen.max_connections
    granted = allot(
        max_connections=wanted,
        deliveries_at_once=sum(target.concurrency for target in settings.targets.values()),
    )
    if granted.max_connections < wanted:
        log.warning(
            "descriptors_short",
            limit=granted.limit,
            max_connections=granted.max_connections,
            remedy="raise the hard limit (LimitNOFILE= in a systemd unit), or lower listen.max_connections",
        )
    return granted.max_connections


class _Sockets(ExitStack):
    """Sockets that listen, closed again where the start fails; whoever serves them closes them as well."""

    def bind(self, key: str, address: Address) -> Bound:
        try:
            bound = bind(address)
        except GatewayError as error:
            raise GatewayError(f"{key}: {error.message}", remedy=error.remedy) from error
        for one in bound.sockets:
            self.callback(one.close)
        return bound


class _Parts:
    """The objects of one running gateway, and how they are wired."""

    def __init__(
        self,
        loaded: Loaded,
        spool: Spool,
        metrics: Metrics,
        state: _State,
        public: Bound,
        *,
        max_connections: int,
    ) -> None:
        settings = loaded.settings
        self._settings = settings
        self._spool = spool
        self._metrics = metrics
        self._state = state
        self._public = public
        beside_spool = settings.spool.directory.parent
        routing = routing_table(settings)
        self._dead_letters = DeadLetterStore(
            settings.dead_letter.directory, load_or_make_seal_key(beside_spool / SEAL_KEY_FILE_NAME)
        )
        self._dead_letters.prepare()
        self._operations = Operations(
            settings=settings,
            spool=spool,
            routing=routing,
            dead_letters=self._dead_letters,
            audit=AuditLog(beside_spool / AUDIT_FILE_NAME),
            now_ms=unix_ms,
        )
        secrets = {name: app.app_secrets[0].reveal() for name, app in settings.apps.items()}
        self._dispatcher = Dispatcher(
            spool=spool,
            targets={name: dispatch_target(target) for name, target in settings.targets.items()},
            dead_letters=self._dead_letters,
            metrics=metrics,
            now_ms=unix_ms,
            random=random.random,
            app_secret=secrets.get,
        )
        self._terms = certificate_terms(settings)
        self._admin_token = (
            settings.admin.token.reveal()
            if settings.admin.token
            else load_or_make_token(beside_spool / TOKEN_FILE_NAME)
        )
        ingress = build_ingress_app(
            apps=ingress_apps(settings),
            routing=lambda: routing,
            spool=spool,
            metrics=metrics,
            now_ms=unix_ms,
            new_id=new_id,
            limits=IngressLimits(max_body_bytes=settings.listen.max_body_bytes),
            log_notifications=settings.log.notifications,
        )
        self._web = WebServer(ingress, limits=HttpLimits(), metrics=metrics)
        context = make_context(settings.tls)
        self._door = TlsListener(
            sockets=public.sockets,
            context=lambda: context,
            policy=DoorPolicy(
                handshake=settings.tls.handshake,
                report=any(app.client_certificate == "report" for app in settings.apps.values()),
                max_connections=max_connections,
            ),
            metrics=metrics,
            now_ms=unix_ms,
        )
        self._start_metrics(loaded)

    def _start_metrics(self, loaded: Loaded) -> None:
        settings, metrics = self._settings, self._metrics
        metrics.start_series(version=__version__, apps=settings.apps, targets=settings.targets)
        metrics.config_info.labels(loaded.source.sha256).set(1)
        for term in self._terms:
            metrics.certificate_expiry_timestamp_seconds.labels(term.name).set(term.not_after_ms / 1000)

    async def start(self, nursery: trio.Nursery, *, admin: Bound, metrics_port: Bound | None) -> None:
        """Start everything but the public port."""
        await nursery.start(self._dispatcher.run)
        nursery.start_soon(self._keep_dead_letters)
        admin_app = build_admin_app(
            health=self._health,
            render_metrics=self._render_metrics,
            token=self._admin_token,
            hosts=frozenset(self._settings.admin.hosts),
            actions=self._operations,
        )
        await _serve_inside(nursery, admin_app, admin)
        if metrics_port is not None:
            metrics_app = build_metrics_app(health=self._health, render_metrics=self._render_metrics)
            await _serve_inside(nursery, metrics_app, metrics_port)

    async def open_door(self, nursery: trio.Nursery) -> None:
        """Accept on the public port."""
        host, port = self._public.addresses[0]
        await nursery.start(partial(self._door.serve, partial(_serve_outside, self._web, (host, port))))

    async def drain(self) -> None:
        """End in order; see the module's text."""
        drain, state = self._settings.listen.drain, self._state
        state.draining = True
        log.info("draining", delay_seconds=drain.delay_seconds, timeout_seconds=drain.timeout_seconds)
        with trio.move_on_after(drain.delay_seconds):
            await state.hurry.wait()
        self._door.stop_accepting()
        state.listening = False
        self._web.shutdown()
        async with trio.open_nursery() as ending:
            timeout_seconds = 0.0 if state.hurry.is_set() else drain.timeout_seconds
            ending.start_soon(self._end_requests, timeout_seconds)
            ending.start_soon(self._dispatcher.drain, timeout_seconds)

    async def _end_requests(self, timeout_seconds: float) -> None:
        with trio.move_on_after(timeout_seconds):
            await self._web.wait_idle()

    async def _keep_dead_letters(self) -> None:
        """Count the files that are there; then, now and again, remove those past `keep` and `max_size`."""
        await trio.to_thread.run_sync(self._dead_letters.count, abandon_on_cancel=True)
        keep = self._settings.dead_letter
        prune = partial(
            self._dead_letters.prune, keep_seconds=keep.keep_seconds, max_size_bytes=keep.max_size_bytes
        )
        while True:
            try:
                await trio.to_thread.run_sync(lambda: prune(now_ms=unix_ms()), abandon_on_cancel=True)
            except GatewayError as error:
                log.error("dead_letters_not_pruned", error=str(error))  # noqa: TRY400 (no defect: the disk)
            await trio.sleep(PRUNE_EVERY_SECONDS)

    def _health(self) -> Mapping[str, Check]:
        return judge(
            listening=self._state.listening,
            draining=self._state.draining,
            room=self._spool.room(),
            certificates=self._terms,
            now_ms=unix_ms(),
        )

    async def _render_metrics(self) -> bytes:
        """Bring the gauges up to date, and render."""
        metrics, spool = self._metrics, self._spool
        now_ms, room = unix_ms(), spool.room()
        oldest = await spool.oldest_received_ms()
        for target, pending in {**dict.fromkeys(self._settings.targets, 0), **spool.pending()}.items():
            metrics.spool_pending.labels(target).set(pending)
            age_ms = now_ms - oldest[target] if target in oldest else 0
            metrics.spool_oldest_seconds.labels(target).set(max(0, age_ms) / 1000)
        for target, files in self._dead_letters.counts().items():
            metrics.dead_letters.labels(target).set(files)
        metrics.spool_bytes.set(spool.size_bytes())
        metrics.spool_free_bytes.set(room.free_bytes)
        return metrics.render()


def ingress_apps(settings: Settings) -> dict[str, IngressApp]:
    """Make the apps of the settings ready for the public port."""
    return {
        name: IngressApp(
            name=name,
            path=app.path.encode("ascii"),
            secrets=tuple(secret.reveal() for secret in app.app_secrets),
            verify_token=app.verify_token.reveal(),
            clients=frozenset(app.clients),
            certificate_required=app.client_certificate == "required",
        )
        for name, app in settings.apps.items()
    }


def certificate_terms(settings: Settings) -> tuple[CertificateTerm, ...]:
    """Read when the server certificate and the anchors are valid; anchors are named as in the metrics."""
    server = read_certificates(settings.tls.certificate)[0]
    anchors = {
        anchor.sha256[:16]: anchor.certificate
        for client in settings.tls.clients.values()
        for anchor in read_anchors(client.trust_anchors)
    }
    found = [("server", "server", server), *(("anchor", name, one) for name, one in anchors.items())]
    return tuple(
        CertificateTerm(
            name=name,
            role="server" if role == "server" else "anchor",
            not_before_ms=int(one.not_valid_before_utc.timestamp() * 1000),
            not_after_ms=int(one.not_valid_after_utc.timestamp() * 1000),
        )
        for role, name, one in found
    )


async def _serve_inside(nursery: trio.Nursery, app: AsgiApp, bound: Bound) -> None:
    """Serve plain HTTP on a listener of ours; not counted as requests, which are the public port's."""
    web = WebServer(app, limits=HttpLimits(), metrics=None)
    await nursery.start(partial(serve_plain, bound.sockets, web, max_connections=ADMIN_MAX_CONNECTIONS))


async def _serve_outside(
    web: WebServer, server: tuple[str, int], stream: TlsStream, peer: Peer, alpn: str
) -> None:
    await web.serve(stream, peer=peer, alpn=alpn, server=server)


async def _listen_to_signals(signals: AsyncIterator[int], state: _State) -> None:
    async for number in signals:
        if number == signal.SIGHUP:
            # Nothing is changed by halves: certificates and configuration are read at start.
            log.warning("reload_unavailable", remedy="restart the gateway; nothing was changed")
        elif state.stop.is_set():
            state.hurry.set()
        else:
            state.stop.set()


async def _fail_with(spool: Spool) -> None:
    await spool.wait_broken()
    raise SpoolBrokenError(
        "the spool has failed for good; nothing more is accepted",
        remedy="look at the disk and at the log's event spool_broken; what was answered 200 is on disk",
    )


@contextmanager
def _leading_error() -> Iterator[None]:
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


def callback_urls(settings: Settings, addresses: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Return app -> the URL to give to Meta.

    `listen.public_url` where it is set; else the first name that the server certificate carries, with the
    port that is listened on: another name would be refused by Meta, since the certificate must fit it.
    """
    base = settings.listen.public_url
    if base is None:
        host, port = addresses[0]
        names = [
            name for name in describe(read_certificates(settings.tls.certificate)[0]).names if "*" not in name
        ]
        name = names[0] if names else host
        name = f"[{name}]" if ":" in name else name
        base = f"https://{name}" if port == HTTPS_PORT else f"https://{name}:{port}"
    return {name: base.rstrip("/") + app.path for name, app in settings.apps.items()}


def _announce(settings: Settings, public: Bound, announce: Announce) -> None:
    if public.notice:
        announce(public.notice)
    for name, url in callback_urls(settings, public.addresses).items():
        announce(f"callback URL of app {name}: {url}")
