"""Leases and settlements, inside the transaction of a batch (promises 5 to 11, 19 to 22, 29).

Who holds what stands in the row: until when, by the database's clock, and under which token. Another gateway
passes over it until then; a settlement is for the row with its own token, or for none. What this opening
holds is in memory besides: a lease that runs late is not handed out again by the one who holds it.
"""

import itertools
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.core.lanes import ORDER
from gateway.core.merging import MAX_MERGED_CHANGES, group_key, plan_groups
from gateway.spool.contract import HOLD_MS, Buried, Done, Lease, Release, RetryLater
from gateway.spool.history import AttemptRecord
from gateway.spool.letters import ListedLetter
from gateway.spool.postgresql.keeping import Keeping
from gateway.spool.postgresql.letters import fence, put
from gateway.spool.postgresql.link import arrays
from gateway.spool.postgresql.records import attempts_of, record
from gateway.spool.postgresql.session import (
    WAITS_FOR_ANOTHER_MS,
    Draft,
    Held,
    Place,
    Session,
    damaged,
    places,
)
from gateway.spool.requests import Hasten, Settle, Take, TakeOldest
from gateway.spool.stored_forms import selection_of

OVERDUE_SLICE: Final = 1000
"""Retries looked at for one lease. While no more of a target are overdue the order is exactly that of
acceptance; beyond that, of acceptance among those that are overdue the longest."""
TOKENS: Final = 256
"""Drawn at once."""


