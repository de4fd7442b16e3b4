"""What every spool promises. One test suite (tests/contracts) holds SQLite and the in-memory fake to it.

The promises, numbered; tests name them. (32 to 34 are those of the index of dead letters: letters.py.)

 1. `append` returns `STORED` only after body and deliveries are durable: after a crash at any later moment,
    both are there.
 2. Body and deliveries appear together or not at all.
 3. The same bytes for the same app within the window are stored once; the second `append` returns
    `DUPLICATE`, and does so only when the first is durable. A batch that fails leaves no trace in the window.
 4. The window outlives a restart, and is bounded by age and by count; the oldest go first. `remembered` says
    how far back it reaches.
 5. `lease` hands out deliveries that are due, lane by lane, in a lane oldest acceptance first, each to one
    holder at a time.
 6. The attempt's number and the time of the next attempt are durable before `lease` returns.
 7. A lease ends by one `settle`; a second settlement of the same lease changes nothing.
 8. `Done` and `Buried` remove the delivery; the body goes with the last delivery of it.
 9. `RetryLater` keeps the delivery with the record of the attempt, due at the stated time.
10. `Release` undoes the lease: the attempt was not made, its number is free again, the delivery is due at
    once.
11. After a restart no lease is held: what was leased is due at the time that was stored with the lease, and
    the attempt that was under way is on record as interrupted.
12. `restore` adds a delivery under its old id with a fresh give-up clock; an id that is pending is not added
    twice. It passes by the duplicates window.
13. Bytes come back as they went in, NUL and invalid UTF-8 included.
14. `pending` and `pending_bytes` cost the same with ten deliveries as with a million.
15. What cannot be stored now raises `SpoolUnavailableError`, leaves nothing behind, and later appends may
    succeed.
16. A disk that failed (EIO), or a file that is damaged in its structure, raises `SpoolBrokenError`; from then
    on every call raises it, no fsync is tried again, and nothing is overwritten. (Bytes of one notification
    that have changed: 25.)
17. A second opener of the same spool is refused with `SpoolLockedError` (but see 31).
18. Cancelling a caller of `append` or `settle` does not tear a write: it is done whole or not at all, and
    whoever has begun to wait for one gets its answer, cancelled or not.
19. With `merging`, deliveries that were never attempted are leased in groups (`core.merging` says which). Who
    belongs to a group, and its key, are durable before `lease` returns.
20. A group is leased whole or not at all, under the same key, through attempts and restarts, until a
    settlement says with whom its members go next.
21. `settle_together` ends several leases in one transaction: all of it is durable, or nothing.
22. `lease_oldest` hands out what need not be due, oldest acceptance first and groups whole, without starting
    an attempt: number, due time and group stay as they are, in the file and after a `Release`. Only `alone`
    takes a delivery out of its group.
23. `set_pauses` replaces the pauses of a target, durable on return: after a crash at any moment either the
    old ones are there or the new ones. They outlive deliveries, and targets that the configuration has lost.
    Where others may change them, too, `former` says what they are thought to be: if they are not, nothing is
    changed.
24. A delivery with `order_keys` is not due while one that was stored before it, for the same target and with
    a key of its own, is pending, leased or not. What is restored is stored anew: it goes to the end.
25. A notification whose bytes are no longer those that were stored holds up no other: its deliveries are
    leased as ever, whole groups with them, but with `damaged` set, and nobody may send them.
26. With `keep_delivered`, a delivery that ended by `Done` is kept for that long, with its body, over
    restarts; then it goes, within a minute of quiet. It goes earlier, the oldest first, where there is little
    room: what is kept never keeps anything from being stored.
27. `kept` gives out notifications of which something is kept, each once, in order of acceptance.
28. `send_again` makes deliveries of what is kept, durable on return, under the ids stated, with a fresh
    give-up clock; what is no longer there, and an id that waits, is left out. What was kept under that id is
    kept no more: it waits again. With `order_keys` it stands where it stood: before what was stored after it,
    but for what is under way.
29. `hasten` makes due, durable on return, what would be due later: lane by lane, the latest first (what has
    failed meanwhile is due soon, and comes last), groups whole; but not what somebody holds or what waits
    for another (24). Attempts, clocks and groups stay as they are.
30. `trace` says of a notification what waits and what is kept of it, with the attempts that failed;
    `mentions` looks for bytes in bodies, the latest acceptance first, a slice at a time, so that nobody waits
    for it.
31. A spool that replicas share (`shared`) lets further openers in, instead of 17; 5 and 24 hold over all of
    them. A lease whose holder is gone ends after `hold_ms`, by the clock of the database, and then 11 holds;
    a settlement that comes later than the next lease changes nothing (7). All times that callers give and get
    are by their own clocks, which need not agree. Where the connection is lost at the commit, 15 leaves open
    whether something was stored: then the same bytes are a `DUPLICATE`.
32. While an offer of free hands stands, and nothing else of its target is due, what `append` stores for it is
    leased in the same transaction, as `lease` would lease it right after (5, 6, 19), and handed to `take`.
    What finds no hand is due at once. A spool may take no offers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

import msgspec

from gateway.core.lanes import ORDER, Lane
from gateway.core.merging import Merging
from gateway.core.pausing import Pauses
from gateway.core.signature import VerifiedBody
from gateway.spool.history import AttemptRecord, Mentions, TracedNotification
from gateway.spool.letters import LetterIndex, ListedLetter, TakenLetter


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One delivery of a notification, as planned by the routes."""

    id: str
    target: str
    selection: tuple[int, ...] | None
    """Positions of its changes; None: the original bytes."""
    changes: int = 1
    """How many that are."""
    lane: Lane = Lane.NORMAL
    order_keys: tuple[int, ...] = ()
    """64 bits each, signed; see promise 24."""


