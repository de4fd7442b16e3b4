"""A rig for the admin port: the app with actions that note what they were asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from gateway.admin.actions import ActionResult
from gateway.admin.app import build_admin_app, build_metrics_app
from gateway.admin.health import Check
from gateway.admin.requests import LettersRequest, ReplayKeptRequest
from gateway.telemetry.metrics import Metrics

TOKEN = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
BEARER = {"authorization": f"Bearer {TOKEN.decode()}"}
WELL = ("listener", "spool", "free_space", "certificates", "draining")


@dataclass
class Desk:
    """Both apps, and everything around them."""

    checks: dict[str, Check] = field(default_factory=lambda: dict.fromkeys(WELL, Check(ok=True)))
    hosts: frozenset[str] = frozenset({"gateway.internal", "10.0.0.5:9090"})
    asked: list[tuple[str, Any]] = field(default_factory=list)
    fault: Exception | None = None
    config: dict[str, object] = field(default_factory=lambda: {"hash": "ab12", "last_reload": None})
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.admin_app: Any = build_admin_app(
            health=lambda: self.checks,
            render_metrics=self.render,
            token=lambda: TOKEN,
            hosts=self.hosts,
            actions=self,
            config=lambda: self.config,
            edge=lambda: {"anchors": [], "refusals": []},
            ledger=self.ledger,
        )
        self.metrics_app: Any = build_metrics_app(health=lambda: self.checks, render_metrics=self.render)

    async def render(self) -> bytes:
        return self.metrics.render()

    async def ledger(self) -> Mapping[str, object]:
        return {"conditions": [], "fields": [], "lines": []}

    async def status(self) -> Mapping[str, object]:
        self._act("status", None)
        return {"targets": {"support": {"pending": 3, "oldest_seconds": 1.5}}}

    async def trace(self, text: str) -> Mapping[str, object]:
        self._act("trace", text)
        return {"asked": text, "notifications": []}

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Mapping[str, object]:
        self._act("pause", (target, seconds, reason))
        return {"state": "paused"}

    async def resume(self, target: str, *, rate_per_second: float | None) -> Mapping[str, object]:
        self._act("resume", (target, rate_per_second))
        return {"state": "delivering"}

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, object]:
        self._act("discard_target", (target, limit))
        return {"discarded": limit, "left": 0}

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, object]:
        self._act("replay_kept", asked)
        return {"counts": {"replayed": 3}, "after": [1, 2], "reached_ms": 7}

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        self._act("replay", (list(ids), accept_edited))
        return {id_: ActionResult(result="replayed") for id_ in ids}

    async def rehearse(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        self._act("rehearse", (list(ids), accept_edited))
        return {id_: ActionResult(result="would_replay") for id_ in ids}

    async def list_letters(self, asked: LettersRequest) -> Mapping[str, object]:
        self._act("letters", asked)
        return {"letters": [], "after": None, "looked_at": 0, "gateways": 2}

    async def read_letter(self, identifier: str) -> Mapping[str, object]:
        self._act("letter", identifier)
        return {"result": "not_found", "detail": ""}

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        self._act("discard", list(ids))
        return {id_: ActionResult(result="not_found", detail="gone") for id_ in ids}

    def _act(self, action: str, asked: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.asked.append((action, asked))

    def client(self, *, metrics_port: bool = False, url: str = "http://127.0.0.1:9090") -> httpx.AsyncClient:
        """Return a client of one of the apps, whose answers to our own faults come through."""
        app = self.metrics_app if metrics_port else self.admin_app
        return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=url)
