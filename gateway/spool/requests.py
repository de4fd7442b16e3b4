"""What the Trio side asks of the writer thread: one object a call, with a place for the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from gateway.core.lanes import ORDER, Lane
from gateway.core.merging import Merging
from gateway.core.pausing import Pauses
from gateway.errors import GatewayError
from gateway.spool.contract import (
    HOLD_MS,
    Appended,
    Kept,
    KeptStates,
    Lease,
    NewDelivery,
    Notification,
    Offer,
    Settlement,
)
from gateway.spool.history import Mentions, TracedNotification
from gateway.spool.letters import TakenLetter


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One call that waits. `error`, or the result, is set before its task is woken."""

    task: trio.lowlevel.Task | None = None
    error: Exception | None = None

    @property
    def size_bytes(self) -> int:
        """What it adds to the queue and to the batch."""
        return 0


@dataclass(slots=True, kw_only=True, eq=False)
class Append(Request):
    """`Spool.append`."""

    notification: Notification
    result: Appended = Appended.STORED

    @property
    def size_bytes(self) -> int:
        """What it adds to the queue and to the batch."""
        return len(self.notification.body.raw)


@dataclass(slots=True, kw_only=True, eq=False)
class Restore(Request):
    """`Spool.restore`."""

    notification: Notification
    clock_started_ms: int
    taken: TakenLetter | None = None
    result: frozenset[str] = frozenset()

    @property
    def size_bytes(self) -> int:
        """What it adds to the queue and to the batch."""
        return len(self.notification.body.raw)


@dataclass(slots=True, kw_only=True, eq=False)
class Take(Request):
    """`Spool.lease`."""

    target: str
    now_ms: int
    limit: int
    next_due_ms: Callable[[int], int]
    merging: Merging | None = None
    lanes: Sequence[Lane] = ORDER
    hold_ms: int = HOLD_MS
    result: tuple[Lease, ...] = ()
    is_done: bool = False
    """It was answered from memory."""


@dataclass(slots=True, kw_only=True, eq=False)
class TakeOldest(Request):
    """`Spool.lease_oldest`."""

    target: str
    now_ms: int
    clock_started_by_ms: int
    limit: int
    result: tuple[Lease, ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class Settle(Request):
    """`Spool.settle` and `Spool.settle_together`: settlements by token."""

    settled: tuple[tuple[int, Settlement], ...]
    result: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class NextDue(Request):
    """`Spool.next_due_ms`."""

    target: str
    result: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Hasten(Request):
    """`Spool.hasten`."""

    target: str
    now_ms: int
    limit: int
    result: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Oldest(Request):
    """`Spool.oldest_received_ms`."""

    targets: tuple[str, ...]
    result: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class OldestClock(Request):
    """`Spool.oldest_clock_ms`."""

    targets: tuple[str, ...]
    result: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class GetPauses(Request):
    """`Spool.pauses`."""

    result: dict[str, Pauses] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class SetPauses(Request):
    """`Spool.set_pauses`."""

    target: str
    pauses: Pauses
    former: Pauses | None = None
    result: bool = True


@dataclass(slots=True, kw_only=True, eq=False)
class GetKept(Request):
    """`Spool.kept`."""

    since_ms: int
    until_ms: int
    after: tuple[int, int] | None
    limit: int
    result: tuple[Kept, ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class AskKept(Request):
    """`Spool.kept_states`."""

    ids: tuple[str, ...]
    result: KeptStates = field(default_factory=KeptStates)


@dataclass(slots=True, kw_only=True, eq=False)
class SendAgain(Request):
    """`Spool.send_again`."""

    items: tuple[tuple[Kept, NewDelivery], ...]
    clock_started_ms: int
    result: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True, eq=False)
class OldestKept(Request):
    """`Spool.oldest_kept_ms`."""

    result: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Trace(Request):
    """`Spool.trace`."""

    notification_id: str
    result: TracedNotification | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class FindMentions(Request):
    """`Spool.mentions`."""

    needles: tuple[bytes, ...]
    before: int | None
    result: Mentions = field(default_factory=lambda: Mentions(notifications=(), bodies=0, before=None))


@dataclass(slots=True, kw_only=True, eq=False)
class AskLetters(Request):
    """A question to the index of dead letters, or a change of it (`Spool.letters`)."""

    ask: Callable[[Any], object]
    """Is given what runs a named statement, in a transaction."""
    writes: bool
    result: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a batch did that the Trio side has to know, once it is durable."""

    pending: dict[str, int] = field(default_factory=dict)
    """Change of the number of deliveries, by target."""
    pending_bytes: dict[str, int] = field(default_factory=dict)
    """Change of the bytes of their notifications, by target."""
    ready: frozenset[str] = frozenset()
    """Targets with deliveries that became due at once."""
    fresh: tuple[tuple[Offer, tuple[Lease, ...]], ...] = ()
    """What was leased as it was stored, and whose offer took it."""
    failure: GatewayError | None = None
    """Why something could not be stored."""
    stored: bool = False
    """Whether something new was stored: there is room."""
    wrote: bool = False
    """Whether anything was written, so that the commit met the disk."""


def forget_answers(batch: Sequence[Request]) -> None:
    """Take back what a transaction that failed has answered: the next one may find nothing to answer."""
    for request in batch:
        request.error = None
        if isinstance(request, Take):
            request.result, request.is_done = (), False
        elif isinstance(request, TakeOldest):
            request.result = ()