class Notification(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One notification with its deliveries, to be stored in one transaction."""

    id: str
    """32 lowercase hexadecimal digits, UUID version 7."""
    received_at_ms: int
    """Unix time."""
    body: VerifiedBody
    deliveries: tuple[NewDelivery, ...]
    """May be empty (`unrouted: drop`): then only the duplicates window remembers it."""
    object: str | None = None
    """Of its envelope, where that can be joined with others; None: its deliveries go alone."""


class Appended(Enum):
    """What `append` did."""

    STORED = "stored"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What the duplicates window holds."""

    keys: int
    """How many notifications."""
    since_ms: int | None
    """Every one that was accepted since then, Unix time; None: of none it is sure."""


class Lease(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A delivery in the hands of one attempt. Only a lease can be settled."""

    token: int
    """Opaque to the holder; fences a settlement that comes too late."""
    delivery_id: str
    notification_id: str
    app: str
    target: str
    raw: bytes
    selection: tuple[int, ...] | None
    received_at_ms: int
    clock_started_ms: int
    """When the give-up clock started: acceptance, or replay."""
    attempt: int
    """The number of the attempt that this lease is for, 1..."""
    leased_at_ms: int
    earlier: tuple[AttemptRecord, ...]
    """The attempts before this one, in order."""
    group: str | None = None
    """Key of the group that it goes with in this attempt; None: it goes alone."""
    attempting: bool = True
    """Whether an attempt starts with it; if not (22), `attempt` is the number of the last one, 0 where there
    was none."""
    damaged: bool = False
    """Whether `raw` is not what was stored (25): it is for people to look at."""

    def __repr__(self) -> str:
        """Tell it without its bytes (law 8)."""
        return f"Lease(delivery_id={self.delivery_id!r}, target={self.target!r}, attempt={self.attempt})"


Place = tuple[int, int]
"""Of a notification in the order of acceptance. Opaque."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A notification of which something that was delivered is kept."""

    place: Place
    notification_id: str
    app: str
    received_at_ms: int
    raw: bytes | None
    """None: what the disk gives back is not what was stored."""
    taken: tuple[NewDelivery, ...]
    """What of it targets have taken, as far as that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStates:
    """What is known of some ids of deliveries; one that is in neither is unknown."""

    waiting: frozenset[str] = frozenset()
    """To be delivered."""
    kept: frozenset[str] = frozenset()
    """Delivered, and kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The target took it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried:
    """The dead letter is durable (or the target drops what it gives up)."""

    letter: ListedLetter | None = None
    """What goes on the list of dead letters, where there is one (33)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """The attempt failed; the next is due then."""

    at_ms: int
    record: AttemptRecord
    group: str | None = None
    """Key of the group that it goes with next, at the same time as all of it; None: it goes alone from now
    on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The attempt was not made. What was never attempted before leaves its group."""

    alone: bool = False
    """It leaves its group in any case, and is due at once."""


@dataclass(slots=True)
class Handed:
    """How many attempts were handed over to who makes offers. Counted by the spool, on its own thread."""

    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """Free hands of a target, for what is stored next (32)."""

    target: str
    handed: Handed
    """The same in each offer of one maker."""
    until: int
    """How many attempts may have been handed over in all: so counted, an offer that crosses what is just
    being handed over grants nothing twice. 0: the offer is withdrawn."""
    now_ms: Callable[[], int]
    """Unix time; called on the spool's own thread."""
    next_due_ms: Callable[[int, int], int]
    """From now and the number of the attempt that starts: when the one after it is due. Pure; called on the
    spool's own thread."""
    take: Callable[[tuple[Lease, ...]], None]
    """Called on the Trio thread after the commit; must not raise. It is called still for an offer that was
    replaced while a commit was under way."""
    merging: Merging | None = None


Settlement = Done | Buried | RetryLater | Release

HOLD_MS: Final = 15_000
"""How long a lease is held where nobody says: a target's time-out by default, and five seconds to settle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Whether a notification could be stored now."""

    free_bytes: int | None
    """None: the disk is another machine's."""
    total_bytes: int
    enough: bool
    """`free_bytes` is not below `spool.min_free`."""
    writable: bool
    detail: str
    """Why not; empty where there is room."""


class Spool(Protocol):
    """The store of record. All methods are called on the Trio thread."""

    async def append(self, notification: Notification) -> Appended:
        """Store a notification, durable on return (1, 2, 3).

        Raises:
            SpoolUnavailableError: nothing was stored; try again later (15).
            SpoolBrokenError: nothing was stored; the process must end (16).
        """
        ...

    async def restore(
        self, notification: Notification, *, clock_started_ms: int, taken: TakenLetter | None = None
    ) -> frozenset[str]:
        """Add the deliveries of a dead letter again; returns those added (12, 33). Raises as `append`."""
        ...

    @property
    def letters(self) -> LetterIndex | None:
        """The index of dead letters; None: it is nobody else's spool, and the directory tells."""
        ...

    async def lease(
        self,
        target: str,
        *,
        now_ms: int,
        limit: int,
        next_due_ms: Callable[[int], int],
        merging: Merging | None = None,
        lanes: Sequence[Lane] = ORDER,
        hold_ms: int = HOLD_MS,
    ) -> tuple[Lease, ...]:
        """Lease what is due for up to `limit` attempts (5, 6, 19, 20), in this order of lanes.

        An attempt is for one delivery or for one group; the members of a group stand together, oldest
        acceptance first. There may be more that is due, unless nothing is returned. `merging` says how far
        new groups may be formed; None: not at all.

        `next_due_ms` gives, for the number of the attempt that now starts, when the one after it is due; it
        is called on the spool's own thread and must be pure. `hold_ms`: see 31.
        """
        ...

    def offer(self, offer: Offer) -> bool:
        """Let what is stored next find free hands, in place of the last offer for this target (32).

        False: this spool takes no offers. An offer counts once `next_due_ms` was asked and nothing was due.
        What is handed over after a withdrawal was under way: all of it has come when a later call returns.
        """
        ...

    async def lease_oldest(
        self, target: str, *, now_ms: int, clock_started_by_ms: int, limit: int
    ) -> tuple[Lease, ...]:
        """Lease up to `limit` of the oldest, due or not, whose give-up clock started by then (22).

        With a member of a group comes all of the group, whenever its clocks started.
        """
        ...

    async def settle(self, lease: Lease, settlement: Settlement) -> bool:
        """End a lease, durable on return; False where it had ended before (7-10)."""
        ...

    async def settle_together(self, settled: Sequence[tuple[Lease, Settlement]]) -> bool:
        """End several leases as one (21); False where one of them had ended before: it is left as it was.

        Raises:
            ValueError: members of one group that is to go on together would be due at different times; or a
                retry of what was leased without an attempt.
        """
        ...

    async def next_due_ms(self, target: str) -> int | None:
        """When the next delivery is due that nobody holds and that waits for no other (24); None: none is."""
        ...

    async def hasten(self, target: str, *, now_ms: int, limit: int) -> int:
        """Make about `limit` deliveries due now that would be later; return how many, 0: none is left (29).

        More than `limit` where several would be due at the same moment. Raises as `append`.
        """
        ...

    async def oldest_received_ms(self) -> Mapping[str, int]:
        """Per target with anything pending (leased or not): when its oldest delivery was accepted."""
        ...

    async def oldest_clock_ms(self) -> Mapping[str, int]:
        """Per target with anything pending: when the give-up clock that has run longest started."""
        ...

    async def pauses(self) -> Mapping[str, Pauses]:
        """Per target that has any: its pauses, in order of time (23)."""
        ...

    async def set_pauses(self, target: str, pauses: Pauses, *, former: Pauses | None = None) -> bool:
        """Replace the pauses of a target, durable on return (23); False where they were not `former`.

        Raises as `append`.
        """
        ...

    async def kept(
        self, *, since_ms: int, until_ms: int, after: Place | None = None, limit: int
    ) -> tuple[Kept, ...]:
        """Return a page of what is kept of notifications accepted within these times (27), after a place.

        At most `limit` of them, and 4 MiB of bodies, but at least one; empty: there is nothing more.
        """
        ...

    async def kept_states(self, ids: Sequence[str]) -> KeptStates:
        """Say which of these deliveries wait, and which are kept."""
        ...

    async def send_again(
        self, items: Sequence[tuple[Kept, NewDelivery]], *, clock_started_ms: int
    ) -> frozenset[str]:
        """Deliver again, or for the first time, what is kept (28); return the ids that were added.

        Raises as `append`.
        """
        ...

    async def oldest_kept_ms(self) -> int | None:
        """When the oldest of what is kept was delivered; None: nothing is."""
        ...

    async def trace(self, notification_id: str) -> TracedNotification | None:
        """Say what is left of a notification (30); None: nothing."""
        ...

    async def mentions(self, needles: Sequence[bytes], *, before: int | None = None) -> Mentions:
        """Look through a slice of the bodies for any of these (30); `before` is of the slice before it."""
        ...

    def remembered(self, now_ms: int) -> Remembered:
        """How far back the duplicates window reaches (4); costs next to nothing."""
        ...

    def pending(self) -> Mapping[str, int]:
        """Deliveries per target, leased ones included; targets that the configuration has lost, too (14)."""
        ...

    def pending_bytes(self) -> Mapping[str, int]:
        """Bytes of the notifications of those deliveries, each counted whole for each target (14)."""
        ...

    def on_ready(self, callback: Callable[[frozenset[str]], None]) -> None:
        """Call back, on the Trio thread, with the targets for which deliveries have become due at once.

        That is: appended, and not leased with it (32), restored or released. Called after the commit; must
        not raise.
        """
        ...

    def on_pauses(self, callback: Callable[[Mapping[str, Pauses]], None]) -> None:
        """Call back, on the Trio thread, with all pauses where another opening may have changed them (31).

        Must not raise; may be called though nothing has changed.
        """
        ...

    def room(self) -> Room:
        """Whether there is room; cheap enough for every request (looks at the disk once a second at most)."""
        ...

    def size_bytes(self) -> int:
        """Bytes on disk."""
        ...

    async def wait_broken(self) -> None:
        """Return when the spool has failed for good (16); otherwise never."""
        ...
