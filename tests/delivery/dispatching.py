"""A dispatcher between a real spool and real targets."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time_ns

import trio

from gateway.core.breaker import BreakerPolicy
from gateway.core.merging import Merging
from gateway.core.retry import RetryPolicy
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import DeadLetter
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.sender import Endpoint, tls_context
from gateway.delivery.target import DispatchTarget
from gateway.spool.database import FILE_NAME
from gateway.spool.sqlite import SqliteOptions, SqliteSpool, open_sqlite_spool
from gateway.telemetry.metrics import Metrics
from tests.delivery.rig import APP_SECRET, FakeTarget

BODY = (
    b'{"object":"whatsapp_business_account","entry":[{"id":"1","changes":'
    b'[{"field":"messages","value":{"a":1}}]}]}'
)


def unix_ms() -> int:
    return time_ns() // 1_000_000


def a_target(
    url: str,
    *,
    schedule: tuple[float, ...] = (0.05,),
    give_up_after: float = 1e9,
    concurrency: int = 2,
    timeout: float = 2.0,
    drops: bool = False,
    max_changes: int = 1,
    breaker: BreakerPolicy | None = None,
    max_pending: int = 20 * 1024**3,
) -> DispatchTarget:
    return DispatchTarget(
        endpoint=Endpoint(url=url, timeout_seconds=timeout, tls=tls_context(url, None)),
        concurrency=concurrency,
        headers={"Authorization": b"Bearer s3cr3t"},
        webhook_key=None,
        policy=RetryPolicy(schedule_seconds=schedule, give_up_after_seconds=give_up_after),
        refuse_statuses=frozenset({400, 422}),
        drops=drops,
        merging=Merging(max_changes=max_changes) if max_changes > 1 else None,
        breaker=breaker or BreakerPolicy(failures=1000),
        max_pending_bytes=max_pending,
    )


@dataclass
class Rig:
    """A spool and a dead-letter directory."""

    directory: Path
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.store = DeadLetterStore(self.directory / "dead", b"k" * 32)

    @asynccontextmanager
    async def spool(self) -> AsyncIterator[SqliteSpool]:
        options = SqliteOptions(duplicates_window_seconds=3600, duplicates_max=1000, min_free_bytes=0)
        async with open_sqlite_spool(
            self.directory / "spool", options, metrics=self.metrics, now_ms=unix_ms
        ) as spool:
            yield spool

    def dispatcher(
        self,
        spool: SqliteSpool,
        targets: Mapping[str, DispatchTarget],
        store: DeadLetterStore | None = None,
        *,
        processes: int = 1,
    ) -> Dispatcher:
        return Dispatcher(
            spool=spool,
            targets=targets,
            dead_letters=store or self.store,
            metrics=self.metrics,
            now_ms=unix_ms,
            random=lambda: 0.5,
            app_secret={"main": APP_SECRET}.get,
            processes=processes,
        )

    @asynccontextmanager
    async def running(
        self, targets: Mapping[str, DispatchTarget], store: DeadLetterStore | None = None
    ) -> AsyncIterator[SqliteSpool]:
        async with self.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = self.dispatcher(spool, targets, store)
            await nursery.start(dispatcher.run)
            yield spool
            await dispatcher.drain(0)

    def damage(self, stored: bytes) -> bytes:
        """Flip a bit in bytes that stand once in the file of the spool, which is closed; return what they are
        now."""
        file = self.directory / "spool" / "0" / FILE_NAME
        content, changed = file.read_bytes(), stored[:-2] + bytes([stored[-2] ^ 1]) + stored[-1:]
        assert content.count(stored) == 1
        file.write_bytes(content.replace(stored, changed))
        return changed

    def died(self, target: str, reason: str) -> float:
        labels = {"target": target, "reason": reason}
        return self.metrics.registry.get_sample_value("meta_gateway_dead_letters_total", labels) or 0.0

    def letters(self) -> Iterator[DeadLetter]:
        return (self.store.read(found) for found in self.store.iterate())

    def counted(self, target: str, outcome: str) -> float:
        name = "meta_gateway_deliveries_total"
        return self.metrics.registry.get_sample_value(name, {"target": target, "outcome": outcome}) or 0.0


async def emptied(spool: SqliteSpool, *, seconds: float = 10) -> None:
    """Wait until nothing is pending."""
    with trio.fail_after(seconds):
        while spool.pending():  # noqa: ASYNC110 - the spool has no event for "empty"; nothing but tests asks
            await trio.sleep(0.01)


async def asked(target: FakeTarget, times: int, *, seconds: float = 10) -> None:
    """Wait until a target has had so many requests."""
    with trio.fail_after(seconds):
        while len(target.requests) < times:  # noqa: ASYNC110 - counts what comes in on sockets
            await trio.sleep(0.01)
