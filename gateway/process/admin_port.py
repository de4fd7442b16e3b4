"""The admin port and the metrics port: what is told and done there, and by whom.

What a gateway knows of itself comes in as `AdminAnswers`: those of the one process there is (`assembly`), or
of all workers together (`gathering`). Whatever is shown, on every page and path, is made of them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import trio

from gateway.admin.actions import Actions
from gateway.admin.app import build_admin_app, build_metrics_app
from gateway.admin.dashboard.board import ShareRates, Sources, alone
from gateway.admin.dashboard.endpoints import Dashboard
from gateway.admin.dashboard.letters import Letters
from gateway.admin.health import Check, Health
from gateway.admin.reports import Changes, EdgeReport, RenderMetrics
from gateway.admin.sharing import Shared
from gateway.admin.token import FILE_NAME, load_or_make_token
from gateway.browsing import Browser, SharedBrowser
from gateway.clock import unix_ms
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.process.exposition import ReloadRecord
from gateway.process.generation import Generation, callback_urls
from gateway.process.observing import Gather, Judged, Observer
from gateway.settings.model import Settings
from gateway.spool.opening import is_shared
from gateway.spool.succession import LeftBehind
from gateway.telemetry.metrics import Metrics
from gateway.tls.binding import Bound
from gateway.tracing import Part
from gateway.web.limits import HttpLimits
from gateway.web.plain import serve_plain
from gateway.web.server import AsgiApp, WebServer

MAX_CONNECTIONS: Final = 64
"""A scraper, probes, and people: more wait in the kernel's queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminAnswers:
    """What a gateway says of itself, and what can be done to it."""

    actions: Actions
    health: Health
    render_metrics: RenderMetrics
    edge: EdgeReport
    facts: Gather
    changes: Changes
    trace_parts: Callable[[str], Awaitable[list[Part]]]
    """What spool and memory have of what is asked; of dead letters nothing."""
    recall: Callable[[Sequence[str]], Awaitable[list[Part]]]
    """What memory has of these notifications."""
    follow_pauses: Callable[[], Awaitable[None]]
    """Looks at once at what another gateway has done to the pauses."""
    judged: Callable[[], Awaitable[Judged]] | None = None
    """See `Observer`."""
    share_rates: ShareRates = alone
    attend: Callable[[], Awaitable[None]] = trio.sleep_forever
    """What other gateways ask is answered as long as this runs."""

    async def edge_now(self) -> Mapping[str, object]:
        """Return what the edge says now."""
        said = self.edge()
        return await said if isinstance(said, Awaitable) else said


class AdminPort:
    """One a gateway: of its only process, or of the one above the workers."""

    def __init__(
        self,
        answers: AdminAnswers,
        *,
        generation: Callable[[], Generation],
        record: ReloadRecord,
        public: Bound,
        dead_letters: DeadLetterStore,
        metrics: Metrics,
        left_behind: LeftBehind | None = None,
    ) -> None:
        """`generation` returns the one that holds now; conditions are told in `metrics`. `left_behind`: what
        another engine has left, told with the checks.

        Raises:
            ConfigurationError: the token's file cannot be trusted, or none can be written.
        """
        self._answers = replace(
            answers,
            health=remarked(answers.health, left_behind),
            render_metrics=Shared(answers.render_metrics),
        )
        self._generation = generation
        self._record = record
        self._public = public
        self._dead_letters = dead_letters
        self._observer = Observer(
            answers.facts,
            status=answers.actions.status,
            apps=lambda: generation().settings.apps,
            metrics=metrics,
            now_ms=unix_ms,
            judged=answers.judged,
        )
        self._token = Token(lambda: generation().settings)

    def _browser(self) -> Letters:
        if is_shared(self._generation().settings.spool):
            return SharedBrowser(self._answers.actions, now_ms=unix_ms)
        return Browser(self._dead_letters, now_ms=unix_ms)

    async def open(self, nursery: trio.Nursery, *, admin: Bound, metrics_port: Bound | None) -> None:
        """Answer on the admin port, and on the second one where there is one; judge what is the matter."""
        answers, observer = self._answers, self._observer
        nursery.start_soon(answers.attend)
        nursery.start_soon(observer.watch)
        dashboard = Dashboard(
            Sources(
                health=answers.health,
                render_metrics=answers.render_metrics,
                actions=answers.actions,
                edge=answers.edge,
                ledger=observer.report,
                config=self._record.config,
                callback_urls=lambda: callback_urls(self._generation(), self._public.addresses),
                letters=self._browser(),
                changes=answers.changes,
                share_rates=answers.share_rates,
                token=self._token.now,
                token_place=self._token.place,
                now_ms=unix_ms,
            )
        )
        nursery.start_soon(dashboard.sample)
        admin_app = build_admin_app(
            health=answers.health,
            render_metrics=answers.render_metrics,
            token=self._token.now,
            hosts=frozenset(self._generation().settings.admin.hosts),
            actions=answers.actions,
            config=self._record.config,
            source=self._record.source,
            edge=answers.edge,
            ledger=observer.report,
            pages=dashboard.routes(),
        )
        await _serve(nursery, admin_app, admin)
        if metrics_port is not None:
            metrics_app = build_metrics_app(health=answers.health, render_metrics=answers.render_metrics)
            await _serve(nursery, metrics_app, metrics_port)


def remarked(health: Health, left: LeftBehind | None) -> Health:
    """Tell with the check of the spool what another engine has left; that takes nothing away."""
    if left is None:
        return health

    async def told() -> Mapping[str, Check]:
        asked = health()
        checks = asked if isinstance(asked, Mapping) else await asked
        spool = checks.get("spool", Check(ok=True))
        detail = "; ".join(filter(None, (spool.detail, left.message, left.remedy)))
        return {**checks, "spool": replace(spool, detail=detail)}

    return told


class Token:
    """What a caller of the admin port must show: of the settings, or one of our own, made where they name
    none. Which of the two it is stays as it was at the start; what the settings' is may change."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Raises ConfigurationError: see `load_or_make_token`."""
        self._settings = settings
        self._file = settings().spool.directory.parent / FILE_NAME
        self._own = None if settings().admin.token else load_or_make_token(self._file)

    def now(self) -> bytes:
        """Return what it is now."""
        configured = self._settings().admin.token
        if configured is not None:
            return configured.reveal()
        if self._own is None:
            raise RuntimeError("no token was made, though the settings hold none")
        return self._own

    def place(self) -> str:
        """Say where an operator finds it."""
        if self._own is None:
            return "what admin.token of the configuration names"
        return f"in the file {self._file}"


async def _serve(nursery: trio.Nursery, app: AsgiApp, bound: Bound) -> None:
    """Serve plain HTTP on a listener of ours; not counted as requests, which are the public port's."""
    web = WebServer(app, limits=HttpLimits(), metrics=None)
    await nursery.start(partial(serve_plain, bound.sockets, web, max_connections=MAX_CONNECTIONS))
