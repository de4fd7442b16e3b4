"""The index of dead letters on a connection of one's own: for a command that only looks."""

from collections.abc import Callable
from typing import Any

from gateway.settings.secret import Secret
from gateway.spool.postgresql.letters import Letters, Rows
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import check


def letters_on(link: Link, dsn: Secret) -> Letters:
    """Return the index, asked on this connection alone; it is checked first. It blocks, and awaits nothing.

    Raises:
        SpoolUnavailableError, SpoolBrokenError, UsageError: as `check`.
    """
    check(link, dsn)

    async def ask(question: Callable[[Rows], Any], _writes: bool) -> Any:
        return question(link.rows)

    return Letters(ask)