class _Due(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What planning knows of a delivery, in the order of the columns of the statement `due`."""

    seq: int
    position: int
    received_at_ms: int
    changes: int
    attempt: int
    attempt_at_ms: int | None
    due_ms: int
    group_key: str | None
    id: str
    app: str
    object: str | None
    raw_bytes: int
    lane: int
    token: int
    """Of a lease that nobody has ended; 0: there is none."""

    @property
    def place(self) -> Place:
        return (self.seq, self.position)


@dataclass(slots=True)
class _Settled:
    """What the settlements of a batch come to."""

    delivered: list[Place]
    buried: list[Place]
    later: list[tuple[object, ...]]
    records: list[tuple[Place, AttemptRecord]]
    released: list[tuple[object, ...]]
    letters: list[ListedLetter]


class Leasing:
    """What hands deliveries out and takes them back."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._held: dict[str, dict[int, Held]] = {}
        self._target_of: dict[int, str] = {}
        self._tokens: list[int] = []

    def adopt(self, draft: Draft) -> None:
        """Take over what a committed batch leased and ended."""
        for token in draft.ended:
            del self._held[self._target_of.pop(token)][token]
        for token, held in draft.leased.items():
            self._target_of[token] = held.target
            self._held.setdefault(held.target, {})[token] = held

    def let_go(self, session: Session) -> None:
        """End all leases: the opening ends."""
        held = [(*one.place, token) for of in self._held.values() for token, one in of.items()]
        if held:
            session.rows("let_go", **arrays(held, "seq", "position", "token"))

    # -- settlements

    def settle(self, requests: Sequence[Settle], session: Session) -> None:
        """End leases; one that has ended, or never was, is left alone (promise 7)."""
        asked: list[tuple[Settle, int, Held, Any]] = []
        draft = session.draft
        for request in requests:
            request.result = True
            for token, settlement in request.settled:
                target = self._target_of.get(token)
                if target is None or token in draft.ended:
                    request.result = False
                    continue
                draft.ended.add(token)
                asked.append((request, token, self._held[target][token], settlement))
        if not asked:
            return
        draft.wrote = True
        ends = [held for _, _, held, settlement in asked if isinstance(settlement, Done | Buried)]
        turns = self._turns_of([held.place for held in ends if held.ordered], session)
        session.lock_turns(turns)
        leases = [(*held.place, token) for _, token, held, _ in asked]
        found = session.rows("still_held", **arrays(leases, "seq", "position", "token"))
        still = {row[0] for row in found}
        settled = _Settled([], [], [], [], [], [])
        for request, token, held, settlement in asked:
            if token in still:
                self._sort(token, held, settlement, settled, session)
            else:
                request.result = False
        self._write(settled, session)
        self._let_follow(turns, session)

    def _sort(self, token: int, held: Held, settlement: object, settled: _Settled, session: Session) -> None:
        match settlement:
            case Done():
                settled.delivered.append(held.place)
                session.draft.count(held.target, -1, -held.raw_bytes)
            case Buried(letter=letter):
                settled.buried.append(held.place)
                session.draft.count(held.target, -1, -held.raw_bytes)
                if letter is not None:
                    settled.letters.append(msgspec.structs.replace(letter, token=token))
            case RetryLater(at_ms=at_ms, record=attempt, group=group):
                settled.later.append((*held.place, max(1, session.theirs(at_ms)), group))
                settled.records.append((held.place, attempt))
            case Release(alone=alone):
                settled.released.append((*held.place, held.attempting, alone))
                session.draft.ready.add(held.target)

    def _write(self, settled: _Settled, session: Session) -> None:
        gone = settled.delivered + settled.buried
        if gone:
            kept = settled.delivered if self._keeping.keep(settled.delivered, session) else []
            stay = places(kept)
            [(removed,)] = session.rows(
                "remove_deliveries", kept_seq=stay["seq"], kept_position=stay["position"], **places(gone)
            )
            if removed != len(gone):
                raise damaged(f"{len(gone)} deliveries to remove, {removed} found")
        if settled.letters:
            put(settled.letters, session.rows, found=False)
        if settled.later:
            session.rows("retry_later", **arrays(settled.later, "seq", "position", "due_ms", "group_key"))
        if settled.released:
            session.rows("release", **arrays(settled.released, "seq", "position", "attempting", "alone"))
        record(settled.records, session)

    def _turns_of(self, awaited: Sequence[Place], session: Session) -> list[tuple[str, int]]:
        """Return target and key of each turn that others may wait for (promise 24)."""
        return [(row[0], row[1]) for row in session.rows("turns_of", **places(awaited))] if awaited else []

    def _let_follow(self, turns: Sequence[tuple[str, int]], session: Session) -> None:
        """Make due at once who has become the first under every key of its own."""
        if not turns:
            return
        firsts = session.rows("firsts", **arrays(turns, "target", "key"))
        if firsts:
            session.rows("let_follow", waits=WAITS_FOR_ANOTHER_MS, **places(firsts))
        session.draft.ready.update(target for target, _ in turns)

    # -- leases

    def take(self, request: Take, session: Session) -> None:
        """Lease what is due; the attempt and the time of the next go into the rows (promises 5 and 6)."""
        posts = self._choose(request, session)
        starts: list[tuple[_Due, int, str | None]] = []
        try:
            for members in posts:
                key = members[0].group_key
                if key is None and len(members) > 1:
                    key = group_key(members[0].id, len(members))
                due_ms = max(1, session.theirs(request.next_due_ms(members[0].attempt + 1)))
                starts += ((one, due_ms, key) for one in members)
        except Exception as error:  # noqa: BLE001 - the caller's own function; its error is the caller's alone
            request.error = error
            return
        if not starts:
            return
        earlier = self._earlier([one for one, _, _ in starts], session)
        tokens = self._draw(len(starts), session)
        rows = [
            (*one.place, token, due_ms, key) for token, (one, due_ms, key) in zip(tokens, starts, strict=True)
        ]
        until_ms = session.clock_ms + request.hold_ms
        found = session.rows(
            "start_attempts",
            now_ms=request.now_ms,
            until_ms=until_ms,
            **arrays(rows, "seq", "position", "token", "due_ms", "group_key"),
        )
        by_token = {row[0]: row for row in found}
        request.result = tuple(
            self._hand_out(request, one, token, by_token, earlier, key, until_ms, session)
            for token, (one, _, key) in zip(tokens, starts, strict=True)
        )

    def take_oldest(self, request: TakeOldest, session: Session) -> None:
        """Lease the oldest without an attempt (promise 22)."""
        found = _dues(
            session.rows(
                "oldest_started",
                target=request.target,
                by_ms=request.clock_started_by_ms,
                clock_ms=session.clock_ms,
                held=self._late(request.target, session),
                wanted=request.limit,
            )
        )
        groups = self._members(request.target, found, session)
        chosen: dict[Place, _Due] = {}
        for one in found:
            for member in [one] if one.group_key is None else groups.get(one.group_key, []):
                chosen.setdefault(member.place, member)
        if not chosen:
            return
        members = list(chosen.values())
        earlier = self._earlier(members, session)
        tokens = self._draw(len(members), session)
        until_ms = session.clock_ms + HOLD_MS
        rows = [(*one.place, token) for one, token in zip(members, tokens, strict=True)]
        found_rows = session.rows("hold", until_ms=until_ms, **arrays(rows, "seq", "position", "token"))
        by_token = {row[0]: row for row in found_rows}
        request.result = tuple(
            self._hand_out(request, one, token, by_token, earlier, one.group_key, until_ms, session)
            for one, token in zip(members, tokens, strict=True)
        )

    def hasten(self, request: Hasten, session: Session) -> int:
        """Make due what would be later, lane by lane (promise 29)."""
        held = self._late(request.target, session)
        done = 0
        for lane in ORDER:
            if done < request.limit:
                [(number,)] = session.rows(
                    "hasten",
                    target=request.target,
                    lane=int(lane),
                    now_ms=max(1, session.theirs(request.now_ms)),
                    clock_ms=session.clock_ms,
                    waits=WAITS_FOR_ANOTHER_MS,
                    held=held,
                    skipped=request.limit - done - 1,
                )
                done += number
        if done:
            session.draft.wrote = True
            session.draft.ready.add(request.target)
        return done

    def next_due(self, target: str, session: Session) -> int | None:
        """Return when the next delivery that nobody holds is due; 0: at once."""
        [(due_ms,)] = session.rows(
            "next_due",
            target=target,
            clock_ms=session.clock_ms,
            held=self._late(target, session),
            lanes=[int(lane) for lane in ORDER],
        )
        if due_ms is None or due_ms >= WAITS_FOR_ANOTHER_MS:
            return None
        return session.ours(due_ms) if due_ms else 0

    def _late(self, target: str, session: Session) -> list[int]:
        """Return the leases that have ended by themselves, and that we hold all the same."""
        held: Iterable[tuple[int, Held]] = itertools.chain(
            self._held.get(target, {}).items(), session.draft.leased.items()
        )
        return [
            token
            for token, one in held
            if one.target == target and one.until_ms <= session.clock_ms and token not in session.draft.ended
        ]

    def _choose(self, request: Take, session: Session) -> list[list[_Due]]:
        """Return what may be leased, an entry a POST."""
        merging = request.merging
        wanted = request.limit
        if merging is not None:
            wanted = max(wanted, min(wanted * merging.max_changes, MAX_MERGED_CHANGES))
        if not wanted:
            return []
        held = self._late(request.target, session)
        due = _dues(
            session.rows(
                "due",
                target=request.target,
                lanes=[int(lane) for lane in request.lanes],
                now_ms=session.theirs(request.now_ms),
                clock_ms=session.clock_ms,
                held=held,
                wanted=wanted,
                overdue=max(OVERDUE_SLICE, wanted),
            )
        )
        posts = plan_groups(due, limit=request.limit, merging=merging)
        groups = self._members(request.target, [post[0] for post in posts], session)
        chosen = []
        for post in posts:
            key = post[0].group_key
            members = post if key is None else groups.get(key)
            if members:
                chosen.append(members)
        return chosen

    def _members(self, target: str, found: Sequence[_Due], session: Session) -> dict[str, list[_Due]]:
        """Return all members of groups that were formed before (promise 20), oldest acceptance first.

        A group of which somebody else holds a member, or has his hand on one, is left out.
        """
        keys = list(dict.fromkeys((one.group_key, one.due_ms, one.lane) for one in found if one.group_key))
        if not keys:
            return {}
        columns = arrays(keys, "key", "due_ms", "lane")
        members: dict[str, list[_Due]] = {}
        for one in _dues(session.rows("group_members", target=target, clock_ms=session.clock_ms, **columns)):
            members.setdefault(one.group_key or "", []).append(one)
        sizes = dict(session.rows("group_sizes", target=target, **columns))
        return {key: found for key, found in members.items() if len(found) == sizes[key]}

    def _earlier(self, found: Sequence[_Due], session: Session) -> dict[Place, list[AttemptRecord]]:
        """Return the records by place; an attempt that nobody holds and nobody ended was interrupted. What
        the holder of such a lease may have written is fenced (35)."""
        earlier: dict[Place, list[AttemptRecord]] = {one.place: [] for one in found}
        again = [one.place for one in found if one.attempt]
        for place, records in attempts_of(again, session).items():
            earlier[place] += records
        interrupted: list[tuple[Place, AttemptRecord]] = []
        for one in found:
            if one.attempt_at_ms is not None:
                unended = AttemptRecord.interrupted(number=one.attempt, at_ms=one.attempt_at_ms)
                interrupted.append((one.place, unended))
                earlier[one.place].append(unended)
        record(interrupted, session)
        fence([(one.id, one.token) for one in found if one.token], session.rows)
        return earlier

    def _draw(self, number: int, session: Session) -> list[int]:
        """Return new tokens: no two leases of the database share one."""
        if len(self._tokens) < number:
            self._tokens += (row[0] for row in session.rows("draw_tokens", number=max(number, TOKENS)))
        drawn, self._tokens = self._tokens[:number], self._tokens[number:]
        return drawn

    def _hand_out(
        self,
        request: Take | TakeOldest,
        one: _Due,
        token: int,
        by_token: dict[int, Any],
        earlier: dict[Place, list[AttemptRecord]],
        group: str | None,
        until_ms: int,
        session: Session,
    ) -> Lease:
        if token not in by_token:
            raise damaged("a delivery has lost its notification or its bytes")
        _, selection, clock_started_ms, notification_id, app, raw_crc32, raw, ordered = by_token[token]
        attempting = isinstance(request, Take)
        session.draft.wrote = True
        session.draft.leased[token] = Held(
            place=one.place,
            target=request.target,
            until_ms=until_ms,
            raw_bytes=len(raw),
            ordered=ordered,
            attempting=attempting,
        )
        return Lease(
            token=token,
            delivery_id=one.id,
            notification_id=notification_id,
            app=app,
            target=request.target,
            raw=raw,
            selection=selection_of(selection),
            received_at_ms=one.received_at_ms,
            clock_started_ms=clock_started_ms,
            attempt=one.attempt + attempting,
            leased_at_ms=request.now_ms,
            earlier=tuple(earlier[one.place]),
            group=group,
            attempting=attempting,
            damaged=zlib.crc32(raw) != raw_crc32,
        )


def _dues(rows: Sequence[Any]) -> list[_Due]:
    try:
        return [msgspec.convert(row, _Due) for row in rows]
    except msgspec.ValidationError as error:
        raise damaged(f"a delivery has lost its notification: {error}") from error
