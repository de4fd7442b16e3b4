"""PgBouncer before the database: sessions are what a gateway needs, and it notices where it gets none.

The whole contract of the spool is held behind pool_mode = session by `make postgresql`.
"""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio

from gateway.errors import GatewayError, SpoolUnavailableError
from gateway.simulator.pki import make_pki
from gateway.spool.contract import Appended
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import check, migrate
from tests.postgresql.pgbouncer import pgbouncer, pooler
from tests.postgresql.rig import Database, opened, refusal, secret
from tests.postgresql.server import Server, binaries
from tests.spool.rig import note
from tests.stories.accounts import CONNECTIONS, Books
from tests.stories.rig import open_target
from tests.stories.test_replicas import Replicas, until_ready


@pytest.fixture
def behind(database: Database) -> Iterator[Server]:
    """Give the server to put a pooler before."""
    if pgbouncer() is None or binaries() is None:
        pytest.skip("pgbouncer is not installed here")
    database.set_real_clock()
    database.sql("DROP ROLE IF EXISTS neighbour; CREATE ROLE neighbour LOGIN")
    yield database.server
    database.sql("DROP ROLE neighbour")


@pytest.mark.parametrize("round_robin", [False, True], ids=["last given back first", "in turn"])
@pytest.mark.parametrize("pool_size", [1, 2, 20])
def test_transactions_in_the_place_of_sessions_are_refused(
    behind: Server, pool_size: int, round_robin: bool
) -> None:
    with pooler(behind, mode="transaction", pool_size=pool_size, round_robin=round_robin) as between:
        dsn = secret(between.dsn())
        for _ in range(min(pool_size, 3)):  # the pool has more connections each time
            said = refusal(dsn)
            assert "another session for each transaction" in said
            assert "pool_mode = session" in said
        with pytest.raises(GatewayError, match="another session for each transaction"):
            migrate(dsn)
        with psycopg.connect(between.dsn()) as neighbour:
            rows = neighbour.execute("SHOW search_path").fetchall()
            assert "gateway" not in str(rows), "what others get next is as it was"


def test_transactions_in_the_place_of_sessions_are_refused_though_others_use_the_pool(behind: Server) -> None:
    done = threading.Event()

    def be_busy(dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as busy:
            while not done.is_set():
                busy.execute("SELECT pg_sleep(0.001)")

    with pooler(behind, mode="transaction") as between:
        neighbours = [threading.Thread(target=be_busy, args=(between.dsn(),)) for _ in range(4)]
        for neighbour in neighbours:
            neighbour.start()
        try:
            for _ in range(5):
                assert "another session for each transaction" in refusal(secret(between.dsn()))
        finally:
            done.set()
            for neighbour in neighbours:
                neighbour.join()


def test_single_statements_in_the_place_of_sessions_are_refused(behind: Server) -> None:
    with pooler(behind, mode="statement") as between:
        assert "pool_mode = session" in refusal(secret(between.dsn()))


def test_a_pool_that_has_no_connection_to_spare_is_no_reason_to_refuse(behind: Server) -> None:
    with pooler(behind, pool_size=1) as between:
        dsn = secret(between.dsn())
        link = Link(dsn)
        assert check(link, dsn)
        link.close()


async def test_a_pooler_that_turns_to_transactions_is_noticed_and_so_is_one_that_turns_back(
    database: Database, behind: Server
) -> None:
    with pooler(behind) as between:
        async with opened(database, dsn=secret(between.dsn())) as spool:
            assert await spool.append(note()) is Appended.STORED
            between.reload("transaction")
            stored, refused = 1, set()
            with trio.fail_after(20):
                while "another session" not in spool.room().detail:
                    try:
                        stored += await spool.append(note()) is Appended.STORED
                    except SpoolUnavailableError as error:
                        refused.add(error.message)
                    await trio.sleep(0.01)
            assert database.sql("SELECT count(*) FROM notification") == [(stored,)]
            assert all("another session" in one for one in refused)
            between.reload("session")
            with trio.fail_after(20):
                while not spool.room().writable:  # noqa: ASYNC110 - as above
                    await trio.sleep(0.05)
            assert await spool.append(note()) is Appended.STORED


async def test_a_pooler_that_is_gone_is_503(database: Database, behind: Server) -> None:
    with pooler(behind) as between:
        async with opened(database, dsn=secret(between.dsn())) as spool:
            assert await spool.append(note()) is Appended.STORED
            between.stop()
            with pytest.raises(SpoolUnavailableError):
                await spool.append(note())
            between.start()
            with trio.fail_after(20):
                while not spool.room().writable:  # noqa: ASYNC110 - as above
                    await trio.sleep(0.05)
            assert await spool.append(note()) is Appended.STORED


async def test_a_pooler_that_is_restarted_under_load_loses_nothing_that_was_answered_200(
    tmp_path: Path, database: Database, behind: Server
) -> None:
    database.link.close()
    books = Books()
    with pooler(behind) as between:
        async with open_target() as target:
            replicas = Replicas(tmp_path, make_pki(tmp_path / "pki"), between.dsn())
            replicas.write(target)
            async with replicas.running():
                async with trio.open_nursery() as nursery:
                    for number in range(CONNECTIONS):
                        nursery.start_soon(partial(books.post, replicas.rigs[number % 2], 150))
                    with trio.fail_after(20):
                        while len(books.acknowledged) < 200:  # noqa: ASYNC110 - as above
                            await trio.sleep(0.01)
                    between.stop()
                    for rig in replicas.rigs:
                        await until_ready(rig, 503)
                    between.start()
                for rig in replicas.rigs:
                    await until_ready(rig, 200)
                    before = len(books.acknowledged)
                    await books.post(rig, 5)
                    assert len(books.acknowledged) == before + 5
                await replicas.balance(books, target, seconds=50)
                assert books.refused[503] > 0
    assert not books.refused.keys() - {503}
