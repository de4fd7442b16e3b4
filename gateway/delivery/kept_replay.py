"""Sending again what was delivered, while the spool keeps it (`spool.keep_delivered`): for a consumer that
answered 200 and lost it, or for a target that is new.

A target gets what the routes give it now, under the id that it would have had; what it has taken already it
gets only when asked for, and then exactly as it was: the same changes, id and `Idempotency-Key`. So this may
be stopped and repeated, but for what it is asked to deliver twice: that waits again, and is kept again once
it is delivered.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from gateway.core.change import Kind
from gateway.core.envelope import Change, Envelope, parse_envelope
from gateway.core.globs import compile_globs
from gateway.core.lanes import Lane
from gateway.core.ordering import order_keys
from gateway.core.routing import delivery_ids
from gateway.delivery.message import rfc3339
from gateway.delivery.replay import Known
from gateway.spool.contract import Kept, NewDelivery, Place, Spool

END_OF_TIME: Final = 2**53 - 1
"""Behind every notification of a millisecond: more than a file will ever number."""


class KeptWord(StrEnum):
    """What became of one notification."""

    REPLAYED = "replayed"
    WOULD_REPLAY = "would_replay"
    """A dry run: nothing stands in the way."""
    DELIVERED = "delivered"
    """The target has taken it, and nobody asked for a second time."""
    PENDING = "pending"
    """It waits for the target already."""
    NOT_ROUTED = "not_routed"
    """No route gives any of it to the target."""
    UNKNOWN_APP = "unknown_app"
    """There is no secret to sign with."""
    DAMAGED = "damaged"
    """The disk does not give back what was stored."""
    GONE = "gone"
    """Its time is up: the spool has just forgotten it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be sent to one target. Times are Unix milliseconds, of acceptance, both included."""

    target: str
    since_ms: int
    until_ms: int
    app: str | None = None
    field: str | None = None
    """A pattern as in routes; one of the changes must match."""
    kind: Kind | None = None
    """Of one of the changes; with `field`, of the same."""
    include_delivered: bool = False

    def shown(self) -> dict[str, object]:
        """Return it for the audit log."""
        return {
            "target": self.target,
            "since": rfc3339(self.since_ms),
            "until": rfc3339(self.until_ms),
            "app": self.app,
            "field": self.field,
            "kind": None if self.kind is None else str(self.kind),
            "include_delivered": self.include_delivered,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A part of the way through what is kept."""

    counts: dict[str, int]
    """By word; what the filters leave out is not counted."""
    after: Place | None
    """Where to go on; None: that was all."""
    reached_ms: int
    """Everything that was accepted before is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far one has come in the files of several workers: whichever is furthest behind goes next, so that
    all is done up to one moment of acceptance, and who stops can go on from it."""

    places: Mapping[int, Place]
    """By worker; who is through is not in it."""

    @classmethod
    def of(cls, after: Sequence[int] | None, workers: Iterable[int], *, since_ms: int) -> "Cursor":
        """Read what `flat` gave; None: the beginning, for all these.

        Raises:
            ValueError: it gave no such thing.
        """
        if after is None:
            return cls(places=dict.fromkeys(workers, (since_ms - 1, END_OF_TIME)))
        if not after or len(after) % 3:
            raise ValueError("no places by worker")
        return cls(places={after[at]: (after[at + 1], after[at + 2]) for at in range(0, len(after), 3)})

    @property
    def behind(self) -> int:
        """Whose turn it is."""
        return min(self.places, key=lambda number: (self.places[number], number))

    def moved(self, after: Place | None) -> "Cursor":
        """Return it with whoever was behind at another place; None: through."""
        others = {number: place for number, place in self.places.items() if number != self.behind}
        return Cursor(places=others if after is None else {**others, self.behind: after})

    def flat(self) -> tuple[int, ...] | None:
        """Return it as numbers; None: all are through."""
        return tuple(part for number, place in self.places.items() for part in (number, *place)) or None

    def reached_ms(self, *, since_ms: int, until_ms: int) -> int:
        """Return the moment before which all that was accepted is done."""
        return max(since_ms, min((place[0] for place in self.places.values()), default=until_ms))


