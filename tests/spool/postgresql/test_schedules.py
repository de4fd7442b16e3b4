"""Random schedules: the shared spool answers as the fake does, and leaves nothing behind."""

import contextlib

import trio
from hypothesis import HealthCheck, given, settings

from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Spool
from gateway.spool.memory import open_memory_spool
from tests.postgresql.rig import Database, opened
from tests.postgresql.server import Server
from tests.spool.rig import NOW_MS, Disk, note
from tests.spool.test_schedules import FOR_EVER_SECONDS, TARGETS, Pair, Step, steps

_STORING = ("notification", "delivery", "pause")


class SharedPair(Pair):
    """The shared spool in the place of SQLite's."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.server.directory, Disk(name="none"))
        self.database = database

    async def open(self) -> None:
        self.shared = await self.stack.enter_async_context(
            opened(self.database, window_seconds=60, duplicates_max=7, keep_seconds=FOR_EVER_SECONDS)
        )
        self.memory = await self.stack.enter_async_context(
            open_memory_spool(
                self.state,
                duplicates_window_seconds=60,
                duplicates_max=7,
                keep_delivered_seconds=FOR_EVER_SECONDS,
            )
        )

    def both(self) -> tuple[Spool, Spool]:
        return self.shared, self.memory

    async def at_once(self, first: int, second: int) -> None:
        """One after the other: what is stored and what leases need not share a transaction here."""
        wanted = self.new(first, second)
        for spool in self.both():
            await spool.append(wanted)
        await self.lease(TARGETS[first % 3], second)

    async def offer(self, first: int, second: int) -> None:
        """It takes no offers."""
        await self.at_once(first, second)

    async def fill(self, number: int) -> None:
        wanted = note(b"full %d" % number, targets=TARGETS, at_ms=self.now_ms)
        self.database.refuse("53100", *_STORING)
        self.state.full = True
        for spool in self.both():
            with contextlib.suppress(SpoolUnavailableError):
                await spool.append(wanted)
                raise AssertionError("stored on a full disk")
        self.database.allow(*_STORING)
        self.state.full = False

    async def compare(self) -> None:
        one, other = self.both()
        assert one.pending() == other.pending()
        assert one.pending_bytes() == other.pending_bytes()
        assert await one.oldest_received_ms() == await other.oldest_received_ms()
        assert await one.oldest_clock_ms() == await other.oldest_clock_ms()
        for target in TARGETS:
            assert await one.next_due_ms(target) == await other.next_due_ms(target)


LEFT_BEHIND = """
SELECT (SELECT count(*) FROM body WHERE seq NOT IN (SELECT seq FROM notification)),
    (SELECT count(*) FROM notification WHERE seq NOT IN (SELECT seq FROM body)),
    (SELECT count(*) FROM attempt WHERE (seq, position) NOT IN (SELECT seq, position FROM delivery)),
    (SELECT count(*) FROM turn WHERE (seq, position) NOT IN (SELECT seq, position FROM delivery)),
    (SELECT count(*) FROM notification AS n WHERE deliveries !=
        (SELECT count(*) FROM delivery WHERE seq = n.seq) + (SELECT count(*) FROM kept WHERE seq = n.seq)),
    (SELECT count(*) FROM notification WHERE deliveries = 0),
    (SELECT coalesce(sum(deliveries), 0)::int FROM tally) - (SELECT count(*)::int FROM delivery),
    (SELECT coalesce(sum(bytes), 0)::int FROM tally)
        - (SELECT coalesce(sum(raw_bytes), 0)::int FROM delivery JOIN notification USING (seq)),
    (SELECT count(*) FROM writer)
"""


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps())
def test_the_shared_spool_answers_as_the_fake_does(postgresql: Server, schedule: list[Step]) -> None:
    async def main() -> None:
        database = Database(postgresql)
        database.clear()
        database.set_clock(NOW_MS)
        pair = SharedPair(database)
        await pair.open()
        try:
            for kind, first, second in schedule:
                await pair.step(kind, first, second)
        finally:
            await pair.stack.aclose()
        assert database.sql(LEFT_BEHIND) == [(0,) * 9]
        database.link.close()

    trio.run(main)
