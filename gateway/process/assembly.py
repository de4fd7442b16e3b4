"""The objects of one running gateway, and how they are wired.

Sockets, spool, connections, lanes and counts are here and live on; what the settings say is a generation,
which `install` replaces while everything goes on.
"""

import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from gateway.admin.health import Check, judge
from gateway.clock import unix_ms
from gateway.core.identity import Peer
from gateway.core.ids import RANDOM_BYTES, new_notification_id
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.seal_key import FILE_NAME as SEAL_KEY_FILE_NAME
from gateway.delivery.seal_key import load_or_make_seal_key
from gateway.delivery.shared_letters import DOUBT_MS, SharedLetters
from gateway.errors import GatewayError, SpoolUnavailableError
from gateway.ingress.app import build_ingress_app
from gateway.operations import Operations, looking
from gateway.process.admin_port import AdminAnswers
from gateway.process.edge import Edge
from gateway.process.exposition import ReloadRecord, describe_generation, set_readiness, update_gauges
from gateway.process.generation import Generation, callback_urls
from gateway.process.observing import Facts, GapKeeper, facts_of
from gateway.spool.contract import Spool
from gateway.spool.opening import is_shared
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.gap_ledger import GAP_LEDGER
from gateway.telemetry.journal import Journal
from gateway.telemetry.last_seen import LAST_SEEN, LastSeen, last_seen_of_others
from gateway.telemetry.log import apply_log_settings, get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.state_file import state_file_name
from gateway.telemetry.summary import SUMMARY_SECONDS, Summaries
from gateway.tls.binding import Bound
from gateway.tls.listener import TlsListener
from gateway.tls.stream import TlsStream
from gateway.tls.turns import Turns
from gateway.tracing import Part
from gateway.web.server import WebServer

HANDSHAKES_SECONDS: Final = 2.0
"""While the gateway stops: for the handshakes under way, two round trips to the other side of the world."""

PRUNE_EVERY_SECONDS: Final = 3600.0
"""How often dead letters past `keep` and `max_size` are looked for: both are days and gigabytes."""

log = get_logger("service")


def new_id() -> str:
    """Draw a notification id."""
    return new_notification_id(unix_ms(), os.urandom(RANDOM_BYTES))


@dataclass(slots=True)
class Life:
    """Where the process stands in its life."""

    listening: bool = False
    draining: bool = False
    stop: trio.Event = field(default_factory=trio.Event)
    """The first signal."""
    hurry: trio.Event = field(default_factory=trio.Event)
    """The second."""


