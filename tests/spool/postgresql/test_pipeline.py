"""A transaction in one round trip: what it stores, and what is left of one that fails."""

import pytest

from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Appended
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.pipeline import Statement
from gateway.spool.postgresql.troubles import ContendedError, LinkLostError
from tests.postgresql.rig import Database, opened
from tests.spool.rig import note

WRITER = {"name": "it", "version": 1}


@pytest.fixture
def link(database: Database) -> Link:
    made = Link(database.dsn)
    made.open()
    return made


def test_placeholders_are_numbered_by_name() -> None:
    found = Statement.of("SELECT %(b)s::int, %(a)b::bytea, %(b)s::text")
    assert found.text == b"SELECT $1::int, $2::bytea, $1::text"
    assert found.values({"a": None, "b": 7}) == [b"7", None]


def test_both_statements_are_committed_and_the_second_gives_its_rows(database: Database, link: Link) -> None:
    for number in (1, 2):
        rows = link.in_one_go(
            f"INSERT INTO moved VALUES ('{number}', 0, 0, 0, 0)",  # noqa: S608 - a number
            "new_writer",
            **WRITER,
        )
        assert database.sql("SELECT max(id) FROM writer") == rows
    assert database.sql("SELECT source FROM moved ORDER BY source") == [("1",), ("2",)]
    link.close()


@pytest.mark.parametrize(
    ("first", "kind", "words"),
    [
        ("SELECT 1/0", SpoolUnavailableError, "division by zero"),
        ("INSERT INTO moved VALUES ('1', 0, 0, 0, 0)", ContendedError, "duplicate key"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", LinkLostError, "terminating connection"),
    ],
)
def test_what_failed_first_is_told_and_nothing_stays(
    database: Database, link: Link, first: str, kind: type[Exception], words: str
) -> None:
    link.in_one_go("INSERT INTO moved VALUES ('1', 0, 0, 0, 0)", "new_writer", **WRITER)
    with pytest.raises(kind, match=words):
        link.in_one_go(first, "new_writer", **WRITER)
    link.rollback()
    link.open()
    link.in_one_go("SELECT 1", "new_writer", **WRITER)
    assert database.sql("SELECT count(*) FROM writer") == [(2,)]
    link.close()


@pytest.mark.parametrize(
    "between", ["BEGIN; ROLLBACK", "ALTER SEQUENCE writer_seq CACHE 1", "DEALLOCATE ALL"]
)
def test_what_the_server_was_made_to_forget_is_prepared_again(link: Link, between: str) -> None:
    for _ in range(3):
        link.in_one_go("SELECT 1", "new_writer", **WRITER)
        link.execute(between)
    link.close()


async def test_a_batch_that_no_socket_holds_goes_through(database: Database) -> None:
    async with opened(database) as spool:
        await spool.append(note(b"before"))
        raw = bytes(8 * 1024**2)
        assert await spool.append(note(raw)) is Appended.STORED
        assert database.sql("SELECT max(length(raw)) FROM body") == [(len(raw),)]
