"""The shared spool: PostgreSQL, three connections, and a thread for each.

`front.py` is the side on the Trio thread. Two writers make transactions of its requests: one takes in, the
other leases and settles; the scout learns what the other gateways do. What waits is counted by each writer
for itself, and looked up of the others: so none waits for another's count.
"""

import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from gateway.core.pausing import Pauses
from gateway.errors import GatewayError
from gateway.settings.model import Spool as SpoolSettings
from gateway.settings.secret import Secret
from gateway.spool.contract import Remembered, Room
from gateway.spool.duplicates import Limits
from gateway.spool.front import MAX_QUEUED_BYTES, MAX_QUEUED_REQUESTS, SpoolFront
from gateway.spool.postgresql.engine import INTAKE, Engine
from gateway.spool.postgresql.letters import Letters, Rows
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import LATEST, check
from gateway.spool.postgresql.partitions import Days
from gateway.spool.postgresql.scout import Scout, Sight, look
from gateway.spool.requests import AskLetters, Effects, Request
from gateway.spool.writer import Writer
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics

MAX_REASONS: Final = 8
"""Told in one outage: some are made of numbers that differ each time."""
FAILURE_SECONDS: Final = 5.0
"""How long a failed write counts: meanwhile Meta hears 503; then a notification is let through to try."""

