"""What comes from a SQLite spool: taken page by page, each in a transaction with how far it is.

So it may be interrupted and repeated at any point: nothing comes twice, and nothing is left out. Gateways may
run on the database meanwhile; they deliver at once what has come.
"""

import zlib
from typing import Any

from gateway.core.pausing import Pauses
from gateway.settings.secret import Secret
from gateway.spool.duplicates import Limits
from gateway.spool.leaving import Page, Sums
from gateway.spool.postgresql.link import Link, arrays
from gateway.spool.postgresql.migrations import check
from gateway.spool.postgresql.partitions import Days
from gateway.spool.postgresql.pauses import write_pauses
from gateway.spool.postgresql.session import DAY_MS, WAITS_FOR_ANOTHER_MS, damaged
from gateway.spool.postgresql.storing import goes_with
from gateway.spool.postgresql.window import SHARE_BUCKET, Window
from gateway.spool.requests import SetPauses

_OF_DELIVERY = (
    *("seq", "position", "target", "received_at_ms", "due_ms", "clock_started_ms", "attempt"),
    *("attempt_at_ms", "changes", "lane", "ordered", "id", "selection", "group_key"),
)
_OF_KEPT = (
    *("seq", "position", "received_at_ms", "target", "id", "selection", "changes", "lane"),
    "delivered_at_ms",
)


class Arrivals:
    """The shared spool, as the one who carries something there sees it. Raises as `Link.rows`."""

    def __init__(self, dsn: Secret) -> None:
        self._link = Link(dsn)
        self._days = Days()
        check(self._link, dsn)

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def so_far(self, mark: str) -> tuple[int, Sums]:
        """Say how far a spool with this mark has come: its last place, and what that adds up to."""
        found = self._link.rows("moved_so_far", source=mark)
        if not found:
            return 0, Sums(notifications=0, deliveries=0, checksum=0)
        [(seq, notifications, deliveries, checksum)] = found
        return seq, Sums(notifications=notifications, deliveries=deliveries, checksum=int(checksum))

    def take(self, mark: str, page: Page, *, now_ms: int) -> None:
        """Store a page, read it back, and note how far that is."""
        [(clock_ms,)] = self._link.rows("clock")
        day = clock_ms // DAY_MS
        if not self._days.known(day):
            self._days.make(self._link, day)
        self._link.execute("BEGIN")
        try:
            checksum = self._store(page, day=day, ahead_ms=clock_ms - now_ms)
            self._link.rows(
                "note_moved",
                source=mark,
                seq=page.notifications[-1][0],
                notifications=len(page.notifications),
                deliveries=len(page.deliveries) + len(page.kept),
                checksum=checksum,
            )
            self._link.execute("COMMIT")
        except BaseException:
            self._link.rollback()
            raise

    def take_keys(self, digests: list[bytes], *, limits: Limits, now_ms: int) -> None:
        """Remember keys: they go to the newest bucket, and so are kept longer than they have to be."""
        window = Window(limits, 0)
        window.learn(self._link)
        if not window.buckets:
            window.open_bucket(self._link, now_ms)
            window.learn(self._link)
        self._link.execute("BEGIN")
        try:
            self._link.execute(SHARE_BUCKET)
            [(newest,)] = self._link.execute("SELECT max(id) FROM seen_bucket")
            self._link.rows("take_keys", bucket=newest, digests=digests)
            self._link.execute("COMMIT")
        except BaseException:
            self._link.rollback()
            raise

    def take_pauses(self, pauses: dict[str, Pauses]) -> None:
        """Take over the pauses of targets that have none here."""
        there = {row[0] for row in self._link.rows("pauses")}
        for target, of in pauses.items():
            if target not in there:
                self._link.execute("BEGIN")
                write_pauses(SetPauses(target=target, pauses=of), self._link)
                self._link.execute("COMMIT")

    def _store(self, page: Page, *, day: int, ahead_ms: int) -> int:
        link = self._link
        drawn = link.rows("draw_seqs", number=len(page.notifications))
        new = {row[0]: seq for row, (seq,) in zip(page.notifications, drawn, strict=True)}
        left: dict[int, int] = dict.fromkeys(new, 0)
        for row in (*page.deliveries, *page.kept):
            left[row[0]] += 1
        notifications = [
            (new[seq], id_, app, received_ms, crc32, left[seq], goes_with(object_), raw)
            for seq, id_, app, received_ms, crc32, object_, raw in page.notifications
        ]
        names = ("seq", "id", "app", "received_at_ms", "raw_crc32", "deliveries", "object", "raw")
        link.rows("take_notifications", day=day, **arrays(notifications, *names))
        deliveries = [_delivery(row, new, ahead_ms) for row in page.deliveries]
        link.rows("take_deliveries", **arrays(deliveries, *_OF_DELIVERY))
        attempts = [
            (new[seq], position, number, at_ms, status, duration_ms, error.encode(), excerpt.encode())
            for seq, position, number, at_ms, status, error, duration_ms, excerpt in page.attempts
        ]
        names = ("seq", "position", "number", "at_ms", "status", "duration_ms", "error", "response_excerpt")
        link.rows("record_attempts", **arrays(attempts, *names))
        turns = [(target, key, new[seq], position) for seq, position, target, key in page.turns]
        link.rows("add_turns", **arrays(turns, "target", "key", "seq", "position"))
        kept = [(new[row[0]], *row[1:-1], row[-1] + ahead_ms) for row in page.kept]
        link.rows("take_kept", **arrays(kept, *_OF_KEPT))
        sizes = {row[0]: len(row[6]) for row in page.notifications}
        sums: dict[str, tuple[int, int]] = {}
        for row in page.deliveries:
            number, size = sums.get(row[2], (0, 0))
            sums[row[2]] = (number + 1, size + sizes[row[0]])
        booked = [(target, number, size) for target, (number, size) in sums.items()]
        link.rows("book", writer=0, **arrays(booked, "target", "deliveries", "bytes"))
        return self._read_back(page, new)

    def _read_back(self, page: Page, new: dict[int, int]) -> int:
        """Return the sum of the checksums of what the database says is stored; each has to fit."""
        stored = dict(self._link.rows("bodies", seqs=list(new.values())))
        sums = {seq: zlib.crc32(stored.get(new[seq], b"")) for seq in new}
        for seq, _, _, _, crc32, _, raw in page.notifications:
            # What was damaged before stays damaged, and is known by it.
            if sums[seq] != zlib.crc32(raw):
                raise damaged("a notification was not stored as it was carried over")
            sums[seq] = crc32
        return sum(sums.values())


def _delivery(row: tuple[Any, ...], new: dict[int, int], ahead_ms: int) -> tuple[Any, ...]:
    seq, position, target, received_ms, due_ms, *rest = row
    moves = 0 < due_ms < WAITS_FOR_ANOTHER_MS
    clock_ms, attempt, attempt_at_ms, changes, lane, ordered, id_, selection, key = rest
    return (
        *(new[seq], position, target, received_ms, due_ms + ahead_ms if moves else due_ms, clock_ms),
        *(attempt, attempt_at_ms, changes, lane, bool(ordered), id_, selection, key),
    )
