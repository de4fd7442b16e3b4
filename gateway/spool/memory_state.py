"""What of the spool in memory a disk would keep: opening it again is a restart."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.pausing import Pauses
from gateway.spool import duplicates
from gateway.spool.contract import NewDelivery, Notification
from gateway.spool.history import AttemptRecord

Key = tuple[int, int, int]
"""Order of acceptance: received_at_ms, sequence of the notification, position in it."""


@dataclass(slots=True, kw_only=True)
class StoredDelivery:
    """One delivery, and what became of it so far."""

    notification: Notification
    new: NewDelivery
    clock_started_ms: int
    due_ms: int = 0
    attempt: int = 0
    attempt_at_ms: int | None = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    group_key: str | None = None

    @property
    def app(self) -> str:
        """Of its notification."""
        return self.notification.body.app

    @property
    def object(self) -> str | None:
        """Of its notification's envelope."""
        return self.notification.object

    @property
    def lane(self) -> int:
        """Its number."""
        return self.new.lane

    @property
    def changes(self) -> int:
        """How many it is about."""
        return self.new.changes

    @property
    def raw_bytes(self) -> int:
        """Of its notification."""
        return len(self.notification.body.raw)


@dataclass(slots=True, kw_only=True)
class MemoryState:
    """What outlives an opening. `full` and `failing` stand for the troubles of a disk."""

    deliveries: dict[Key, StoredDelivery] = field(default_factory=dict)
    buckets: duplicates.Buckets = ()
    seen: dict[int, set[bytes]] = field(default_factory=dict)
    """Digests by bucket."""
    kept: dict[Key, tuple[StoredDelivery, int]] = field(default_factory=dict)
    """What was delivered, and when."""
    pauses: dict[str, Pauses] = field(default_factory=dict)
    damaged: dict[str, bytes] = field(default_factory=dict)
    """By notification id: what became of its bytes."""
    next_seq: int = 1
    opened: bool = False
    full: bool = False
    """Nothing new can be stored."""
    failing: bool = False
    """The next call meets a failed disk."""

    def remember(self, notification: Notification, limits: duplicates.Limits) -> bool:
        """Note the bytes; False where they are a duplicate."""
        now_ms = notification.received_at_ms
        key = duplicates.digest(notification.body.app, notification.body.raw)
        if any(key in self.seen[bucket] for bucket in duplicates.alive(self.buckets, now_ms, limits)):
            return False
        self.buckets = duplicates.with_current(self.buckets, now_ms, limits)
        current = self.buckets[-1].id
        self.seen.setdefault(current, set()).add(key)
        self.buckets = duplicates.with_keys(self.buckets, current, 1)
        while (excess := duplicates.excess(self.buckets, now_ms, limits)) is not None:
            bucket = excess.bucket.id
            self.seen[bucket] -= set(sorted(self.seen[bucket])[: excess.keys])
            self.buckets = duplicates.with_keys(self.buckets, bucket, -excess.keys)
        return True

    def forget_kept(self, until_ms: int) -> None:
        """Drop what was delivered by then."""
        self.kept = {key: one for key, one in self.kept.items() if one[1] > until_ms}

    def oldest(self, read: Callable[[StoredDelivery], int]) -> dict[str, int]:
        """Return the least of a time, by target."""
        oldest: dict[str, int] = {}
        for found in self.deliveries.values():
            at_ms = read(found)
            oldest[found.new.target] = min(at_ms, oldest.get(found.new.target, at_ms))
        return oldest

    def waiting(self, target: str) -> set[Key]:
        """Return what waits for an earlier delivery: order is that of storing."""
        taken: set[int] = set()
        waiting = set()
        for key, found in sorted(self.deliveries.items(), key=lambda item: item[0][1:]):
            if found.new.target == target:
                if not taken.isdisjoint(found.new.order_keys):
                    waiting.add(key)
                taken.update(found.new.order_keys)
        return waiting