def plan_again(
    kept: Kept, wanted: Wanted, *, known: Known, narrowed: Callable[[Change], bool] | None
) -> NewDelivery | KeptWord | None:
    """Say what the target would get of a notification, or why nothing; None: it is not asked for. Pure.

    `narrowed` says which changes are asked for; None: whichever there are.
    """
    if wanted.app not in (None, kept.app):
        return None
    if kept.raw is None:
        return KeptWord.DAMAGED
    mine = next((new for new in kept.taken if new.target == wanted.target), None)
    envelope = parse_envelope(kept.raw)
    changes: Sequence[Change] = envelope.changes if isinstance(envelope, Envelope) else ()
    if mine is None:
        plan = [new for new in known.table.plan(kept.app, envelope) if new.target == wanted.target]
        if plan:
            selection = plan[0].selection
            mine = NewDelivery(
                id=delivery_ids(kept.notification_id, plan)[wanted.target],
                target=wanted.target,
                selection=selection,
                changes=len(changes) if selection is None else len(selection),
                lane=plan[0].lane,
            )
    if narrowed is not None and not any(map(narrowed, _chosen(changes, mine))):
        return None
    if mine is None:
        return KeptWord.NOT_ROUTED
    if kept.app not in known.apps:
        return KeptWord.UNKNOWN_APP
    if wanted.target not in known.table.ordered:
        return mine
    keys = order_keys(kept.raw, mine.selection)
    return msgspec.structs.replace(mine, lane=Lane.NORMAL, order_keys=keys)


def _chosen(changes: Sequence[Change], mine: NewDelivery | None) -> Sequence[Change]:
    if mine is None or mine.selection is None:
        return changes
    return [changes[position] for position in mine.selection if position < len(changes)]


def narrowing(wanted: Wanted) -> Callable[[Change], bool] | None:
    """Return which changes are asked for; None: all."""
    if wanted.field is None and wanted.kind is None:
        return None
    has_field = compile_globs([wanted.field] if wanted.field is not None else None)
    return lambda change: has_field(change.field) and (wanted.kind is None or wanted.kind in change.kinds)


class KeptReplayer:
    """Sends again what is kept: for the admin port, and for the command where no gateway runs."""

    def __init__(self, *, spool: Spool, known: Callable[[], Known], now_ms: Callable[[], int]) -> None:
        self._spool = spool
        self._known = known
        self._now_ms = now_ms

    async def step(self, wanted: Wanted, *, after: Place | None, limit: int, dry_run: bool) -> Step:
        """Go through about `limit` notifications, in order of acceptance.

        Raises:
            SpoolUnavailableError: no room for more now; what this step would have added is not.
            SpoolBrokenError: the spool has failed for good.
        """
        page = await self._spool.kept(
            since_ms=wanted.since_ms, until_ms=wanted.until_ms, after=after, limit=limit
        )
        known, narrowed = self._known(), narrowing(wanted)
        counts: Counter[str] = Counter()
        planned: dict[str, tuple[Kept, NewDelivery]] = {}
        for kept in page:
            match plan_again(kept, wanted, known=known, narrowed=narrowed):
                case NewDelivery() as new:
                    planned.setdefault(new.id, (kept, new))
                case KeptWord() as word:
                    counts[word] += 1
                case None:
                    pass
        counts.update(await self._send(planned, wanted, dry_run=dry_run))
        return Step(
            counts=dict(counts),
            after=page[-1].place if page else None,
            reached_ms=page[-1].received_at_ms if page else wanted.until_ms,
        )

    async def _send(
        self, planned: dict[str, tuple[Kept, NewDelivery]], wanted: Wanted, *, dry_run: bool
    ) -> Counter[str]:
        states = await self._spool.kept_states(tuple(planned))
        waiting = planned.keys() & states.waiting
        delivered = planned.keys() & states.kept
        # One that is kept with another notification (a dead letter of this one that was replayed) is that
        # one's to send again.
        left_out = {
            id_
            for id_ in delivered
            if not wanted.include_delivered or id_ not in {new.id for new in planned[id_][0].taken}
        }
        items = [pair for id_, pair in planned.items() if id_ not in waiting | left_out]
        counts = Counter({KeptWord.PENDING: len(waiting), KeptWord.DELIVERED: len(left_out)})
        if dry_run:
            counts[KeptWord.WOULD_REPLAY] = len(items)
        elif items:
            added = await self._spool.send_again(items, clock_started_ms=self._now_ms())
            counts[KeptWord.REPLAYED] = len(added)
            counts[KeptWord.GONE] = len(items) - len(added)
        return Counter({str(word): number for word, number in counts.items() if number})


def shown_step(step: Step) -> dict[str, object]:
    """Return it fit for JSON."""
    return {
        "counts": step.counts,
        "after": None if step.after is None else list(step.after),
        "reached_ms": step.reached_ms,
    }
