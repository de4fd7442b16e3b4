"""Merging: which waiting deliveries go out in one POST. `joining` makes one envelope of theirs.

The rules (contract, section 4, "Merging"), and how they are read here:

- Only whole deliveries of one app, one object and one lane, in order of acceptance. Whoever does not fit
  closes the group: nothing of that app, object and lane overtakes it into an earlier POST. Others in between
  do not.
- Only what was never attempted. A delivery that went out alone has been seen under its own key, and a target
  that took it before its answer was lost could not know it again under another.
- What holds more changes than may be merged goes alone, and so does what cannot be joined without loss (see
  `joining.joinable_object`).
- A lone one never waits: what is there when a hand is free is all that is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

MAX_MERGED_BYTES: Final = 3 * 1024**2
"""Meta's own limit for one notification: a target that takes Meta's bodies takes merged ones."""
MAX_MERGED_CHANGES: Final = 10_000
"""More than 3 MiB of the smallest changes hold; it bounds what is looked at for one lease."""
FAILURES_TOGETHER: Final = 2
"""Retryable failures after which the members of a group go singly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """How far deliveries of one target may be merged."""

    max_changes: int
    max_bytes: int = MAX_MERGED_BYTES


class Waiting(Protocol):
    """What is to be known of a delivery that is due."""

    @property
    def app(self) -> str: ...

    @property
    def object(self) -> str | None:
        """None: it cannot be joined with others."""

    @property
    def lane(self) -> int: ...

    @property
    def changes(self) -> int: ...

    @property
    def raw_bytes(self) -> int:
        """Of its whole notification: at least what it adds to a merged body."""

    @property
    def attempt(self) -> int:
        """Attempts begun so far."""

    @property
    def group_key(self) -> str | None:
        """The group that it went with, and goes with again."""


Due = TypeVar("Due", bound=Waiting)
Member = TypeVar("Member")


def plan_groups(due: Sequence[Due], *, limit: int, merging: Merging | None) -> list[list[Due]]:
    """Divide what is due, by lane and acceptance, into at most `limit` POSTs, in order of their first member.

    A POST of one member is a delivery alone. Of a group that has gone out before, the members that are in
    `due` make one POST: the caller adds the rest.
    """
    posts: list[list[Due]] = []
    known: dict[str, list[Due]] = {}
    room: dict[tuple[str, str, int], _Room[Due]] = {}
    for one in due:
        if one.group_key is not None and one.group_key in known:
            known[one.group_key].append(one)
            continue
        fits = one.group_key is None and merging is not None and may_merge(one, merging)
        kind = (one.app, one.object or "", one.lane)
        if fits and kind in room and room[kind].take(one):
            continue
        closes = one.group_key is None and one.attempt == 0 and one.object is not None
        if len(posts) == limit:
            if closes and merging is not None:
                room[kind] = _Room(members=[], changes=0, size_bytes=0)
            continue
        posts.append([one])
        if one.group_key is not None:
            known[one.group_key] = posts[-1]
        elif fits and merging is not None:
            room[kind] = _Room(
                members=posts[-1],
                changes=merging.max_changes - one.changes,
                size_bytes=merging.max_bytes - one.raw_bytes,
            )
        elif closes:
            room.pop(kind, None)
    return posts


def may_merge(one: Waiting, merging: Merging) -> bool:
    """Whether a delivery may share a POST at all."""
    return (
        one.attempt == 0
        and one.object is not None
        and one.changes < merging.max_changes
        and one.raw_bytes < merging.max_bytes
    )


@dataclass(slots=True, kw_only=True)
class _Room(Generic[Due]):
    """A POST that is being filled."""

    members: list[Due]
    changes: int
    """How many more it takes; a closed one takes none."""
    size_bytes: int

    def take(self, one: Due) -> bool:
        """Add a member; where it does not fit, the POST is closed."""
        if not self.members or one.changes > self.changes or one.raw_bytes > self.size_bytes:
            self.changes = self.size_bytes = -1
            return False
        self.members.append(one)
        self.changes -= one.changes
        self.size_bytes -= one.raw_bytes
        return True


def group_key(first_delivery_id: str, members: int) -> str:
    """Return the key of a group: `<id of its first member>+<number of the others>`.

    Derived, never drawn. No two groups share one: a delivery joins a group only before its first attempt, and
    after that its group can only be split, so that each later group which it leads is smaller.
    """
    return f"{first_delivery_id}+{members - 1}"


def halves(members: Sequence[Member]) -> tuple[Sequence[Member], Sequence[Member]]:
    """Split a group that was refused; the first half is the larger one."""
    middle = (len(members) + 1) // 2
    return members[:middle], members[middle:]
