"""What all pages share: the history, and the overview made at most once in `FRESH_SECONDS`, whoever asks.

`sample` is the one task that feeds the history. What cannot be asked for now (a worker that starts, a disk
that fails) is left out of the page, which says so; it never takes the page away.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import trio

from gateway.admin.actions import Actions
from gateway.admin.dashboard import wording
from gateway.admin.dashboard.history import SLOT_MS, History, Rates, read_metrics
from gateway.admin.dashboard.letters import Letters
from gateway.admin.dashboard.overview import Facts, Overview, make_overview
from gateway.admin.dashboard.pages import Pages
from gateway.admin.health import Health
from gateway.admin.reports import Changes, Config, EdgeReport, LedgerReport, RenderMetrics
from gateway.errors import GatewayError
from gateway.telemetry.log import get_logger
from gateway.telemetry.sums import Families, read_families

FRESH_SECONDS: Final = 2.0
"""Ten open tabs and a reload cost what one does."""
ASK_SECONDS: Final = 10.0
"""For one answer of the gateway: workers are given no more elsewhere."""
SECTIONS: Final = (
    "verdict",
    "charts",
    "targets",
    "gateways",
    "fields",
    "certificates",
    "letters",
    "refusals",
    "changes",
)
"""The parts of the overview, each a template and an element of this id."""

log = get_logger("admin")

T = TypeVar("T")

ShareRates = Callable[[Rates], Rates]
"""Takes what this gateway counts in a second, and returns what others do that share its database."""


def alone(_: Rates) -> Rates:
    """There are no others."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the dashboard asks. What workers answer is gathered there."""

    health: Health
    render_metrics: RenderMetrics
    actions: Actions
    edge: EdgeReport
    ledger: LedgerReport
    config: Config
    callback_urls: Callable[[], Mapping[str, str]]
    letters: Letters
    changes: Changes
    token: Callable[[], bytes]
    token_place: Callable[[], str]
    """Where an operator finds the token, in words."""
    now_ms: Callable[[], int]
    share_rates: ShareRates = alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One overview, and its sections as HTML."""

    overview: Overview
    sections: Mapping[str, str] = field(repr=False)
    missing: tuple[str, ...]
    """What could not be asked for, and why."""


class Board:
    """One a process."""

    def __init__(self, sources: Sources, pages: Pages) -> None:
        self.sources = sources
        self.history = History()
        self._pages = pages
        self._shown: Shown | None = None
        self._shown_at_seconds = 0.0
        self._making = trio.Lock()

    async def sample(self) -> None:
        """Feed the history, for as long as the process lives."""
        while True:
            now_ms = self.sources.now_ms()
            try:
                with trio.fail_after(ASK_SECONDS):
                    families = await self._families()
            except (GatewayError, trio.TooSlowError) as error:
                log.warning("dashboard_not_sampled", error=str(error) or "no answer in time")
            else:
                reading = read_metrics(families, at_ms=self.sources.now_ms())
                rates = self.history.rates(reading)
                self.history.take(reading, beside=self.sources.share_rates(rates))
            await trio.sleep(until_next_sample_seconds(now_ms))

    async def shown(self) -> Shown:
        """Return the overview as it is, or was a moment ago."""
        async with self._making:
            now_seconds = trio.current_time()
            if self._shown is None or now_seconds - self._shown_at_seconds >= FRESH_SECONDS:
                self._shown = await self._make()
                self._shown_at_seconds = trio.current_time()
            return self._shown

    def forget(self) -> None:
        """Have the next overview made anew: something was done."""
        self._shown_at_seconds = float("-inf")

    async def facts(self) -> tuple[Facts, tuple[str, ...]]:
        """Ask for everything; what does not answer is empty, and told."""
        missing: list[str] = []
        told: dict[str, Any] = {}

        async def ask(name: str, what: str, asked: Callable[[], Awaitable[Any]]) -> None:
            try:
                with trio.fail_after(ASK_SECONDS):
                    told[name] = await asked()
            except (GatewayError, trio.TooSlowError) as error:
                missing.append(f"{what}: {str(error) or 'no answer in time'}")

        sources = self.sources
        async with trio.open_nursery() as nursery:
            for name, what, asked in (
                ("health", "readiness", partial(_given, sources.health)),
                ("status", "targets", sources.actions.status),
                ("edge", "certificates and refusals", partial(_given, sources.edge)),
                ("config", "configuration", partial(_given, sources.config)),
                ("ledger", "what Meta sends", sources.ledger),
                ("changes", "audit log", sources.changes),
            ):
                nursery.start_soon(ask, name, what, asked)
        missing += _absent(told.get("status", {}))
        return Facts(now_ms=sources.now_ms(), callback_urls=sources.callback_urls(), **told), tuple(missing)

    async def _families(self) -> Families:
        text = (await self.sources.render_metrics()).decode()
        # Some thousand lines: not on the thread that acknowledges.
        return await trio.to_thread.run_sync(read_families, text)

    async def _make(self) -> Shown:
        facts, missing = await self.facts()
        # Some tens of milliseconds with many targets: not on the thread that acknowledges.
        return await trio.to_thread.run_sync(self._render, facts, missing)

    def _render(self, facts: Facts, missing: tuple[str, ...]) -> Shown:
        overview = make_overview(facts, self.history)
        values = {"overview": overview, "now_ms": overview.now_ms, "missing": missing}
        sections = {name: self._pages.render(f"part_{name}.html", values) for name in SECTIONS}
        return Shown(overview=overview, sections=sections, missing=missing)


def until_next_sample_seconds(now_ms: int) -> float:
    """Return the time until the middle of the next slot: a task that is late still falls into its own."""
    return (SLOT_MS - (now_ms + SLOT_MS // 2) % SLOT_MS) / 1000


def _absent(status: Mapping[str, Any]) -> list[str]:
    """Name the gateways on the same database that did not answer."""
    told = []
    for one in status.get("gateways", ()):
        if one["state"] != "answers":
            silent = f"not heard of for {wording.span(one['silent_seconds'])}"
            told.append(f"gateway {one['gateway']}: {silent if one['state'] == 'silent' else 'no answer'}")
    return told


async def _given(asked: Callable[[], T | Awaitable[T]]) -> T:
    answer = asked()
    return await answer if isinstance(answer, Awaitable) else answer
