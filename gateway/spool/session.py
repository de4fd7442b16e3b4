"""One open spool file: named statements, and the draft of what a batch changes in memory beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from gateway.errors import SpoolBrokenError
from gateway.spool import database, duplicates
from gateway.spool.contract import Lease, NewDelivery, Notification, Offer
from gateway.spool.sql import QUERIES
from gateway.spool.young_keys import Generation

Key = tuple[str, int, int, int]
"""Of a delivery: target, received_at_ms, notification, position."""

WAITS_FOR_ANOTHER_MS: Final = 2**62
"""The due time of what waits for an earlier delivery (promise 24)."""


NEVER_MS: Final = 2**62
"""After every time that is asked for."""

Place = tuple[int, int]
"""Of a delivery: notification and position."""


class Stored(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A delivery that is due at once and in memory, with what planning wants to know of it."""

    place: Place
    notification: Notification
    new: NewDelivery
    app: str
    object: str | None
    lane: int
    changes: int
    raw_bytes: int
    attempt: int = 0
    group_key: str | None = None


Started = tuple[int, int, int | None, str | None]
"""Of a delivery that is stored: due_ms, attempt, attempt_at_ms, group_key."""
NOT_STARTED: Final[Started] = (0, 0, None, None)


class Held(msgspec.Struct, frozen=True, gc=False):
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


ROWS_AT_ONCE: Final = 512
"""Rows of one statement that are bound one by one: its text stays below what apsw keeps (16 KiB)."""


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
    fresh: list[tuple[Offer, tuple[Lease, ...]]] = field(default_factory=list)
    """What was leased as it was stored, and whose offer took it."""
    at_hand: dict[str, list[Stored]] = field(default_factory=dict)
    """What of a target is due and in memory, after this batch; see at_hand.py."""
    sooner: dict[str, int] = field(default_factory=dict)
    """When something of a target is due that nobody holds any more."""
    forgotten: set[str] = field(default_factory=set)
    """Targets of which nothing is known any more."""
    quiet_until_ms: dict[str, int] = field(default_factory=dict)
    """When the next delivery is due that nobody holds, of targets for which that was asked."""
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

    def wake(self, target: str) -> None:
        """Note that something of a target is due at once, which is not at hand."""
        self.ready.add(target)
        self.forget(target)

    def forget(self, target: str) -> None:
        """Note that what is due of a target is no longer what was known."""
        self.forgotten.add(target)
        self.quiet_until_ms.pop(target, None)

    def due_again(self, target: str, at_ms: int) -> None:
        """Note that something that was held is due then."""
        self.sooner[target] = min(at_ms, self.sooner.get(target, at_ms))


class Session:
    """The connection of the writer thread. Errors of apsw pass through; the engine translates them."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path

    def do(self, name: str, *bindings: Any) -> None:
        """Run a named statement that returns nothing."""
        self.connection.execute(QUERIES[name], bindings)

    def do_each(self, name: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run a named statement for rows that it takes as `{rows}`, and return how many rows it changed.

        Half as dear as rows in JSON. It is prepared for 1, 2, 4, ... rows, and what is missing is filled up
        with rows of NULL, which the statement must pass over.
        """
        changed = 0
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            number = 1 << (len(some) - 1).bit_length()
            values = chain.from_iterable(some)
            columns = len(some[0])
            blanks = (None,) * (columns * (number - len(some)))
            self.connection.execute(_for_rows(name, columns, number), (*values, *blanks))
            changed += self.connection.changes()
        return changed

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
        self.expect(self.changes(), number, what)

    def expect(self, changed: int, number: int, what: str) -> None:
        """Hold the number of rows that were changed to what the state in memory says. Raises as above."""
        if changed != number:
            raise self.damaged(f"{number} {what}, {changed} found")

    def damaged(self, what: str) -> SpoolBrokenError:
        """Return the error for a file that is not as it was left."""
        return database.damaged(self.path, what)


@lru_cache
def _for_rows(name: str, columns: int, number: int) -> str:
    """Return a named statement for so many rows."""
    row = f"({','.join('?' * columns)})"
    return QUERIES[name].replace("{rows}", ",".join([row] * number))
