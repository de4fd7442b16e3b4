"""One open spool file: named statements, and the draft of what a batch changes in memory beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from gateway.errors import SpoolBrokenError
from gateway.spool import database, duplicates
from gateway.spool.sql import QUERIES
from gateway.spool.young_keys import Generation

Key = tuple[str, int, int, int]
"""Of a delivery: target, received_at_ms, notification, position."""

WAITS_FOR_ANOTHER_MS: Final = 2**62
"""The due time of what waits for an earlier delivery (promise 24): after every time that is asked for."""


@dataclass(frozen=True, slots=True)
class Held:
    """A delivery that somebody has leased."""

    key: Key
    due_ms: int
    """As stored with the lease: when the attempt after this one is due."""
    raw_bytes: int
    """Of its notification."""
    ordered: bool
    """Whether others may wait for it (promise 24)."""
    attempting: bool = True
    """Whether the lease has written an attempt into the row."""


def json_rows(rows: Sequence[object]) -> str:
    """Return rows as the one JSON array that a statement unfolds."""
    return msgspec.json.encode(rows).decode()


@dataclass(slots=True, kw_only=True)
class Draft:
    """What a batch changes in memory; it becomes the state only if the batch commits."""

    next_seq: int
    buckets: duplicates.Buckets
    leased: dict[int, Held] = field(default_factory=dict)
    """By token."""
    ended: set[int] = field(default_factory=set)
    """Tokens."""
    pending: dict[str, int] = field(default_factory=dict)
    """Change of the number of deliveries, by target."""
    pending_bytes: dict[str, int] = field(default_factory=dict)
    """Change of the bytes of their notifications, by target."""
    ready: set[str] = field(default_factory=set)
    """Targets with deliveries that became due at once."""
    stored: bool = False
    """Whether something new was stored."""
    young: tuple[int, tuple[bytes, ...]] | None = None
    """Bucket and keys that the list of young keys has got."""
    merged: list[tuple[Generation, int]] = field(default_factory=list)
    """Parts of generations that went into their buckets."""
    rows_gone: int = 0
    """Rows of that list until this one are gone."""
    unlisted: int | None = None
    """A bucket of which no row is left there."""

    def count(self, target: str, change: int, size_bytes: int) -> None:
        """Note deliveries that came (or went), with the bytes of their notifications."""
        self.pending[target] = self.pending.get(target, 0) + change
        self.pending_bytes[target] = self.pending_bytes.get(target, 0) + size_bytes


class Session:
    """The connection of the writer thread. Errors of apsw pass through; the engine translates them."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path

    def do(self, name: str, *bindings: Any) -> None:
        """Run a named statement that returns nothing."""
        self.connection.execute(QUERIES[name], bindings)

    def rows(self, name: str, *bindings: Any) -> list[Any]:
        """Run a named statement and return its rows."""
        return self.connection.execute(QUERIES[name], bindings).fetchall()

    def changes(self) -> int:
        """Return how many rows the last statement changed, those of triggers not counted."""
        return self.connection.changes()

    def expect_changes(self, number: int, what: str) -> None:
        """Hold the last statement to what the state in memory says.

        Raises:
            SpoolBrokenError: file and memory disagree.
        """
        changed = self.changes()
        if changed != number:
            raise self.damaged(f"{number} {what}, {changed} found")

    def damaged(self, what: str) -> SpoolBrokenError:
        """Return the error for a file that is not as it was left."""
        return database.damaged(self.path, what)
