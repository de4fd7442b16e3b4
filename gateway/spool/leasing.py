"""Leases and settlements, inside the transaction of a batch (promises 5 to 11).

Who holds what is in memory alone: the process owns the file, so a lease need not outlive it. In the row stand
the number of the attempt, when it began and when the next is due; a row with a beginning that nobody holds
tells of an attempt that was interrupted, and the next lease puts that on record.
"""

import itertools
import secrets
import zlib

import msgspec

from gateway.spool.contract import INTERRUPTED, AttemptRecord, Buried, Done, Lease, Release, RetryLater
from gateway.spool.requests import Settle, Take
from gateway.spool.session import Draft, Key, Session, json_rows

OVERDUE_SLICE = 1000
"""Retries looked at for one lease, an index scan of less than a millisecond. While no more of a target are
overdue the order is exactly that of acceptance; beyond that, of acceptance among those that are overdue the
longest."""

Place = tuple[int, int, int]
"""A key without its target."""


class _Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One delivery that may be leased, in the order of the columns of the statement `due`."""

    received_at_ms: int
    notification: int
    position: int
    id: str
    selection: str | None
    clock_started_ms: int
    attempt: int
    attempt_at_ms: int | None
    notification_id: str
    app: str
    raw_crc32: int
    raw_bytes: int

    @property
    def place(self) -> Place:
        """Where it stands within its target."""
        return (self.received_at_ms, self.notification, self.position)


_ROWS = msgspec.json.Decoder(list[_Row])


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
                    self._record(key[2:], record)
                case Release():
                    self._file.do("release", *key)
                    draft.ready.add(target)
        if gone:
            self._file.do("remove_deliveries", json_rows(gone))
            self._file.expect_changes(len(gone), "deliveries to remove")

    def _record(self, of: tuple[int, int], record: AttemptRecord) -> None:
        bindings = (
            *of,
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

    def take(self, request: Take, draft: Draft) -> None:
        """Lease what is due; the attempt and the time of the next go into the rows (promises 5 and 6)."""
        due = self._due(request, draft)
        try:
            starts = [
                (request.target, *row.place, max(1, request.next_due_ms(row.attempt + 1))) for row, _ in due
            ]
        except Exception as error:  # noqa: BLE001 - the caller's own function; its error is the caller's alone
            request.error = error
            return
        if not due:
            return
        earlier = self._earlier([row for row, _ in due])
        self._file.do("start_attempts", request.now_ms, json_rows(starts))
        self._file.expect_changes(len(due), "deliveries to lease")
        request.result = tuple(self._lease(request, row, raw, earlier, draft) for row, raw in due)

    def _due(self, request: Take, draft: Draft) -> list[tuple[_Row, bytes]]:
        """Return what may be leased with its bytes, oldest acceptance first."""
        held = self._held_keys(request.target, draft)
        [(found, bodies)] = self._file.rows(
            "due",
            request.target,
            request.now_ms,
            request.limit,
            max(OVERDUE_SLICE, request.limit) + len(held),
            json_rows(tuple(held)),
        )
        due: list[tuple[_Row, bytes]] = []
        at = 0
        try:
            rows = _ROWS.decode(found)
        except msgspec.ValidationError as error:
            raise self._file.damaged(f"a delivery has lost its notification or its bytes: {error}") from error
        for row in rows:
            raw = bodies[at : at + row.raw_bytes]
            at += row.raw_bytes
            if zlib.crc32(raw) != row.raw_crc32:
                raise self._file.damaged(
                    f"the bytes of notification {row.notification_id} are not those stored"
                )
            due.append((row, raw))
        due.sort(key=lambda pair: pair[0].place)
        return due

    def _earlier(self, rows: list[_Row]) -> dict[Place, list[AttemptRecord]]:
        """Return the records by place; an attempt that nobody holds and nobody ended was interrupted."""
        earlier: dict[Place, list[AttemptRecord]] = {row.place: [] for row in rows}
        again = {row.place[1:]: row.place for row in rows if row.attempt}
        if again:
            for seq, position, number, at_ms, status, error, duration_ms, excerpt in self._file.rows(
                "attempts", json_rows(tuple(again.values()))
            ):
                record = AttemptRecord(
                    number=number,
                    at_ms=at_ms,
                    status=status,
                    error=error,
                    duration_ms=duration_ms,
                    response_excerpt=excerpt,
                )
                earlier[again[seq, position]].append(record)
        for row in rows:
            if row.attempt_at_ms is not None:
                record = AttemptRecord(
                    number=row.attempt,
                    at_ms=row.attempt_at_ms,
                    status=None,
                    error=INTERRUPTED,
                    duration_ms=0,
                    response_excerpt="",
                )
                self._record(row.place[1:], record)
                earlier[row.place].append(record)
        return earlier

    def _lease(
        self,
        request: Take,
        row: _Row,
        raw: bytes,
        earlier: dict[Place, list[AttemptRecord]],
        draft: Draft,
    ) -> Lease:
        token = next(self._tokens)
        draft.leased[token] = (request.target, *row.place)
        return Lease(
            token=token,
            delivery_id=row.id,
            notification_id=row.notification_id,
            app=row.app,
            target=request.target,
            raw=raw,
            selection=_selection_of(row.selection),
            received_at_ms=row.received_at_ms,
            clock_started_ms=row.clock_started_ms,
            attempt=row.attempt + 1,
            leased_at_ms=request.now_ms,
            earlier=tuple(earlier[row.place]),
        )

    def next_due(self, target: str, draft: Draft) -> int | None:
        """Return when the next delivery that nobody holds is due; 0: at once."""
        held = self._held_keys(target, draft)
        for due_ms, *key in self._file.rows("next_due", target, len(held) + 1):
            if tuple(key) not in held:
                return int(due_ms)
        return None


def _storable(text: str) -> str:
    """Return text that SQLite takes: a lone surrogate of an odd answer becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _selection_of(text: str | None) -> tuple[int, ...] | None:
    """Return positions from their stored form."""
    if text is None:
        return None
    return tuple(map(int, text.split(","))) if text else ()
