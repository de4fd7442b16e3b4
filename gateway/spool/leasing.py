"""Leases and settlements, inside the transaction of a batch (promises 5 to 11).

Who holds what is in memory alone: the process owns the file, so a lease need not outlive it. In the row stand
the number of the attempt, when it began and when the next is due; a row with a beginning that nobody holds
tells of an attempt that was interrupted, and the next lease puts that on record.
"""

import itertools
import secrets
import zlib
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.core.lanes import ORDER
from gateway.core.merging import MAX_MERGED_CHANGES, group_key, plan_groups
from gateway.spool.contract import Buried, Done, Lease, Release, RetryLater
from gateway.spool.history import AttemptRecord
from gateway.spool.requests import Hasten, Settle, Take, TakeOldest
from gateway.spool.session import NEVER_MS, WAITS_FOR_ANOTHER_MS, Draft, Held, Key, Session, json_rows
from gateway.spool.stored_forms import selection_of

OVERDUE_SLICE: Final = 1000
"""Retries looked at for one lease, an index scan of less than a millisecond. While no more of a target are
overdue the order is exactly that of acceptance; beyond that, of acceptance among those that are overdue the
longest."""

Place = tuple[int, int, int]
"""A key without its target."""


class _Due(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What planning knows of a delivery, in the order of the columns of the statement `due`."""

    received_at_ms: int
    notification: int
    position: int
    changes: int
    attempt: int
    due_ms: int
    group_key: str | None
    app: str
    object: str | None
    raw_bytes: int
    lane: int

    @property
    def place(self) -> Place:
        """Where it stands within its target."""
        return (self.received_at_ms, self.notification, self.position)


class _Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One delivery to be leased, in the order of the columns of the statement `to_lease`."""

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
    ordered: int

    @property
    def place(self) -> Place:
        """Where it stands within its target."""
        return (self.received_at_ms, self.notification, self.position)


_DUE = msgspec.json.Decoder(list[_Due])
_ROWS = msgspec.json.Decoder(list[_Row])
_MEMBERS = msgspec.json.Decoder(list[tuple[int, int, int, str]])


def _let_go(_: list[Key]) -> None:
    """Keep nothing of what was delivered."""


class Leasing:
    """What hands deliveries out and takes them back."""

    def __init__(self, file: Session, *, keep: Callable[[list[Key]], None] = _let_go) -> None:
        """`keep` is told what was delivered, before it is removed."""
        self._file = file
        self._keep = keep
        self._held: dict[str, dict[int, Held]] = {}
        self._target_of: dict[int, str] = {}
        # Starts anywhere, so that a lease of another opening of this file is never taken for one of this.
        self._tokens = itertools.count(secrets.randbits(62))

    def token(self) -> int:
        """Return the next token."""
        return next(self._tokens)

    def adopt(self, draft: Draft) -> None:
        """Take over what a committed batch leased and ended."""
        for token in draft.ended:
            del self._held[self._target_of.pop(token)][token]
        for token, held in draft.leased.items():
            target = held.key[0]
            self._target_of[token] = target
            self._held.setdefault(target, {})[token] = held

    def settle(self, requests: list[Settle], draft: Draft) -> None:
        """End leases; one that has ended, or never was, is left alone (promise 7)."""
        buried: list[Key] = []
        delivered: list[Key] = []
        later: list[tuple[object, ...]] = []
        records: list[tuple[tuple[int, int], AttemptRecord]] = []
        released: list[Key] = []
        alone: list[Key] = []
        awaited: list[Key] = []
        for request in requests:
            request.result = True
            for token, settlement in request.settled:
                target = self._target_of.get(token)
                if target is None or token in draft.ended:
                    request.result = False
                    continue
                held = self._held[target][token]
                key = held.key
                draft.ended.add(token)
                match settlement:
                    case Done():
                        delivered.append(key)
                        awaited += [key] if held.ordered else []
                        draft.count(target, -1, -held.raw_bytes)
                    case Buried():
                        buried.append(key)
                        awaited += [key] if held.ordered else []
                        draft.count(target, -1, -held.raw_bytes)
                    case RetryLater(at_ms=at_ms, record=record, group=group):
                        later.append((*key, max(1, at_ms), group))
                        records.append((key[2:], record))
                        draft.due_again(target, max(1, at_ms))
                    case Release(alone=leaves):
                        if held.attempting:
                            released.append(key)
                        if leaves:
                            alone.append(key)
                        draft.wake(target)
        self._keep(delivered)
        turns = self._turns_of(awaited)
        self._remove(delivered + buried)
        for name, rows in (
            ("retry_later", later),
            ("release", released),
            ("leave_group", alone),
        ):
            if rows:
                self._file.do(name, json_rows(rows))
                self._file.expect_changes(len(rows), f"deliveries to settle ({name})")
        self._record(records)
        self._let_follow(turns, draft)

    def _remove(self, keys: list[Key]) -> None:
        removed = self._file.do_each("remove_deliveries", keys)
        self._file.expect(removed, len(keys), "deliveries to settle (remove_deliveries)")

    def _turns_of(self, awaited: list[Key]) -> list[tuple[str, int]]:
        """Return target and key of each turn that others may wait for (promise 24)."""
        return self._file.rows("turns_of", json_rows(awaited)) if awaited else []

    def _let_follow(self, turns: list[tuple[str, int]], draft: Draft) -> None:
        """Make due at once who has become the first under every key of its own."""
        if turns:
            self._file.do("let_follow", WAITS_FOR_ANOTHER_MS, json_rows(turns))
            for target, _ in turns:
                draft.wake(target)

    def _record(self, records: list[tuple[tuple[int, int], AttemptRecord]]) -> None:
        if not records:
            return
        rows = [
            (
                *of,
                record.number,
                record.at_ms,
                record.status,
                _storable(record.error),
                record.duration_ms,
                _storable(record.response_excerpt),
            )
            for of, record in records
        ]
        self._file.do("record_attempts", json_rows(rows))

    def _held_places(self, target: str, draft: Draft, *, due_by_ms: int | None = None) -> list[Place]:
        """Return what somebody holds of a target; with `due_by_ms`, only what may be due by then: the turn of
        what waits for another may have come meanwhile.
        """
        held = [
            *(one for token, one in self._held.get(target, {}).items() if token not in draft.ended),
            *(one for one in draft.leased.values() if one.key[0] == target),
        ]
        return [
            one.key[1:]
            for one in held
            if due_by_ms is None or one.due_ms <= due_by_ms or one.due_ms >= WAITS_FOR_ANOTHER_MS
        ]

    def take(self, request: Take, draft: Draft) -> None:
        """Lease what is due; the attempt and the time of the next go into the rows (promises 5 and 6)."""
        posts = self._choose(request, draft)
        if not posts:
            return
        rows = self._read(request.target, [place for _, places in posts for place in places])
        starts: list[tuple[object, ...]] = []
        groups: list[str | None] = []
        dues: list[int] = []
        following = iter(rows)
        try:
            for key, places in posts:
                members = [row for row, _ in itertools.islice(following, len(places))]
                if len(members) > 1 and key is None:
                    key = group_key(members[0].id, len(members))
                due_ms = max(1, request.next_due_ms(members[0].attempt + 1))
                starts += ((request.target, *row.place, due_ms, key, request.now_ms) for row in members)
                groups += (key for _ in members)
                dues += (due_ms for _ in members)
        except Exception as error:  # noqa: BLE001 - the caller's own function; its error is the caller's alone
            request.error = error
            return
        earlier = self._earlier([row for row, _ in rows])
        self._file.expect(self._file.do_each("start_attempts", starts), len(rows), "deliveries to lease")
        draft.forget(request.target)
        request.result = tuple(
            self._hand_out(
                Held(
                    key=(request.target, *row.place),
                    due_ms=due_ms,
                    raw_bytes=row.raw_bytes,
                    ordered=bool(row.ordered),
                ),
                row,
                raw,
                earlier,
                group,
                request.now_ms,
                draft,
            )
            for (row, raw), group, due_ms in zip(rows, groups, dues, strict=True)
        )

    def take_oldest(self, request: TakeOldest, draft: Draft) -> None:
        """Lease the oldest without an attempt (promise 22)."""
        held = json_rows(self._held_places(request.target, draft))
        found = self._file.rows(
            "oldest_started", request.target, request.clock_started_by_ms, request.limit, held
        )
        keys = list(dict.fromkeys((row[3], row[4], row[5]) for row in found if row[4] is not None))
        groups = self._members_of(request.target, keys)
        due_ms_of: dict[Place, tuple[int, str | None]] = {}
        for *place, due_ms, key, _ in found:
            for member in groups[key] if key is not None else [(place[0], place[1], place[2])]:
                due_ms_of.setdefault(member, (due_ms, key))
        if not due_ms_of:
            return
        draft.forget(request.target)
        rows = self._read(request.target, list(due_ms_of))
        earlier = self._earlier([row for row, _ in rows])
        if interrupted := [(request.target, *row.place) for row, _ in rows if row.attempt_at_ms is not None]:
            self._file.do("note_interrupted", json_rows(interrupted))
        leases = []
        for row, raw in rows:
            due_ms, key = due_ms_of[row.place]
            held_now = Held(
                key=(request.target, *row.place),
                due_ms=due_ms,
                raw_bytes=row.raw_bytes,
                ordered=bool(row.ordered),
                attempting=False,
            )
            leases.append(self._hand_out(held_now, row, raw, earlier, key, request.now_ms, draft))
        request.result = tuple(leases)

    def _choose(self, request: Take, draft: Draft) -> list[tuple[str | None, list[Place]]]:
        """Return what may be leased, an entry a POST: the key of its group if it has one, and its places."""
        merging = request.merging
        wanted = request.limit
        if merging is not None:
            wanted = max(wanted, min(wanted * merging.max_changes, MAX_MERGED_CHANGES))
        held = self._held_places(request.target, draft, due_by_ms=request.now_ms)
        overdue = max(OVERDUE_SLICE, wanted) + len(held)
        due: list[_Due] = []
        for lane in request.lanes:
            [(found,)] = self._file.rows(
                "due", request.target, request.now_ms, wanted, overdue, json_rows(held), int(lane)
            )
            try:
                due += sorted(_DUE.decode(found), key=lambda one: one.place)
            except msgspec.ValidationError as error:
                raise self._file.damaged(f"a delivery has lost its notification: {error}") from error
            if len(due) >= wanted:
                break
        posts = plan_groups(due, limit=request.limit, merging=merging)
        members = self._members(request.target, [post[0] for post in posts if post[0].group_key is not None])
        return [
            (key, [one.place for one in post] if key is None else members[key])
            for post in posts
            for key in (post[0].group_key,)
        ]

    def _members(self, target: str, grouped: list[_Due]) -> dict[str, list[Place]]:
        """Return all members of groups that were formed before (promise 20), oldest acceptance first."""
        return self._members_of(target, [(one.due_ms, one.group_key, one.lane) for one in grouped])

    def _members_of(self, target: str, keys: list[tuple[int, str | None, int]]) -> dict[str, list[Place]]:
        members: defaultdict[str, list[Place]] = defaultdict(list)
        if keys:
            [(found,)] = self._file.rows("group_members", target, json_rows(keys))
            for *place, key in sorted(_MEMBERS.decode(found)):
                members[key].append((place[0], place[1], place[2]))
        return members

    def _read(self, target: str, places: list[Place]) -> list[tuple[_Row, bytes]]:
        """Return deliveries with the bytes of their notifications, in this order."""
        [(found, bodies)] = self._file.rows("to_lease", target, json_rows(places))
        deliveries: list[tuple[_Row, bytes]] = []
        at = 0
        try:
            rows = _ROWS.decode(found)
        except msgspec.ValidationError as error:
            raise self._file.damaged(f"a delivery has lost its notification or its bytes: {error}") from error
        for row in rows:
            raw = bodies[at : at + row.raw_bytes]
            at += row.raw_bytes
            deliveries.append((row, raw))
        if [row.place for row in rows] != places:
            raise self._file.damaged("a delivery was not found where it stands")
        return deliveries

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
        interrupted: list[tuple[tuple[int, int], AttemptRecord]] = []
        for row in rows:
            if row.attempt_at_ms is not None:
                record = AttemptRecord.interrupted(number=row.attempt, at_ms=row.attempt_at_ms)
                interrupted.append((row.place[1:], record))
                earlier[row.place].append(record)
        self._record(interrupted)
        return earlier

    def _hand_out(
        self,
        held: Held,
        row: _Row,
        raw: bytes,
        earlier: dict[Place, list[AttemptRecord]],
        group: str | None,
        now_ms: int,
        draft: Draft,
    ) -> Lease:
        token = self.token()
        draft.leased[token] = held
        return Lease(
            token=token,
            delivery_id=row.id,
            notification_id=row.notification_id,
            app=row.app,
            target=held.key[0],
            raw=raw,
            selection=selection_of(row.selection),
            received_at_ms=row.received_at_ms,
            clock_started_ms=row.clock_started_ms,
            attempt=row.attempt + held.attempting,
            leased_at_ms=now_ms,
            earlier=tuple(earlier[row.place]),
            group=group,
            attempting=held.attempting,
            damaged=zlib.crc32(raw) != row.raw_crc32,
        )

    def hasten(self, request: Hasten, draft: Draft) -> int:
        """Make due what would be later, lane by lane (promise 29)."""
        held = json_rows(self._held_places(request.target, draft))
        done = 0
        for lane in ORDER:
            if done < request.limit:
                self._file.do(
                    "hasten",
                    request.target,
                    max(1, request.now_ms),
                    request.limit - done,
                    held,
                    int(lane),
                    WAITS_FOR_ANOTHER_MS,
                )
                done += self._file.changes()
        if done:
            draft.wake(request.target)
        return done

    def next_due(self, target: str, draft: Draft) -> int:
        """Return when the next delivery that nobody holds is due; 0: at once; NEVER_MS: there is none."""
        held = self._held_places(target, draft)
        [(due_ms,)] = self._file.rows("next_due", target, json_rows(held), json_rows(ORDER))
        due_ms = NEVER_MS if due_ms is None or due_ms >= WAITS_FOR_ANOTHER_MS else int(due_ms)
        if due_ms:
            draft.quiet_until_ms[target] = due_ms
        return due_ms


def _storable(text: str) -> str:
    """Return text that SQLite takes: a lone surrogate of an odd answer becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
