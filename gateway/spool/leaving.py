"""A SQLite file that is carried over to another spool: read page by page, and set aside at the end.

A mark is written into it when that begins, so that whoever takes the pages knows how far it was, whatever
interrupted it. The gateway must not run: who calls holds the directory.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.private_file import sync_directory
from gateway.spool.database import FILE_NAME, close_database, open_database
from gateway.spool.filters import KEY_BYTES
from gateway.spool.pauses import read_pauses
from gateway.spool.session import Session, json_rows

PAGE_NOTIFICATIONS = 500
"""Carried over in one transaction."""
PAGE_KEYS = 10_000
"""Of the duplicates window."""
MOVED_SUFFIX = ".moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some notifications in order, with everything of theirs. Rows are in the order of the columns named."""

    notifications: list[tuple[Any, ...]]
    """seq, id, app, received_at_ms, raw_crc32, object, raw"""
    deliveries: list[tuple[Any, ...]]
    """notification, position, target, received_at_ms, due_ms, clock_started_ms, attempt, attempt_at_ms,
    changes, lane, ordered, id, selection, group_key"""
    attempts: list[tuple[Any, ...]]
    """notification, position, number, at_ms, status, error, duration_ms, response_excerpt"""
    turns: list[tuple[Any, ...]]
    """notification, position, target, key"""
    kept: list[tuple[Any, ...]]
    """notification, position, received_at_ms, target, id, selection, changes, lane, delivered_at_ms"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What there is to carry over."""

    notifications: int
    deliveries: int
    """Those that are kept included."""
    checksum: int
    """Sum of the CRC-32 of the bytes, as they were stored."""


class LeavingFile:
    """The file of one worker. Raises like `open_database`, from every method."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / FILE_NAME
        self._connection = open_database(directory)
        self._session = Session(self._connection, self.file)
        self._connection.execute("CREATE TABLE IF NOT EXISTS moving (mark TEXT NOT NULL) STRICT")
        mark = secrets.token_hex(16)
        self._connection.execute(
            "INSERT INTO moving SELECT ? WHERE NOT EXISTS (SELECT 1 FROM moving)", (mark,)
        )
        [(self.mark,)] = self._rows("SELECT mark FROM moving")
        self.pauses = read_pauses(self._session)

    def sums(self) -> Sums:
        """Count."""
        [(notifications, checksum)] = self._rows(
            "SELECT count(*), coalesce(sum(raw_crc32), 0) FROM notification"
        )
        [(deliveries,)] = self._rows("SELECT (SELECT count(*) FROM delivery) + (SELECT count(*) FROM kept)")
        return Sums(notifications=notifications, deliveries=deliveries, checksum=checksum)

    def pages(self, after: int) -> Iterator[Page]:
        """Give what was accepted after a place, in order."""
        while notifications := self._rows(
            "SELECT n.seq, n.id, n.app, n.received_at_ms, n.raw_crc32, n.object, b.raw "
            "FROM notification AS n JOIN body AS b ON b.seq = n.seq WHERE n.seq > ? ORDER BY n.seq LIMIT ?",
            after,
            PAGE_NOTIFICATIONS,
        ):
            seqs = json_rows([row[0] for row in notifications])
            after = notifications[-1][0]
            yield Page(
                notifications=notifications,
                deliveries=self._of(
                    seqs,
                    "delivery",
                    "notification, position, target, received_at_ms, due_ms, clock_started_ms, attempt, "
                    "attempt_at_ms, changes, lane, ordered, id, selection, group_key",
                ),
                attempts=self._of(
                    seqs,
                    "attempt",
                    "notification, position, number, at_ms, status, error, duration_ms, response_excerpt",
                ),
                turns=self._of(seqs, "turn", "notification, position, target, key"),
                kept=self._of(
                    seqs,
                    "kept",
                    "notification, position, received_at_ms, target, id, selection, changes, lane, "
                    "delivered_at_ms",
                ),
            )

    def keys(self) -> Iterator[list[bytes]]:
        """Give the keys of the duplicates window."""
        bucket, digest = -1, b""
        while rows := self._rows(
            "SELECT bucket, digest FROM seen WHERE (bucket, digest) > (?, ?) ORDER BY bucket, digest LIMIT ?",
            bucket,
            digest,
            PAGE_KEYS,
        ):
            bucket, digest = rows[-1]
            yield [row[1] for row in rows]
        for (digests,) in self._rows("SELECT digests FROM seen_young ORDER BY row"):
            yield [digests[at : at + KEY_BYTES] for at in range(0, len(digests), KEY_BYTES)]

    def close(self) -> None:
        """Close it as it is."""
        close_database(self._connection, clean=True)

    def set_aside(self) -> Path:
        """Close it, and give it a name under which no gateway takes it up."""
        self.close()
        aside = self.file.with_name(FILE_NAME + MOVED_SUFFIX)
        self.file.replace(aside)
        sync_directory(self.file.parent)
        return aside

    def _of(self, seqs: str, table: str, columns: str) -> list[tuple[Any, ...]]:
        return self._rows(
            f"SELECT {columns} FROM {table} "  # noqa: S608 - names of ours
            "WHERE notification IN (SELECT value FROM json_each(?)) ORDER BY notification, position",
            seqs,
        )

    def _rows(self, statement: str, *bindings: Any) -> list[Any]:
        return self._connection.execute(statement, bindings).fetchall()