log = get_logger("spool")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlOptions:
    """What of the settings concerns the shared spool."""

    dsn: Secret
    duplicates_window_seconds: float
    duplicates_max: int
    keep_delivered_seconds: float = 0.0
    max_queued_requests: int = MAX_QUEUED_REQUESTS
    max_queued_bytes: int = MAX_QUEUED_BYTES

    @classmethod
    def of(cls, spool: SpoolSettings) -> "PostgresqlOptions":
        """Say what the settings mean for the shared spool."""
        if spool.dsn is None:
            raise TypeError("spool.engine is postgresql, and there is no spool.dsn")
        return cls(
            dsn=spool.dsn,
            duplicates_window_seconds=spool.duplicates_window_seconds,
            duplicates_max=spool.duplicates_max,
            keep_delivered_seconds=spool.keep_delivered_seconds,
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    intake: Engine
    delivery: Engine
    scouting: Link
    writers: tuple[int, int]
    days: Days
    sight: Sight
    doubts: tuple[str, ...]


@asynccontextmanager
async def open_postgresql_spool(
    options: PostgresqlOptions, *, metrics: Metrics, now_ms: Callable[[], int]
) -> AsyncIterator["PostgresqlSpool"]:
    """Connect to the shared spool, and give back at the end what is leased. `now_ms`: Unix time, any thread.

    Raises:
        SpoolUnavailableError: it cannot be reached, or not worked with (schema, rights, a standby).
        SpoolBrokenError: it is damaged.
    """
    opened = await trio.to_thread.run_sync(partial(_open, options, now_ms))
    for doubt in opened.doubts:
        log.warning("spool_doubtful", detail=doubt)
    spool = PostgresqlSpool(opened, options, metrics=metrics, now_ms=now_ms)
    try:
        yield spool
    finally:
        await spool.close()


def _open(options: PostgresqlOptions, now_ms: Callable[[], int]) -> _Opened:
    scouting = Link(options.dsn)
    try:
        doubts = check(scouting, options.dsn)
        entry = _entry()
        [(first,)] = scouting.rows("new_writer", **entry)
        [(second,)] = scouting.rows("new_writer", **entry)
        days = Days()
        limits = Limits(
            window_ms=round(options.duplicates_window_seconds * 1000), max_keys=options.duplicates_max
        )
        intake, delivery = (
            Engine(
                Link(options.dsn),
                writer=writer,
                limits=limits,
                keep_ms=round(options.keep_delivered_seconds * 1000),
                days=days,
                now_ms=now_ms,
            )
            for writer in (first, second)
        )
        intake.learn()
        return _Opened(
            intake, delivery, scouting, (first, second), days, look(scouting, (first, second)), doubts
        )
    except BaseException:
        scouting.close()
        raise


def _entry() -> dict[str, object]:
    """Return what the others read of our writers."""
    return {"name": f"{socket.gethostname()}:{os.getpid()}", "version": LATEST}


class PostgresqlSpool(SpoolFront):
    """A `Spool`. Made by `open_postgresql_spool`."""

    def __init__(
        self,
        opened: _Opened,
        options: PostgresqlOptions,
        *,
        metrics: Metrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._server = ServerRoom()
        super().__init__(
            self._server,
            pending={},
            pending_bytes={},
            max_queued_requests=options.max_queued_requests,
            max_queued_bytes=options.max_queued_bytes,
        )
        self._engines = (opened.intake, opened.delivery)
        self._sight = opened.sight
        self._pauses_set_at = float("-inf")
        self._intake, self._delivery = (
            Writer(
                engine,
                observe_commit_seconds=metrics.spool_commit_seconds.observe,
                wake=self._wake,
                broken=self._break,
                now_ms=now_ms,
            )
            for engine in self._engines
        )
        self._scout = Scout(
            opened.scouting,
            writers=opened.writers,
            entry=_entry(),
            days=opened.days,
            seen=self._see,
            hinted=self._tell_ready,
            unreachable=self._unreachable,
            broken=self._break,
        )

    def remembered(self, now_ms: int) -> Remembered:
        """See `Spool.remembered`."""
        return self._engines[0].remembered(now_ms)

    def pending(self) -> Mapping[str, int]:
        """See `Spool.pending`: of all gateways; what others did counts within a second."""
        others = self._sight.pending
        sums = {
            target: others.get(target, 0) + self._pending.get(target, 0)
            for target in others.keys() | self._pending.keys()
        }
        return {target: number for target, number in sums.items() if number > 0}

    def pending_bytes(self) -> Mapping[str, int]:
        """See `Spool.pending_bytes`."""
        others = self._sight.pending_bytes
        return {
            target: others.get(target, 0) + self._pending_bytes.get(target, 0) for target in self.pending()
        }

    @property
    def letters(self) -> Letters:
        """See `Spool.letters`."""
        return Letters(self._ask_letters)

    async def _ask_letters(self, ask: Callable[[Rows], Any], writes: bool) -> Any:
        request = AskLetters(ask=ask, writes=writes)
        await (self._ask if writes else self._inquire)(request)
        return request.result

    async def pauses(self) -> Mapping[str, Pauses]:
        """See `Spool.pauses`. What the scout saw before is older."""
        asked_at = time.monotonic()
        found = await super().pauses()
        self._pauses_set_at = max(self._pauses_set_at, asked_at)
        return found

    async def set_pauses(self, target: str, pauses: Pauses, *, former: Pauses | None = None) -> bool:
        """See `Spool.set_pauses`. What the scout saw before is older."""
        try:
            return await super().set_pauses(target, pauses, former=former)
        finally:
            self._pauses_set_at = time.monotonic()

    def size_bytes(self) -> int:
        """See `Spool.size_bytes`: of the tables, as of the last look."""
        return self._sight.size_bytes

    async def close(self) -> None:
        """Finish what is queued, give back what is leased, and disconnect."""
        if self._closed:
            return
        self._closed = True
        await self._scout.close()
        for writer in (self._intake, self._delivery):
            try:
                await writer.close()
            except GatewayError as error:
                # What was acknowledged is durable; what is leased ends by itself.
                log.warning("spool_close_failed", detail=str(error))

    def _put(self, request: Request) -> None:
        (self._intake if isinstance(request, INTAKE) else self._delivery).put(request)

    def _count(self, effects: Effects) -> None:
        """Keep what these writers have added up: less than nothing, where they deliver what others stored."""
        for target, change in effects.pending.items():
            self._pending[target] = self._pending.get(target, 0) + change
            size_bytes = self._pending_bytes.get(target, 0) + effects.pending_bytes[target]
            self._pending_bytes[target] = size_bytes
        if effects.ready and self._sight.peers:
            self._scout.tell(effects.ready)

    def _see(self, sight: Sight) -> None:
        """Take up what the scout has seen; whoever waits for something looks again."""
        self._sight = sight
        if self._server.reached():
            for engine in self._engines:
                engine.try_again()
            log.info("spool_reachable")
        if sight.looked_at > self._pauses_set_at:
            for callback in self._pause_callbacks:
                callback(sight.pauses)
        waiting = frozenset(self.pending())
        if waiting and (sight.peers or any(number > 0 for number in sight.pending.values())):
            self._tell_ready(waiting)

    def _unreachable(self, detail: str) -> None:
        if self._server.lost(detail):
            log.error("spool_unreachable", detail=detail)


class ServerRoom:
    """Whether the database takes something. How much room its disk has is not ours to see."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._unreachable = ""
        self._reasons: set[str] = set()
        """Why it did not answer, since it last did."""
        self._failure = ""
        self._failed_at = float("-inf")
        self._final = ""

    def reached(self) -> bool:
        """Note that it answers; True where that is news."""
        news, self._unreachable = bool(self._unreachable), ""
        self._reasons.clear()
        if news:
            self._failure = ""  # it came of that
        return news

    def lost(self, detail: str) -> bool:
        """Note that it does not answer; True where that, or the reason, is news.

        What comes after the first reason may be the one that counts: a connection is lost, and then refused.
        """
        self._unreachable = detail
        news = detail not in self._reasons and len(self._reasons) < MAX_REASONS
        if news:
            self._reasons.add(detail)
        return news

    def write_failed(self, detail: str) -> bool:
        """Remember that something could not be stored; True where that is news."""
        now = self._monotonic()
        news = not self._failure or now - self._failed_at >= FAILURE_SECONDS
        self._failure, self._failed_at = detail, now
        return news

    def write_succeeded(self) -> None:
        """Forget the failure."""
        self._failure = self._unreachable = ""

    def failed_for_good(self, detail: str) -> None:
        """Remember that nothing will be stored any more."""
        self._final = detail

    def now(self) -> Room:
        """Return the state."""
        failed = self._failure and self._monotonic() - self._failed_at < FAILURE_SECONDS
        reason = self._final or self._unreachable or (self._failure if failed else "")
        return Room(free_bytes=None, total_bytes=0, enough=True, writable=not reason, detail=reason)