class Assembly:
    """One running gateway."""

    def __init__(
        self,
        generation: Generation,
        *,
        spool: Spool,
        metrics: Metrics,
        audit: AuditLog,
        life: Life,
        record: ReloadRecord,
        public: Bound,
        number: int = 0,
        workers: int = 1,
        turns: Turns | None = None,
    ) -> None:
        """`number`: of the worker process. Number 0 tidies up what they share. `workers`: how many there are.
        `turns`: who accepts."""
        settings = generation.settings
        self._now = generation
        self._spool = spool
        self._metrics = metrics
        self._audit = audit
        self._life = life
        self._record = record
        self._public = public
        self._number = number
        beside_spool = settings.spool.directory.parent
        own_key = load_or_make_seal_key(beside_spool / SEAL_KEY_FILE_NAME)
        self._dead_letters = DeadLetterStore(settings.dead_letter.directory, own_key)
        self._dead_letters.prepare()
        index = spool.letters
        self._shared = None if index is None else SharedLetters(self._dead_letters, index, now_ms=unix_ms)
        self._moved = trio.Event()
        """The directory of the dead letters is another one."""
        journal = Journal(last_seen=LastSeen(key=own_key))
        self._journal = journal
        self._listening_since_ms = unix_ms()
        self._gap_keeper = GapKeeper(
            journal.gaps, beside_spool / state_file_name(GAP_LEDGER, number), now_ms=unix_ms
        )
        self._gap_keeper.restore(apps=settings.apps)
        self._edge = Edge(
            journal,
            generation=lambda: self._now,
            last_seen_path=beside_spool / state_file_name(LAST_SEEN, number),
            now_ms=unix_ms,
        )
        self._edge.restore(others=() if number else last_seen_of_others(beside_spool))
        self._dispatcher = Dispatcher(
            spool=spool,
            targets=generation.targets,
            dead_letters=self._dead_letters,
            metrics=metrics,
            now_ms=unix_ms,
            random=random.random,
            app_secret=lambda app: self._now.app_secrets.get(app),
            journal=journal,
            log_notifications=lambda: self._now.settings.log.notifications,
            processes=workers,
            shared=self._shared,
        )
        self._summaries = Summaries(metrics, journal)
        self._operations = Operations(
            known=lambda: self._now.known,
            spool=spool,
            dead_letters=self._dead_letters,
            audit=audit,
            metrics=metrics,
            now_ms=unix_ms,
            control=self._dispatcher,
            whereabouts=journal.whereabouts,
            number=number,
            shared=is_shared(settings.spool),
            letters=self._shared,
        )
        self._ingress = build_ingress_app(
            apps=generation.apps,
            routing=lambda: self._now.routing,
            spool=spool,
            metrics=metrics,
            now_ms=unix_ms,
            new_id=new_id,
            limits=generation.ingress_limits,
            log_notifications=settings.log.notifications,
            journal=journal,
        )
        self._web = WebServer(self._ingress, limits=generation.http_limits, metrics=metrics)
        self._door = TlsListener(
            sockets=public.sockets,
            context=lambda: self._now.context,
            policy=lambda: self._now.policy,
            metrics=metrics,
            now_ms=unix_ms,
            journal=journal,
            turns=turns,
        )
        describe_generation(metrics, generation)

    @property
    def generation(self) -> Generation:
        """What holds now."""
        return self._now

    @property
    def operations(self) -> Operations:
        """What an operator can do."""
        return self._operations

    @property
    def dead_letters(self) -> DeadLetterStore:
        """Where what was given up lies."""
        return self._dead_letters

    @property
    def edge(self) -> Edge:
        """The edge, as its operator sees it."""
        return self._edge

    @property
    def answers(self) -> AdminAnswers:
        """What it says of itself on the admin port, where it is the only process."""
        return AdminAnswers(
            actions=self._operations,
            health=self.health,
            render_metrics=self.render_metrics,
            edge=self._edge.report,
            facts=self._gather_facts,
            changes=partial(trio.to_thread.run_sync, self._audit.tail, abandon_on_cancel=True),
            trace_parts=self._trace_parts,
            recall=self._recall,
            follow_pauses=self.follow_pauses,
        )

    def facts(self, *, with_slots: bool) -> Facts:
        """What this process knows of what Meta sends, and of whom it has turned away."""
        return facts_of(
            self._journal,
            listening_since_ms=self._listening_since_ms,
            now_ms=unix_ms(),
            with_slots=with_slots,
        )

    async def _gather_facts(self, with_slots: bool) -> Facts:
        return self.facts(with_slots=with_slots)

    async def _trace_parts(self, text: str) -> list[Part]:
        return [await self._operations.trace_part(text)]

    async def _recall(self, ids: Sequence[str]) -> list[Part]:
        return [self._operations.recall(ids)]

    async def follow_pauses(self) -> None:
        """Look at once at what another process has done to the pauses of a spool that is shared."""
        await self._dispatcher.follow_pauses()

    async def start(self, nursery: trio.Nursery) -> None:
        """Start everything but the ports."""
        if self._shared is not None:
            await self._shared.open()
        await nursery.start(self._dispatcher.run)
        if self._number == 0:
            nursery.start_soon(self._keep_dead_letters)
        nursery.start_soon(self._edge.watch)
        nursery.start_soon(self._gap_keeper.run)
        nursery.start_soon(self._summarize)

    def install(self, generation: Generation) -> None:
        """Put a generation in the place of the one before. It cannot fail, and nobody sees half of it.

        Connections go on with the TLS context that they began with; requests, deliveries and attempts that
        have begun go on as they began. What is decided about clients is decided anew for every connection
        that is open: an identity must not outlive the anchor that proved it.
        """
        former, self._now = self._now, generation
        settings = generation.settings
        self._ingress.adopt(
            apps=generation.apps,
            limits=generation.ingress_limits,
            log_notifications=settings.log.notifications,
        )
        self._web.adopt(generation.http_limits)
        if not generation.is_trusting_as(former):
            lost = self._web.reconsider(self._reconsider)
            log.info("clients_reconsidered", connections=self._web.open_connections, withdrawn=lost)
        if settings.dead_letter.directory != former.settings.dead_letter.directory:
            self._dead_letters.move(settings.dead_letter.directory)
            self._moved.set()
        self._dispatcher.adopt(generation.targets)
        describe_generation(self._metrics, generation)
        if settings.log != former.settings.log:
            apply_log_settings(settings.log)
        before = callback_urls(former, self._public.addresses)
        for app, url in callback_urls(generation, self._public.addresses).items():
            if before.get(app) != url:
                log.info("callback_url", app=app, url=url)

    def _reconsider(self, stream: trio.abc.Stream, peer: Peer) -> Peer:
        if not isinstance(stream, TlsStream):
            raise TypeError("a connection of the public port without TLS")
        return self._door.reconsider(stream, peer)

    async def open_door(self, nursery: trio.Nursery) -> None:
        """Accept on the public port."""
        host, port = self._public.addresses[0]
        await nursery.start(partial(self._door.serve, partial(_serve_outside, self._web, (host, port))))

    async def drain(self) -> None:
        """End in order; see the text of `service`."""
        drain, life = self._now.settings.listen.drain, self._life
        life.draining = True
        log.info("draining", delay_seconds=drain.delay_seconds, timeout_seconds=drain.timeout_seconds)
        with trio.move_on_after(drain.delay_seconds):
            await life.hurry.wait()
        self._door.stop_accepting()
        life.listening = False
        self._web.shutdown()
        async with trio.open_nursery() as ending:
            timeout_seconds = 0.0 if life.hurry.is_set() else drain.timeout_seconds
            ending.start_soon(self._end_requests, timeout_seconds)
            ending.start_soon(self._dispatcher.drain, timeout_seconds)

    async def _end_requests(self, timeout_seconds: float) -> None:
        with trio.move_on_after(timeout_seconds):
            # Who was let in is served: a client whose connection was accepted does not look for another.
            with trio.move_on_after(HANDSHAKES_SECONDS):
                await self._door.wait_handshakes()
            await self._web.wait_idle()

    async def _summarize(self) -> None:
        """Tell every ten seconds what came in; at the end, what came since."""
        told_seconds = trio.current_time()
        try:
            while True:
                await trio.sleep(SUMMARY_SECONDS)
                self._summaries.tell(seconds=trio.current_time() - told_seconds, now_ms=unix_ms())
                told_seconds = trio.current_time()
        finally:
            self._summaries.tell(seconds=trio.current_time() - told_seconds, now_ms=unix_ms())

    async def _keep_dead_letters(self) -> None:
        """Count the files that are there; then, now and again, remove those past `keep` and `max_size`."""
        while True:
            self._moved = trio.Event()
            await trio.to_thread.run_sync(self._dead_letters.count, abandon_on_cancel=True)
            while not self._moved.is_set():
                # One file that cannot be removed must not keep the others off the list.
                for work in (self._prune, self._look_after_shared):
                    try:
                        await work()
                    except GatewayError as error:
                        log.error("dead_letters_not_pruned", error=str(error))  # noqa: TRY400 (no defect: the disk)
                with trio.move_on_after(PRUNE_EVERY_SECONDS):
                    await self._wait_moved()

    async def _wait_moved(self) -> None:
        """Wait until the directory is another one; meanwhile see what became of files that are in doubt."""
        if self._shared is None:
            await self._moved.wait()
            return
        while not self._moved.is_set():
            with trio.move_on_after(DOUBT_MS / 1000):
                await self._moved.wait()
            with suppress(GatewayError):  # the hourly look tells
                await self._shared.decide_all()

    async def _prune(self) -> None:
        keep = self._now.settings.dead_letter
        prune = partial(
            self._dead_letters.prune,
            keep_seconds=keep.keep_seconds,
            max_size_bytes=keep.max_size_bytes,
            now_ms=unix_ms(),
        )
        pruned = await trio.to_thread.run_sync(prune, abandon_on_cancel=True)
        if self._shared is not None:
            await self._shared.unlist(pruned)

    async def _look_after_shared(self) -> None:
        if self._shared is not None:
            await self._shared.look_after()
            # Others may write and remove there, too.
            await trio.to_thread.run_sync(self._dead_letters.count, abandon_on_cancel=True)

    def health(self) -> Mapping[str, Check]:
        """Return every check of readiness."""
        return judge(
            listening=self._life.listening,
            draining=self._life.draining,
            room=self._spool.room(),
            certificates=self._now.terms,
            now_ms=unix_ms(),
            reload_refused=self._record.refusal(),
        )

    async def render_metrics(self) -> bytes:
        """Return the text of `/metrics`."""
        set_readiness(self._metrics, self.health())
        # Where a database is away, what it says of the backlog stays as it was; the readiness tells of that.
        with suppress(SpoolUnavailableError), looking():
            await update_gauges(
                self._metrics,
                edge=self._edge,
                spool=self._spool,
                targets=self._now.settings.targets,
                dead_letters=self._dead_letters.counts(),
                give_ups_ms=self._dispatcher.next_give_ups_ms(await self._spool.oldest_clock_ms()),
                now_ms=unix_ms(),
            )
        return self._metrics.render()


async def _serve_outside(
    web: WebServer, server: tuple[str, int], stream: TlsStream, peer: Peer, alpn: str
) -> None:
    await web.serve(stream, peer=peer, alpn=alpn, server=server)
