"""What an operator does to a running gateway: the admin port's actions, wired to spool and dead letters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import os
import secrets

from gateway.admin.app import ActionResult
from gateway.core.routing import RoutingTable
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.settings.model import Settings
from gateway.spool.contract import Spool


def load_or_make_seal_key(path: Path) -> bytes:
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
            f.write(secrets.token_bytes(32))
    return path.read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    settings: Settings
    spool: Spool
    routing: RoutingTable
    now_ms: Callable[[], int]
    dead_letters: DeadLetterStore

    @classmethod
    def open(
        cls, settings: Settings, *, spool: Spool, routing: RoutingTable, now_ms: Callable[[], int]
    ) -> "Operations":
        key = load_or_make_seal_key(settings.spool.directory.parent / "seal.key")
        return cls(
            settings=settings,
            spool=spool,
            routing=routing,
            now_ms=now_ms,
            dead_letters=DeadLetterStore(settings.dead_letter.directory, key),
        )

    async def status(self) -> Mapping[str, object]:
        now_ms = self.now_ms()
        oldest = await self.spool.oldest_received_ms()
        pending = {**dict.fromkeys(self.settings.targets, 0), **self.spool.pending()}
        return {
            "targets": {
                name: {
                    "pending": count,
                    "oldest_seconds": max(0, now_ms - oldest[name]) / 1000 if name in oldest else 0.0,
                }
                for name, count in pending.items()
            }
        }

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, ActionResult]:
        raise NotImplementedError

    async def discard(self, ids: Sequence[str]) -> Mapping[str, ActionResult]:
        raise NotImplementedError
