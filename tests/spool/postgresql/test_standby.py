"""A 200 waits for the synchronous standby, whatever it is for. Here that standby is one that never comes."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from gateway.spool.contract import Appended
from tests.postgresql.rig import Database, opened
from tests.spool.rig import note

LONG_ENOUGH_SECONDS = 0.5
"""A commit that waits for nobody takes some milliseconds."""


@contextmanager
def standby_missing(database: Database) -> Iterator[None]:
    database.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    database.sql("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        database.sql("ALTER SYSTEM RESET synchronous_standby_names")
        database.sql("SELECT pg_reload_conf()")


async def test_31_neither_what_is_new_nor_a_duplicate_is_answered_before_the_standby_has_it(
    database: Database,
) -> None:
    answers: list[Appended] = []
    async with opened(database) as spool:

        async def append(raw: bytes) -> None:
            answers.append(await spool.append(note(raw)))

        await append(b"before")
        assert answers == [Appended.STORED]
        for raw, answer in ((b"before", Appended.DUPLICATE), (b"new", Appended.STORED)):
            answers.clear()
            async with trio.open_nursery() as nursery:
                with standby_missing(database):
                    await trio.sleep(LONG_ENOUGH_SECONDS / 5)  # the reload reaches the connections
                    nursery.start_soon(append, raw)
                    await trio.sleep(LONG_ENOUGH_SECONDS)
                    assert not answers
            assert answers == [answer]
