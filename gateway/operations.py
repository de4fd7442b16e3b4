"""What an operator does to a running gateway: the admin port's actions, wired to spool and dead letters."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import trio

from gateway.admin.app import ActionResult
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.gate import GateView
from gateway.delivery.message import rfc3339
from gateway.delivery.replay import Known, Replayer, Result, discard
from gateway.spool.contract import Spool
from gateway.telemetry.audit import AuditLog

BY_ADMIN_PORT: Final = "admin_port"
"""Who did it, in the audit log: whoever had the token."""


class Operations:
    """The admin port's `Actions`. Each is on the audit log before it is done."""

    def __init__(
        self,
        *,
        known: Callable[[], Known],
        spool: Spool,
        dead_letters: DeadLetterStore,
        audit: AuditLog,
        now_ms: Callable[[], int],
        views: Callable[[], Mapping[str, GateView]],
    ) -> None:
        """`known` is asked at every action: a reload changes what it returns."""
        self._views = views
        self._known = known
        self._spool = spool
        self._dead_letters = dead_letters
        self._audit = audit
        self._now_ms = now_ms
        self._replayer = Replayer(spool=spool, store=dead_letters, known=known, now_ms=now_ms)

    async def status(self) -> Mapping[str, object]:
        """Return how each target is and what waits for it, those that the configuration has lost included."""
        now_ms = self._now_ms()
        oldest = await self._spool.oldest_received_ms()
        pending = {**dict.fromkeys(sorted(self._known().targets), 0), **self._spool.pending()}
        dead = self._dead_letters.counts()
        views = self._views()
        return {
            "targets": {
                name: {
                    "pending": count,
                    "oldest_seconds": max(0, now_ms - oldest[name]) / 1000 if name in oldest else 0.0,
                    "dead_letters": dead.get(name, 0),
                    **(shown_view(views[name]) if name in views else {}),
                }
                for name, count in {**dict.fromkeys(dead, 0), **pending}.items()
            }
        }

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        """Store dead letters again."""
        await self._record("replay", ids=list(ids), accept_edited=accept_edited)
        return _shown(await self._replayer.replay(ids, accept_edited=accept_edited))

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        """Remove dead letters for good."""
        await self._record("discard", ids=list(ids))
        return _shown(await trio.to_thread.run_sync(discard, self._dead_letters, ids))

    async def _record(self, action: str, **fields: object) -> None:
        await trio.to_thread.run_sync(partial(self._audit.record, action, by=BY_ADMIN_PORT, **fields))


def shown_view(view: GateView) -> dict[str, object]:
    """Return how a target is, fit for JSON."""
    return {
        "state": str(view.state),
        "breaker": {
            "open": view.opened_at_ms is not None,
            "state": str(view.breaker),
            "opened_at": None if view.opened_at_ms is None else rfc3339(view.opened_at_ms),
        },
    }


def _shown(results: Mapping[str, Result]) -> Mapping[str, ActionResult]:
    return {
        name: ActionResult(result=result.word.value, detail=result.detail) for name, result in results.items()
    }
