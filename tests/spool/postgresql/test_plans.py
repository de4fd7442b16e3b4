"""Plans are made once, while tables are new and empty, and must still be good when they hold millions."""

import time

import trio

from gateway.core.lanes import ORDER
from gateway.spool.contract import Spool
from tests.postgresql.rig import Database, opened
from tests.spool.rig import NOW_MS, in_an_hour, note

BATCHES = 12
"""After five of a statement the server settles on a plan."""
BATCH = 64
KEYS = 20_000
WAITING = 20_000
_WAITING = f"""
TRUNCATE notification, delivery;
INSERT INTO notification SELECT n, 'n' || n, 'main', n, 0, 1, 1, 0, NULL
    FROM generate_series(1, {WAITING}) AS n;
INSERT INTO delivery (seq, position, target, received_at_ms, due_ms, clock_started_ms, changes, lane, id)
    SELECT n, 0, 'support', n / 50, 0, n / 50, 1, {int(ORDER[-1])}, md5(n::text)
    FROM generate_series(1, {WAITING}) AS n;
SELECT setval('notification_seq', {WAITING});
ANALYZE notification, delivery
"""  # noqa: S608


def rows_read(database: Database, table: str) -> int:
    """Return how many rows of a table and its indexes have been read, once whoever read them is gone."""
    deadline = time.monotonic() + 5
    while database.sql(
        "SELECT 1 FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()"
    ):
        assert time.monotonic() < deadline, "the gateway has not disconnected"
    [(found,)] = database.sql(
        "SELECT t.seq_tup_read + coalesce(sum(i.idx_tup_read), 0)::bigint FROM pg_stat_user_tables AS t "  # noqa: S608
        "LEFT JOIN pg_stat_user_indexes AS i USING (relid) "
        f"WHERE t.relname = '{table}' GROUP BY t.seq_tup_read"
    )
    assert isinstance(found, int)
    return found


async def append(spool: Spool, what: str) -> None:
    for batch in range(BATCHES):
        async with trio.open_nursery() as nursery:
            for number in range(BATCH):
                nursery.start_soon(spool.append, note(f"{what} {batch} {number}".encode()))


async def test_a_batch_does_not_read_through_the_duplicates_window(database: Database) -> None:
    """It did: a plan made for an empty bucket read the whole bucket for every batch."""
    async with opened(database, duplicates_max=10 * KEYS) as spool:
        await append(spool, "before")
        [(bucket,)] = database.sql("SELECT max(id) FROM seen_bucket")
        database.sql(
            f"INSERT INTO seen SELECT {bucket}, sha256(n::text::bytea) FROM generate_series(1, {KEYS}) AS n"  # noqa: S608
        )
        await append(spool, "after")
    assert rows_read(database, f"seen_{bucket}") < KEYS


async def test_a_lease_does_not_read_through_what_waits_in_other_lanes(database: Database) -> None:
    """It did: where all that waited was in one lane, an empty one was looked for among all of it."""
    database.sql(_WAITING)
    before = rows_read(database, "delivery")
    async with opened(database) as spool:
        for _ in range(BATCHES):
            assert not await spool.lease(
                "support", now_ms=NOW_MS, limit=10, next_due_ms=in_an_hour, lanes=ORDER[:-1]
            )
    assert rows_read(database, "delivery") - before < WAITING
