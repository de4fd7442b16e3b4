"""The plan for a look into the duplicates window is made while a bucket is empty, and must stay good."""

import time

import trio

from gateway.spool.contract import Appended, Spool
from gateway.spool.duplicates import PARTS
from tests.postgresql.rig import Database, opened
from tests.spool.rig import note

BATCHES = 12
"""After five of a statement the server settles on a plan."""
BATCH = 64
KEYS = 20_000


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


async def test_4_a_key_that_another_gateway_put_into_a_bucket_of_its_own_is_known(database: Database) -> None:
    """A batch goes out with the bucket that was the newest when its gateway last looked."""
    limit = 2 * PARTS
    async with opened(database, duplicates_max=limit) as one, opened(database, duplicates_max=limit) as other:
        await one.append(note(b"first"))
        for number in range(limit // 2):
            await other.append(note(b"%d" % number))
        assert database.sql("SELECT count(*) > 1 FROM seen_bucket") == [(True,)]
        last = b"%d" % (limit // 2 - 1)
        assert await one.append(note(last)) is Appended.DUPLICATE
        assert await one.append(note(b"new")) is Appended.STORED
        assert await other.append(note(b"new")) is Appended.DUPLICATE
    assert database.sql("SELECT count(*) FROM delivery") == [(2 + limit // 2,)]
