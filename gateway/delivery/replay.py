"""Dead letters back into the spool: under their old ids, with a fresh give-up clock (contract, section 5).

Store first, remove then. A crash in between leaves both, and a second replay finds the id pending and adds
nothing; so replaying may be stopped and repeated at any point. What was stored is delivered at least once,
as ever.

An ordinary letter whose id is pending keeps its file: its burial may be under way this very moment, with
the file already written and the spool's row about to go. Where the delivery is delivered after all, the
dispatcher removes the file. An `_unrouted` letter gets new ids, which only an earlier replay can have
stored: pending is as good as added.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import trio

from gateway.core.envelope import Change, Envelope, parse_envelope
from gateway.core.lanes import Lane, lane_of
from gateway.core.ordering import order_keys
from gateway.core.routing import UNROUTED, PlannedDelivery, RoutingTable, rerouted_delivery_ids
from gateway.core.seal import unseal
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DELIVERY_ID, DeadLetter
from gateway.delivery.shared_letters import SharedLetters
from gateway.errors import DeadLetterError, SpoolUnavailableError
from gateway.spool.contract import NewDelivery, Notification, Spool
from gateway.spool.letters import ListedLetter, TakenLetter


class Word(StrEnum):
    """What became of one dead letter."""

    REPLAYED = "replayed"
    WOULD_REPLAY = "would_replay"
    """A dry run: nothing stands in the way."""
    PENDING = "pending"
    """The delivery is in the spool already; the file stays."""
    UNROUTED = "unrouted"
    """Still no route takes it; it stays a dead letter."""
    EDITED = "edited"
    """The seal does not fit."""
    UNKNOWN_TARGET = "unknown_target"
    UNKNOWN_APP = "unknown_app"
    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"
    UNAVAILABLE = "unavailable"
    """The spool cannot store it now."""
    ELSEWHERE = "elsewhere"
    """Another gateway holds it, and has not been asked, or has not answered."""
    DISCARDED = "discarded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one dead letter, and what to say about it."""

    word: Word
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the configuration has: where a dead letter may go."""

    apps: frozenset[str]
    targets: frozenset[str]
    table: RoutingTable


def prepare(
    letter: DeadLetter, *, known: Known, keys: Sequence[bytes], accept_edited: bool
) -> Notification | Result:
    """Make the notification that is to be stored, or say what stands in the way. `keys`: of seals. Pure."""
    body = unseal(
        keys,
        app=letter.app,
        raw=letter.body,
        integrity=letter.integrity,
        accept_edited=accept_edited,
    )
    if body is None:
        return Result(
            word=Word.EDITED, detail="the seal does not fit app and body; --accept-edited takes it as it is"
        )
    if letter.app not in known.apps:
        return Result(word=Word.UNKNOWN_APP, detail=f"no app {letter.app}: there is no secret to sign with")
    if letter.target == UNROUTED:
        deliveries = _route_again(letter, known.table)
        if not deliveries:
            return Result(word=Word.UNROUTED, detail="still no route takes any of its changes")
        if not all(DELIVERY_ID.fullmatch(delivery.id) for delivery in deliveries):
            return Result(word=Word.FAILED, detail="it has been routed again too often: its id grew too long")
    elif letter.target not in known.targets:
        return Result(word=Word.UNKNOWN_TARGET, detail=f"no target {letter.target} in the configuration")
    else:
        ordered = letter.target in known.table.ordered
        new = NewDelivery(
            id=letter.id,
            target=letter.target,
            selection=None,
            lane=Lane.NORMAL if ordered else _lane_of(letter),
            order_keys=order_keys(letter.body, None) if ordered else (),
        )
        deliveries = (new,)
    return Notification(
        id=letter.notification_id, received_at_ms=letter.received_at_ms, body=body, deliveries=deliveries
    )


def _route_again(letter: DeadLetter, table: RoutingTable) -> tuple[NewDelivery, ...]:
    """One delivery a target; what still no route takes goes back to `_unrouted` as one more, never
    dropped.
    """
    envelope = parse_envelope(letter.body)
    changes: tuple[Change, ...] = envelope.changes if isinstance(envelope, Envelope) else ()
    plan = [planned for planned in table.plan(letter.app, envelope) if planned.target != UNROUTED]
    if not plan:
        return ()
    left = tuple(
        position for position, change in enumerate(changes) if not table.explain(letter.app, change).targets
    )
    if left:
        plan.append(PlannedDelivery(target=UNROUTED, selection=left))
    ids = rerouted_delivery_ids(letter.id, plan)
    return tuple(
        NewDelivery(
            id=ids[planned.target],
            target=planned.target,
            selection=planned.selection,
            lane=planned.lane,
            order_keys=order_keys(letter.body, planned.selection) if planned.ordered else (),
        )
        for planned in plan
    )


def _lane_of(letter: DeadLetter) -> Lane:
    """Return the lane by kind; a priority that a route states is not known of a dead letter."""
    envelope = parse_envelope(letter.body)
    changes = envelope.changes if isinstance(envelope, Envelope) else ()
    return min((lane_of(change.kinds, change.field) for change in changes), default=Lane.NORMAL)


def ids_again(letters: Sequence[str], targets: Collection[str]) -> Mapping[str, str]:
    """Return, for every id of a delivery that may be made of one of these dead letters, the letter."""
    return {
        again: letter
        for letter in letters
        for again in (
            [f"{letter}-{target}" for target in targets] if letter.endswith(f"-{UNROUTED}") else [letter]
        )
    }


def homes(
    again: Mapping[str, str], waiting: Mapping[int, Collection[str]], *, first: int
) -> Mapping[int, Sequence[str]]:
    """Say in which worker's file each dead letter is to be replayed: where a delivery of it waits, else in
    the first. So what waits in any of them is not added twice. `waiting` has the ids in each.
    """
    home = dict.fromkeys(again.values(), first)
    for number, ids in waiting.items():
        home.update((again[id_], number) for id_ in ids if id_ in again)
    found: dict[int, list[str]] = {}
    for letter, number in home.items():
        found.setdefault(number, []).append(letter)
    return found


class Replayer:
    """Replays and discards dead letters: for the admin port, and for the command where no gateway runs."""

    def __init__(
        self,
        *,
        spool: Spool,
        store: DeadLetterStore,
        known: Callable[[], Known],
        now_ms: Callable[[], int],
        shared: SharedLetters | None = None,
    ) -> None:
        """`shared`: the letters in the store, where gateways share the spool."""
        self._shared = shared
        self._spool = spool
        self._store = store
        self._known = known
        self._now_ms = now_ms

    async def replay(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, Result]:
        """Replay one after the other; a result for each id.

        Raises:
            SpoolBrokenError: the spool has failed for good; those before are stored.
        """
        return {identifier: await self._replay(identifier, accept_edited) for identifier in ids}

    async def rehearse(self, ids: Sequence[str], *, accept_edited: bool) -> Mapping[str, Result]:
        """Say what `replay` would do, as far as that can be told without storing anything."""
        results = {}
        for identifier in ids:
            opened = await self.open(identifier)
            results[identifier] = (
                opened
                if isinstance(opened, Result)
                else _judge(opened[1], self._known(), self._store.keys, accept_edited)
            )
        return results

    async def discard(self, ids: Sequence[str]) -> Mapping[str, Result]:
        """Remove dead letters for good, readable or not; a result for each id."""
        if self._shared is None:
            return await trio.to_thread.run_sync(discard, self._store, ids)
        return {identifier: await self._discard_shared(self._shared, identifier) for identifier in ids}

    async def _discard_shared(self, shared: SharedLetters, identifier: str) -> Result:
        """The file first, then the line of the list: `look_after` removes a line without a file."""
        try:
            found = await shared.find(identifier)
            if isinstance(found, ListedLetter):
                return await _elsewhere(shared, found)
            gone = found is not None and await trio.to_thread.run_sync(self._store.remove, found)
            if gone or found is None:  # else another has come in its stead
                await shared.unlist([identifier])
        except (DeadLetterError, SpoolUnavailableError) as error:
            return Result(word=Word.FAILED, detail=str(error))
        return Result(word=Word.DISCARDED if gone else Word.NOT_FOUND)

    async def open(self, identifier: str) -> tuple[Found, DeadLetter] | Result:
        """Find and read a dead letter, or say why not."""
        if self._shared is None:
            return await trio.to_thread.run_sync(open_letter, self._store, identifier)
        try:
            found = await self._shared.find(identifier)
            if isinstance(found, ListedLetter):
                return await _elsewhere(self._shared, found)
            if found is None:
                return Result(word=Word.NOT_FOUND)
            return found, await trio.to_thread.run_sync(self._store.read, found)
        except DeadLetterError as error:
            return Result(word=Word.UNREADABLE, detail=str(error))
        except SpoolUnavailableError as error:
            return Result(word=Word.UNAVAILABLE, detail=error.message)

    async def _replay(self, identifier: str, accept_edited: bool) -> Result:
        opened = await self.open(identifier)
        if isinstance(opened, Result):
            return opened
        found, letter = opened
        ready = prepare(letter, known=self._known(), keys=self._store.keys, accept_edited=accept_edited)
        if isinstance(ready, Result):
            return ready
        if self._shared is not None:
            return await self._replay_shared(self._shared, found, letter, ready)
        try:
            added = await self._spool.restore(ready, clock_started_ms=self._now_ms())
        except SpoolUnavailableError as error:
            return Result(word=Word.UNAVAILABLE, detail=error.message)
        if letter.target != UNROUTED and not added:
            return Result(word=Word.PENDING, detail="the delivery is in the spool already")
        where = _where(ready)
        try:
            await trio.to_thread.run_sync(self._store.remove, found)
        except DeadLetterError as error:
            return Result(word=Word.REPLAYED, detail=f"{where}; but {error}")
        return Result(word=Word.REPLAYED, detail=where)

    async def _replay_shared(
        self, shared: SharedLetters, found: Found, letter: DeadLetter, ready: Notification
    ) -> Result:
        """Out of its place, stored and off the list, gone; see `shared_letters`."""
        parts = found.parts
        try:
            taken = await trio.to_thread.run_sync(shared.take_out, found)
        except DeadLetterError as error:
            return Result(word=Word.FAILED, detail=str(error))
        if taken is None:
            return Result(word=Word.FAILED, detail="its file has changed just now; ask again")
        try:
            added = await self._spool.restore(
                ready,
                clock_started_ms=self._now_ms(),
                taken=TakenLetter(id=letter.id, token=taken.token),
            )
            if not added and await shared.is_back(taken):
                return Result(word=Word.FAILED, detail="somebody has brought its file back; ask again")
        except SpoolUnavailableError as error:
            # Perhaps it was stored. The database tells, now or later.
            with suppress(SpoolUnavailableError, DeadLetterError):
                await shared.decide_all(letter.id)
            return Result(word=Word.UNAVAILABLE, detail=error.message)
        where = _where(ready)
        try:
            if letter.target != UNROUTED and not added:
                await trio.to_thread.run_sync(shared.put_back, taken, parts)
                return Result(word=Word.PENDING, detail="the delivery is in the spool already")
            await trio.to_thread.run_sync(shared.withdraw, taken, parts)
        except DeadLetterError as error:
            return Result(word=Word.REPLAYED, detail=f"{where}; but {error}")
        return Result(word=Word.REPLAYED, detail=where)


def open_letter(store: DeadLetterStore, identifier: str) -> tuple[Found, DeadLetter] | Result:
    """Find and read a dead letter. Blocks."""
    try:
        found = store.find(identifier)
        if found is None:
            return Result(word=Word.NOT_FOUND)
        return found, store.read(found)
    except DeadLetterError as error:
        return Result(word=Word.UNREADABLE, detail=str(error))


def rehearse(
    store: DeadLetterStore, ids: Sequence[str], *, known: Known, accept_edited: bool
) -> Mapping[str, Result]:
    """Say what a replay would do, as far as that can be told without the spool; change nothing. Blocks."""
    return {identifier: _rehearse(store, identifier, known, accept_edited) for identifier in ids}


def _rehearse(store: DeadLetterStore, identifier: str, known: Known, accept_edited: bool) -> Result:
    opened = open_letter(store, identifier)
    return opened if isinstance(opened, Result) else _judge(opened[1], known, store.keys, accept_edited)


def _judge(letter: DeadLetter, known: Known, keys: Sequence[bytes], accept_edited: bool) -> Result:
    ready = prepare(letter, known=known, keys=keys, accept_edited=accept_edited)
    return ready if isinstance(ready, Result) else Result(word=Word.WOULD_REPLAY, detail=_where(ready))


async def _elsewhere(shared: SharedLetters, letter: ListedLetter) -> Result:
    return Result(word=Word.ELSEWHERE, detail=await shared.holder(letter))


def _where(notification: Notification) -> str:
    return "to " + ", ".join(delivery.target for delivery in notification.deliveries)


def discard(store: DeadLetterStore, ids: Sequence[str]) -> Mapping[str, Result]:
    """Remove dead letters for good, readable or not; a result for each id. Blocks."""
    results: dict[str, Result] = {}
    for identifier in ids:
        try:
            found = store.find(identifier)
            gone = found is not None and store.remove(found)
        except DeadLetterError as error:
            results[identifier] = Result(word=Word.FAILED, detail=str(error))
        else:
            results[identifier] = Result(word=Word.DISCARDED if gone else Word.NOT_FOUND)
    return results
