"""The database of the tests, for the checks that put something before it."""

from tests.conftest import database, postgresql

__all__ = ["database", "postgresql"]
