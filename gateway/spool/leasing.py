"""Leases and settlements, inside the transaction of a batch (promises 5 to 11).

Who holds what is in memory alone: the process owns the file, so a lease need not outlive it. In the row stand
the number of the attempt, when it began and when the next is due; a row with a beginning that nobody holds
tells of an attempt that was interrupted, and the next lease puts that on record.
"""

import itertools
import secrets
import zlib
from typing import Any, cast

from gateway.spool.contract import AttemptRecord, Buried, Done, Lease, Release, RetryLater
from gateway.spool.requests import Settle, Take
from gateway.spool.session import Draft, Key, Session, json_rows

OVERDUE_SLICE = 1000
"""Retries looked at for one lease, an index scan of less than a millisecond. While no more of a target are
overdue the order is exactly that of acceptance; beyond that, of acceptance among those that are overdue the
longest."""
INTERRUPTED = "interrupted: the gateway ended during the attempt"

Place = tuple[int, int, int]
"""A key without its target."""


class Leasing:
    """What hands deliveries out and takes them back."""

    def __init__(self, file: Session) -> None:
        self._file = file
        self._held: dict[str, dict[int, Key]] = {}
        self._target_of: dict[int, str] = {}
        # Starts anywhere, so that a lease of another opening of this file is never taken for one of this.
        self._tokens = itertools.count(secrets.randbits(62))

    def adopt(self, draft: Draft) -> None:
        """Take over what a committed batch leased and ended."""
        for token in draft.ended:
            del self._held[self._target_of.pop(token)][token]
        for token, key in draft.leased.items():
            self._target_of[token] = key[0]
            self._held.setdefault(key[0], {})[token] = key

    def settle(self, requests: list[Settle], draft: Draft) -> None:
        """End leases; one that has ended, or never was, is left alone (promise 7)."""
        gone: list[Key] = []
        for request in requests:
            token = request.token
            target = self._target_of.get(token)
            if target is None or token in draft.ended:
                request.result = False
                continue
            key = self._held[target][token]
            draft.ended.add(token)
            request.result = True
            match request.settlement:
                case Done() | Buried():
                    gone.append(key)
                    draft.count(target, -1)
                case RetryLater(at_ms=at_ms, record=record):
                    self._file.do("retry_later", *key, max(1, at_ms))
                    self._record(key, record)
                case Release():
                    self._file.do("release", *key)
                    draft.ready.add(target)
        if gone:
            self._file.do("remove_deliveries", json_rows(gone))
            self._file.expect_changes(len(gone), "deliveries to remove")

    def _record(self, key: Key, record: AttemptRecord) -> None:
        bindings = (
            *key[2:],
            record.number,
            record.at_ms,
            record.status,
            _storable(record.error),
            record.duration_ms,
            _storable(record.response_excerpt),
        )
        self._file.do("record_attempt", *bindings)

    def _held_keys(self, target: str, draft: Draft) -> set[Place]:
        held = {key[1:] for token, key in self._held.get(target, {}).items() if token not in draft.ended}
        return held | {key[1:] for key in draft.leased.values() if key[0] == target}

    def _due(self, request: Take, draft: Draft) -> list[Place]:
        """Return what may be leased, oldest acceptance first."""
        held = self._held_keys(request.target, draft)
        found = cast(
            "list[Place]",
            self._file.rows("due_at_once", request.target, request.limit)
            + self._file.rows("due_by_now", request.target, request.now_ms, OVERDUE_SLICE + len(held)),
        )
        return sorted(row for row in found if row not in held)[: request.limit]

    def take(self, request: Take, draft: Draft) -> None:
        """Lease what is due; the attempt and the time of the next go into the rows (promises 5 and 6)."""
        due = self._due(request, draft)
        if not due:
            return
        rows = self._file.rows("leasable", request.target, json_rows(due))
        if len(rows) != len(due):
            raise self._file.damaged("a delivery without its notification or body")
        try:
            next_due = [(*row[:3], max(1, request.next_due_ms(row[6] + 1))) for row in rows]
        except Exception as error:  # noqa: BLE001 - the caller's own function; its error is the caller's alone
            request.error = error
            return
        earlier = self._earlier(due, rows)
        self._file.do("start_attempts", request.target, request.now_ms, json_rows(next_due))
        self._file.expect_changes(len(rows), "deliveries to lease")
        request.result = tuple(self._lease(request, row, earlier, draft) for row in rows)

    def _earlier(self, due: list[Place], rows: list[Any]) -> dict[tuple[int, int], list[AttemptRecord]]:
        """Return the records by delivery; an attempt that nobody holds and nobody ended was interrupted."""
        earlier: dict[tuple[int, int], list[AttemptRecord]] = {}
        if any(row[6] for row in rows):
            for row in self._file.rows("attempts", json_rows(due)):
                earlier.setdefault(row[:2], []).append(
                    AttemptRecord(
                        number=row[2],
                        at_ms=row[3],
                        status=row[4],
                        error=row[5],
                        duration_ms=row[6],
                        response_excerpt=row[7],
                    )
                )
        for row in rows:
            if row[7] is not None:
                record = AttemptRecord(
                    number=row[6],
                    at_ms=row[7],
                    status=None,
                    error=INTERRUPTED,
                    duration_ms=0,
                    response_excerpt="",
                )
                self._record(("", *row[:3]), record)
                earlier.setdefault(row[1:3], []).append(record)
        return earlier

    def _lease(
        self, request: Take, row: Any, earlier: dict[tuple[int, int], list[AttemptRecord]], draft: Draft
    ) -> Lease:
        received_ms, seq, position, id_, chosen, clock_ms, attempt, _, notification_id, app, crc32, raw = row
        if zlib.crc32(raw) != crc32:
            raise self._file.damaged(f"the bytes of notification {notification_id} are not those stored")
        token = next(self._tokens)
        draft.leased[token] = (request.target, received_ms, seq, position)
        return Lease(
            token=token,
            delivery_id=id_,
            notification_id=notification_id,
            app=app,
            target=request.target,
            raw=raw,
            selection=_selection_of(chosen),
            received_at_ms=received_ms,
            clock_started_ms=clock_ms,
            attempt=attempt + 1,
            leased_at_ms=request.now_ms,
            earlier=tuple(earlier.get((seq, position), ())),
        )

    def next_due(self, target: str, draft: Draft) -> int | None:
        """Return when the next delivery that nobody holds is due; 0: at once."""
        held = self._held_keys(target, draft)
        for due_ms, *key in self._file.rows("next_due", target, len(held) + 1):
            if tuple(key) not in held:
                return int(due_ms)
        return None


def _storable(text: str) -> str:
    """Return text that SQLite takes: a lone surrogate, which an odd answer may leave, becomes a question
    mark."""
    return text.encode("utf-8", "replace").decode()


def _selection_of(text: str | None) -> tuple[int, ...] | None:
    """Return positions from their stored form."""
    if text is None:
        return None
    return tuple(map(int, text.split(","))) if text else ()
