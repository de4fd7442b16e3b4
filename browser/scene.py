"""A dashboard with an invented hour behind it: `python -m browser.scene NAME PORT`, until its input ends.

The pages, the port and the checks are the real ones; what the gateway says of itself is made up, since an
hour of traffic and twenty targets in trouble are not to be had in a test. What acts is tried on a real one.
"""

import math
import os
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import trio

from gateway.admin.actions import ActionResult
from gateway.admin.app import build_admin_app
from gateway.admin.dashboard.board import Sources
from gateway.admin.dashboard.endpoints import Dashboard
from gateway.admin.dashboard.history import SLOT_MS, SLOTS, Reading
from gateway.admin.dashboard.letters import Attempt, Letter, Page, Row, Wanted
from gateway.admin.health import Check
from gateway.admin.requests import ReplayKeptRequest
from gateway.clock import unix_ms
from gateway.settings.values import Address
from gateway.telemetry.metrics import ACK_BUCKETS_SECONDS, Metrics
from gateway.tls.binding import bind
from gateway.web.limits import HttpLimits
from gateway.web.plain import serve_plain
from gateway.web.server import WebServer

TOKEN: Final = "scene-token-0123456789abcdefghijklmnopqrstu"
DAY_S: Final = 86_400
BODY: Final = (
    b'{"object": "whatsapp_business_account", "entry": [{"id": "735190284461207", "changes": [{"field":'
    b' "messages", "value": {"messages": [{"from": "4915560017342", "text": {"body":'
    b' "</pre><script>alert(1)</script> \xe2\x80\xaeabc"}}]}}]}]}'
)
HOSTILE: Final = "CN=</td><script>alert(1)</script>\u202egpj.exe,O=\x1b[31mred"


