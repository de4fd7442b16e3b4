"""A rig for the dashboard: the real app of the admin port, with sources that say what a test wants said."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from gateway.admin.app import build_admin_app
from gateway.admin.dashboard.board import Sources
from gateway.admin.dashboard.endpoints import Dashboard
from gateway.admin.dashboard.letters import Attempt, Letter, Page, Row, Wanted
from gateway.errors import UsageError
from tests.admin.rig import TOKEN, Desk

NOW_MS = 1_795_000_000_000
ID = "0191f0a0c0de70008000000000000001-support"
HOSTILE = "</td><script>alert(1)</script>\"'\u202e\x1b[31m"
URL = "http://127.0.0.1:9090"


def a_row(identifier: str = ID, **changed: Any) -> Row:
    """Return one line of the list."""
    row = Row(
        id=identifier,
        target="support",
        reason="refused",
        app="main",
        fields=("messages",),
        kinds=("message",),
        received_ms=NOW_MS - 5000,
        died_ms=NOW_MS - 4000,
        attempts=1,
        last="status 422",
        body_bytes=20,
    )
    return replace(row, **changed)


def a_letter(body: bytes = b'{"text": "the secret sauce"}', excerpt: str = "no sauce") -> Letter:
    """Return one dead letter."""
    return Letter(
        row=a_row(),
        notification_id="0191f0a0c0de70008000000000000001",
        url="http://support.internal/hook",
        object="whatsapp_business_account",
        waba="1",
        phone_number_id="2",
        file=f"/dead/support/{ID}.json",
        attempts=(Attempt(at_ms=NOW_MS - 4500, outcome="status 422", duration_ms=12, excerpt=excerpt),),
        headers={},
        body=body,
    )


@dataclass
class Stage(Desk):
    """The admin port with its dashboard."""

    rows: tuple[Row, ...] = (a_row(),)
    letter: Letter = field(default_factory=a_letter)
    wanted: list[Wanted] = field(default_factory=list)
    refusals: list[Mapping[str, Any]] = field(default_factory=list)
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    targets: dict[str, Any] = field(default_factory=lambda: {"support": {"state": "delivering"}})
    heard: dict[str, Any] = field(default_factory=dict)
    gateways: list[dict[str, Any]] = field(default_factory=list)
    token: bytes = TOKEN

    def __post_init__(self) -> None:
        self.dashboard = self.made()
        self.admin_app = build_admin_app(
            health=lambda: self.checks,
            render_metrics=self.render,
            token=lambda: self.token,
            hosts=self.hosts,
            actions=self,
            config=lambda: self.config,
            edge=self._edge,
            ledger=self.ledger,
            pages=self.dashboard.routes(),
        )

    def made(self, **changed: Any) -> Dashboard:
        """Return a dashboard with some of its sources changed."""
        sources: dict[str, Any] = {
            "health": lambda: self.checks,
            "render_metrics": self.render,
            "actions": self,
            "edge": self._edge,
            "ledger": self.ledger,
            "config": lambda: self.config,
            "callback_urls": lambda: {"main": "https://hooks.example.com/webhooks/main"},
            "letters": self,
            "changes": self._changes,
            "token": lambda: self.token,
            "token_place": lambda: "in the file /var/admin.token",
            "now_ms": lambda: NOW_MS,
        }
        return Dashboard(Sources(**{**sources, **changed}))

    async def status(self) -> Mapping[str, object]:
        self._act("status", None)
        return {"targets": self.targets, "gateways": self.gateways}

    async def ledger(self) -> Mapping[str, object]:
        return self.heard

    async def _changes(self) -> list[Mapping[str, Any]]:
        return self.lines

    def _edge(self) -> Mapping[str, object]:
        return {"anchors": [], "refusals": self.refusals, "certificates": []}

    def reasons(self) -> tuple[str, ...]:
        return ("refused", "gave_up")

    async def page(self, wanted: Wanted) -> Page:
        self.wanted.append(wanted)
        if wanted.since == "never":
            raise UsageError("since 'never' is no time", remedy="write 2h")
        return Page(rows=self.rows, after="2026-01-01/00/support/x", looked_at=len(self.rows))

    async def find(self, identifier: str) -> Letter | None:
        return self.letter if identifier == self.letter.row.id else None

    @property
    def done(self) -> list[tuple[str, Any]]:
        """What was asked for besides the status."""
        return [one for one in self.asked if one[0] != "status"]

    async def logged_in(self) -> "Visitor":
        """Return a browser that has shown the token."""
        visitor = Visitor(self.client())
        answer = await visitor.client.post("/login", data={"token": self.token.decode(), "next": "/"})
        assert answer.status_code == 303, answer.text
        return visitor


@dataclass
class Visitor:
    """A browser without JavaScript: keeps cookies, and sends the forms that it finds."""

    client: httpx.AsyncClient

    async def csrf(self, path: str = f"/dead-letters/{ID}") -> str:
        """Return the word that forms carry."""
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.client.get(path)).text)
        assert found, "no form"
        return found[1]

    async def post(self, path: str, **fields: str | Sequence[str]) -> httpx.Response:
        """Send a form with the session's word."""
        data: dict[str, Any] = {"csrf": await self.csrf(), **fields}
        return await self.client.post(path, data=data)
