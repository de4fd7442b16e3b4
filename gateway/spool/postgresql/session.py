"""One batch on one connection: its clocks, and the draft of what it changes in memory beside the database."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.errors import SpoolBrokenError
from gateway.spool.duplicates import Bucket
from gateway.spool.postgresql.link import Link, arrays

WAITS_FOR_ANOTHER_MS: Final = 2**62
"""The due time of what waits for an earlier delivery (promise 24): after every time that is asked for."""

STORING_LOCK: Final = 0x4D5747_01
"""Held, shared, by everybody who stores, and alone by who opens a bucket of the duplicates window."""
UPKEEP_LOCK: Final = 0x4D5747_02
"""Held by the one who does upkeep."""
MIGRATION_LOCK: Final = 0x4D5747_03
"""Held by the one who changes the schema."""
TURN_LOCK: Final = 0x4D5747
"""The class of the locks on turns; the slot is the other half of such a lock."""
TURN_SLOTS: Final = 64
"""Locks that the keys of orders share: few enough for a batch to hold all of them."""

DAY_MS: Final = 86_400_000

Place = tuple[int, int]
"""Of a delivery: the sequence number of its notification, and its position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A delivery that this opening has leased."""

    place: Place
    target: str
    until_ms: int
    """When the lease ends by itself, by the database's clock."""
    raw_bytes: int
    ordered: bool
    attempting: bool = True


@dataclass(slots=True, kw_only=True)
class Draft:
    """What a batch changes in memory; it becomes the state only if the batch commits."""

    buckets: tuple[Bucket, ...] = ()
    alive: list[int] = field(default_factory=list)
    """Those whose keys count as seen."""
    leased: dict[int, Held] = field(default_factory=dict)
    """By token."""
    ended: set[int] = field(default_factory=set)
    """Tokens."""
    pending: dict[str, int] = field(default_factory=dict)
    pending_bytes: dict[str, int] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    to_book: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What of it the writer's account in the database has not, by target: deliveries and bytes."""
    stored: bool = False
    wrote: bool = False
    is_counted: bool = True
    """Memory and account tell the same."""

    def count(self, target: str, change: int, size_bytes: int, *, booked: bool = False) -> None:
        """Note deliveries that came (or went), with the bytes of their notifications."""
        self.pending[target] = self.pending.get(target, 0) + change
        self.pending_bytes[target] = self.pending_bytes.get(target, 0) + size_bytes
        if not booked:
            deliveries, total = self.to_book.get(target, (0, 0))
            self.to_book[target] = (deliveries + change, total + size_bytes)


class Session:
    """A transaction under way."""

    def __init__(self, link: Link, draft: Draft, *, writer: int, own_ms: int, clock_ms: int) -> None:
        """`own_ms` and `clock_ms`: the time by our clock, and by the database's, at the same moment."""
        self.link = link
        self.writer = writer
        self.draft = draft
        self.own_ms = own_ms
        self.clock_ms = clock_ms

    @property
    def day(self) -> int:
        """Of the database."""
        return self.clock_ms // DAY_MS

    def theirs(self, at_ms: int) -> int:
        """Say by the database's clock what a caller says by ours."""
        return at_ms - self.own_ms + self.clock_ms

    def ours(self, at_ms: int) -> int:
        """Say by our clock what the database says by its own."""
        return at_ms - self.clock_ms + self.own_ms

    def rows(self, name: str, /, **bindings: object) -> list[Any]:
        """Run a named statement."""
        return self.link.rows(name, **bindings)

    def lock_turns(self, turns: Iterable[tuple[str, int]]) -> None:
        """Shut out whoever else would store or end deliveries with these keys of an order."""
        slots = sorted({zlib.crc32(f"{target}/{key}".encode()) % TURN_SLOTS for target, key in turns})
        if slots:
            self.rows("lock_turns", lock=TURN_LOCK, slots=slots)


def places(found: Sequence[Place]) -> dict[str, object]:
    """Return places as two columns."""
    return arrays(found, "seq", "position")


def damaged(what: str) -> SpoolBrokenError:
    """Return the error for a database that is not as it was left."""
    return SpoolBrokenError(
        f"the spool's tables are not as they were left: {what}",
        remedy="nobody else may write there; restore the database where it is needed",
    )