def moment(now_ms: int, seconds: float) -> str:
    """Return RFC 3339, so many seconds from now."""
    at = datetime.fromtimestamp(now_ms / 1000 + seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Stage:
    """What the gateway says of itself."""

    name: str
    now_ms: int = field(default_factory=unix_ms)
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def empty(self) -> bool:
        return self.name == "empty"

    @property
    def trouble(self) -> bool:
        return self.name in ("trouble", "many")

    def at(self, seconds: float) -> str:
        return moment(self.now_ms, seconds)

    def target_names(self) -> list[str]:
        names = ["support", "billing", "templates", "analytics", "audit"]
        if self.name == "many":
            names += [f"tenant-{number:02d}-whatsapp-inbox" for number in range(1, 16)]
        return names

    # -- what is asked

    def health(self) -> Mapping[str, Check]:
        checks = dict.fromkeys(
            ("listener", "spool", "free_space", "certificates", "draining", "configuration"), Check(ok=True)
        )
        if self.trouble:
            checks["certificates"] = Check(ok=True, detail="server expires in 9 days")
        return checks

    def _gateways(self) -> list[dict[str, object]]:
        """Several that share a database, where much is shown."""
        if self.name != "many":
            return []
        names = ("hooks-1:4711", "hooks-2.internal.example.com:4711", "<b>hooks-3</b>:1")
        return [
            {
                "gateway": name,
                "own": number == 0,
                "state": ("answers", "no_answer", "silent")[number],
                "version": "0.1.0",
                "directory": "/var/lib/meta-webhook-gateway/spool",
                "started_at": self.at(-86_400 * (number + 1)),
                "last_heard_at": self.at(-1),
                "silent_seconds": (0.4, 3.0, 250.0)[number],
            }
            for number, name in enumerate(names)
        ]

    async def status(self) -> Mapping[str, object]:
        targets: dict[str, object] = {}
        for number, name in enumerate(self.target_names()):
            targets[name] = {
                "pending": 0 if self.empty else number % 3,
                "pending_bytes": 0 if self.empty else number % 3 * 1400,
                "oldest_seconds": 0.0 if self.empty else 0.4,
                "dead_letters": 0,
                "state": "delivering",
                "breaker": {"open": False, "state": "delivering", "opened_at": None},
                "pause": None,
                "rate_per_second": None,
                "last_error": None,
            }
        if not self.empty:
            targets["analytics"] = {
                **dict(targets["analytics"]),  # type: ignore[call-overload] # a dictionary, made above
                "last_error": {"at": self.at(-1900), "status": 503, "error": ""},
            }
            targets["_unrouted"] = {
                "pending": 0,
                "pending_bytes": 0,
                "oldest_seconds": 0.0,
                "dead_letters": 14,
            }
        if self.name == "many":
            targets["analytics"] = {
                **dict(targets["analytics"]),  # type: ignore[call-overload] # as above
                "gateways": [
                    {"gateway": one["gateway"], "state": state}
                    for one, state in zip(self._gateways(), ("delivering", "open", "paused"), strict=True)
                ],
            }
        if self.trouble:
            targets["billing"] = {
                "pending": 18_234,
                "pending_bytes": 26_412_000,
                "oldest_seconds": 2_520.0,
                "dead_letters": 41,
                "state": "open",
                "breaker": {"open": True, "state": "failing", "opened_at": self.at(-2500)},
                "pause": None,
                "rate_per_second": None,
                "last_error": {"at": self.at(-9), "status": None, "error": "connection refused"},
                "next_give_up_at": self.at(7 * DAY_S - 2520),
            }
            targets["templates"] = {
                "pending": 312,
                "pending_bytes": 402_000,
                "oldest_seconds": 4_120.0,
                "dead_letters": 0,
                "state": "paused",
                "breaker": {"open": False, "state": "delivering", "opened_at": None},
                "pause": {"from": self.at(-4200), "until": self.at(3000), "reason": "deploy of 2.14"},
                "rate_per_second": None,
                "last_error": {"at": self.at(-4300), "status": 502, "error": ""},
                "next_give_up_at": self.at(7 * DAY_S - 100),
            }
        return {"targets": targets, "gateways": self._gateways()}

    def edge(self) -> Mapping[str, object]:
        anchor, staged = "4f2a" * 16, "b81c" * 16
        refusals = (
            [] if self.empty else [self._refusal(number) for number in range(6 if not self.trouble else 14)]
        )
        return {
            "anchors": [
                {
                    "client": "meta",
                    "sha256": anchor,
                    "subject": "CN=Meta Outbound API CA 2025-12,O=Meta Platforms\\, Inc.,C=US",
                    "not_after": self.at(9.1 * 365 * DAY_S),
                    "last_seen_at": None if self.empty else self.at(-2),
                    "staged": False,
                },
                {
                    "client": "meta",
                    "sha256": staged,
                    "subject": "CN=Meta Outbound API CA 2027-06,O=Meta Platforms\\, Inc.,C=US",
                    "not_after": self.at(11 * 365 * DAY_S),
                    "last_seen_at": None,
                    "staged": True,
                },
            ],
            "secrets": [],
            "certificates": [
                self._term("server", 9.3 if self.trouble else 61.4),
                self._term(anchor[:16], 9.1 * 365),
                self._term(staged[:16], 11 * 365),
                *([] if self.empty else [self._term("client:meta", 173)]),
            ],
            "revocation_lists": [],
            "apps": {
                "main": {
                    "client_certificate": "required",
                    "recent": {"notifications": 0, "without_accepted": 0},
                }
            },
            "refusals": refusals,
        }

    def _term(self, name: str, days: float) -> Mapping[str, object]:
        return {"name": name, "not_after": self.at(days * DAY_S), "days_left": int(days)}

    def _refusal(self, number: int) -> Mapping[str, object]:
        claimed = number % 4 == 1
        subject = HOSTILE if number == 2 else "CN=scanner.example,O=Somebody"
        return {
            "at": self.at(-40 - 611 * number),
            "kind": "request" if number % 3 == 2 else "connection",
            "address": f"198.51.100.{17 + number}",
            "reason": ("no_certificate", "unknown_issuer", "wrong_name", "protocol")[number % 4],
            "detail": "",
            "subject": "CN=client.webhooks.fbclientcerts.com" if claimed else subject if number % 4 else None,
            "issuer": "CN=Private CA" if number % 4 else None,
            "serial": "1f",
            "sha256": "ab" * 32,
            "claims": "meta" if claimed else None,
            "claims_meta": claimed,
            "staged": None,
            "staged_says": "no staged anchor would admit it" if claimed else None,
            "connection": "closed",
            "app": "main" if number % 3 == 2 else None,
            "status": 403 if number % 3 == 2 else None,
            "proved": False,
        }

    def config(self) -> Mapping[str, object]:
        return {"hash": "9f31c02a77de" * 5, "loaded_at": self.at(-90_000), "last_reload": None}

    async def changes(self) -> Sequence[Mapping[str, Any]]:
        if self.empty:
            return ()
        return (
            {
                "at": self.at(-90_000),
                "action": "reload",
                "by": "file",
                "result": "loaded",
                "changed": ["certs/fullchain.pem", "certs/privkey.pem"],
            },
            {
                "at": self.at(-9000),
                "action": "replay",
                "by": "admin_port",
                "ids": [f"0191f0a0c0de7000800000000000000{n}-billing" for n in range(5)],
                "accept_edited": False,
            },
            {
                "at": self.at(-4200),
                "action": "pause",
                "by": "admin_port",
                "target": "templates",
                "seconds": 7200.0,
                "reason": "deploy of 2.14",
            },
            {
                "at": self.at(-700),
                "action": "reload",
                "by": "signal",
                "result": "refused",
                "problems": [
                    "gateway.yaml:31:5: targets.billing.url: not a URL; write http://HOST:PORT/PATH"
                ],
            },
        )

    async def render_metrics(self) -> bytes:
        return self.metrics.render()

    async def ledger(self) -> Mapping[str, object]:
        if self.empty:
            return {"conditions": [], "fields": [], "lines": []}
        # A real gateway is asked anew each time; here the times go on with the clock.
        now_ms = unix_ms()
        fields = [
            {
                "app": "main",
                "object": WABA,
                "field": name,
                "received": 84_112 if age < 60 else 120,
                "last_received_at": moment(now_ms, -age),
                "usual_interval_seconds": usual,
                "lag_seconds": lag,
                "silence": {
                    "judgement": "usual" if age < 6000 else "learning",
                    "seconds": age,
                    "missed": 0.0,
                },
            }
            for name, age, usual, lag in FIELDS
        ]
        lines = [
            {
                **one,
                "waba": "735190284461207",
                "phone_number_id": f"54187023996541{number}",
                "delivered": {"support": {"count": 31_044, "last_at": moment(now_ms, -2)}},
            }
            for number, one in enumerate(fields)
        ]
        return {"conditions": self.conditions(), "fields": fields, "lines": lines, "lines_left_out": 0}

    def conditions(self) -> Sequence[Mapping[str, object]]:
        failing = {
            "condition": "target_failing",
            "target": "billing",
            "since": self.at(-2500),
            "summary": "target billing fails",
            "evidence": [
                "18 234 deliveries wait, the oldest for 42 min",
                "the last attempt failed: connection refused",
            ],
            "next_steps": [
                "look at billing itself, and at the log's delivery_retried events",
                "for planned work: gateway targets pause billing --for 2h",
                "what waits goes out by itself once an attempt is taken",
            ],
        }
        refusing = {
            "condition": "gateway_refusing",
            "app": "main",
            "reason": "signature",
            "since": self.at(-500),
            "summary": "the gateway turns Meta away on app main: signature",
            "evidence": ["41 times or more in the last 15 minutes, 3 s ago the last"],
            "next_steps": [
                "compare the app secret in Meta's App Dashboard with app_secrets: after a rotation list both",
                "gateway doctor",
            ],
        }
        silent = {
            "condition": "meta_silent",
            "app": "main",
            "field": "messages",
            "since": self.at(-1500),
            "summary": "Meta is silent: no messages for app main for 25 min",
            "evidence": ["usually one every 3 s", "at least 212 should have come by now"],
            "next_steps": ["gateway doctor, which looks at the public port from outside"],
        }
        return {"refusing": [refusing], "silent": [silent]}.get(self.name, [failing] if self.trouble else [])

    # -- what is done: here it only says so

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> Mapping[str, object]:
        return {}

    async def resume(self, target: str, *, rate_per_second: float | None) -> Mapping[str, object]:
        return {}

    async def discard_target(self, target: str, *, limit: int) -> Mapping[str, object]:
        return {}

    async def replay_kept(self, asked: ReplayKeptRequest) -> Mapping[str, object]:
        return {}

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        return {one: ActionResult(result="replayed") for one in ids}

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        return {one: ActionResult(result="discarded") for one in ids}

    # -- dead letters

    def reasons(self) -> tuple[str, ...]:
        return ("refused", "gave_up", "unrouted", "unparseable", "damaged", "discarded_target")

    async def page(self, wanted: Wanted) -> Page:
        rows = tuple(self._row(number) for number in range(0 if self.empty else 12))
        return Page(rows=rows, after="" if self.empty else "2026-01-01/00/billing/x", looked_at=len(rows))

    async def find(self, identifier: str) -> Letter | None:
        if self.empty:
            return None
        row = self._row(0)
        excerpt = '{"error": "no such customer <b>4915560017342</b>"}'
        return Letter(
            row=row,
            notification_id="0191f0a0c0de70008000000000000001",
            url="http://billing.internal:8080/whatsapp",
            object="whatsapp_business_account",
            waba="735190284461207",
            phone_number_id="541870239965418",
            file=f"/var/lib/gateway/dead-letter/billing/2026-01-01/00/{row.id}.json",
            attempts=tuple(
                Attempt(
                    at_ms=self.now_ms - 60_000 * (4 - n),
                    outcome="status 422",
                    duration_ms=31 + n,
                    excerpt=excerpt,
                )
                for n in range(3)
            ),
            headers={"Content-Type": "application/json"},
            body=BODY,
        )

    def _row(self, number: int) -> Row:
        if number == 7:
            return Row(
                id=f"0191f0a0c0de7000800000000000{number:04d}-audit",
                target="audit",
                reason="",
                problem="not JSON",
            )
        target = ("billing", "_unrouted", "billing")[number % 3]
        return Row(
            id=f"0191f0a0c0de7000800000000000{number:04d}-{target}",
            target=target,
            reason="unrouted" if target == "_unrouted" else "refused",
            app="main",
            fields=("message_template_status_update",) if target == "_unrouted" else ("messages",),
            kinds=("other",) if target == "_unrouted" else ("message",),
            received_ms=self.now_ms - 400_000 * (number + 1),
            died_ms=self.now_ms - 400_000 * number - 2000,
            attempts=0 if target == "_unrouted" else 3,
            last="" if target == "_unrouted" else "status 422",
            body_bytes=541 + 97 * number,
        )


WABA: Final = "whatsapp_business_account"
FIELDS: Final = (
    ("account_update", 172_000.0, 260_000.0, None),
    ("message_template_status_update", 840.0, 5_400.0, 2.4),
    ("messages", 1.2, 0.06, 0.9),
    ("phone_number_quality_update", 5_400.0, 41_000.0, 1.7),
)
"""Name, seconds since the last, usual interval, behind Meta's clock."""


def play_an_hour(dashboard: Dashboard, stage: Stage) -> None:
    """Fill the history: a morning that gets busier, and in trouble a target that dies."""
    random.seed(7)
    counts: dict[tuple[str, ...], float] = {}
    bounds = (*ACK_BUCKETS_SECONDS, math.inf)
    buckets = dict.fromkeys(bounds, 0.0)
    start_ms = stage.now_ms - SLOTS * SLOT_MS
    waiting = 0.0
    for slot in range(SLOTS):
        share = slot / SLOTS
        pace = 22 + 14 * math.sin(share * 5.2 - 1) + 9 * share + random.uniform(-2.2, 2.2)
        if stage.trouble and 0.55 < share < 0.58:
            pace *= 0.3
        dead = stage.trouble and share > 0.3
        waiting = waiting + pace * 0.21 * 10 if dead else 3 + random.random() * 4
        for name in stage.target_names():
            weight = {"support": 0.8, "billing": 0.21, "templates": 0.02}.get(name, 0.1)
            lost = dead and name == "billing"
            for key, part in (
                (("delivered", name), 0.0 if lost else 1.0),
                (("failed", name), 0.05 if lost else 0.0),
            ):
                counts[key] = counts.get(key, 0.0) + pace * 10 * weight * part * random.uniform(0.85, 1.15)
        for whole, weight in (("accepted", 1.0), ("delivered", 0.79 if dead else 1.02)):
            counts[(whole,)] = counts.get((whole,), 0.0) + pace * 10 * weight
        for name, age, _, _ in FIELDS:
            weight = 1.0 if age < 60 else 0.01
            counts["field", "main", WABA, name] = (
                counts.get(("field", "main", WABA, name), 0.0) + pace * 10 * weight
            )
        slow = random.uniform(0.9, 1.3) * (3 if stage.trouble and 0.55 < share < 0.6 else 1)
        for bound in bounds:
            buckets[bound] += pace * 10 * (1 - math.exp(-bound / (0.006 * slow)) if bound < math.inf else 1)
        dashboard.board.history.take(
            Reading(
                at_ms=start_ms + slot * SLOT_MS,
                counts=dict(counts),
                levels={("waiting",): waiting, ("waiting", "billing"): waiting},
                buckets=dict(buckets),
            )
        )


async def serve(name: str, port: int) -> None:
    """Serve one scene until standard input ends."""
    stage = Stage(name)
    token = TOKEN.encode()
    dashboard = Dashboard(
        Sources(
            health=stage.health,
            render_metrics=stage.render_metrics,
            actions=stage,
            edge=stage.edge,
            ledger=stage.ledger,
            config=stage.config,
            callback_urls=lambda: {"main": "https://hooks.example.com/webhooks/main"},
            letters=stage,
            changes=stage.changes,
            token=lambda: token,
            token_place=lambda: "in the file /var/lib/gateway/admin.token",
            now_ms=unix_ms,
        )
    )
    if not stage.empty:
        play_an_hour(dashboard, stage)
    app = build_admin_app(
        health=stage.health,
        render_metrics=stage.render_metrics,
        token=lambda: token,
        hosts=frozenset(),
        actions=stage,
        config=stage.config,
        edge=stage.edge,
        ledger=stage.ledger,
        pages=dashboard.routes(),
    )
    async with trio.open_nursery() as nursery:
        web = WebServer(app, limits=HttpLimits(), metrics=None)
        bound = bind(Address(host="127.0.0.1", port=port))
        await nursery.start(partial(serve_plain, bound.sockets, web, max_connections=64))
        await trio.to_thread.run_sync(partial(os.read, 0, 1), abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], int(sys.argv[2]))
