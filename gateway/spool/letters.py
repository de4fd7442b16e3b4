"""The index of dead letters that gateways share: what a spool in a database promises besides (33 to 35).

Dead letters are files, each in the directory of one gateway or in one for several. Where gateways share a
spool, the spool says which letters there are and where; a gateway with a spool of its own needs no index,
since its directory is the truth.

33. `Buried` with a `letter` lists it in the transaction in which the delivery goes; nothing else takes a
    delivery out of the spool and lists it, so a letter is listed exactly when its delivery is not there.
34. `restore` with a `taken` letter removes it from the index, and fences what was taken out, in the
    transaction in which its deliveries come back; where nothing comes back, both stay as they are. Nothing
    does of what `bring_back` has brought back before: of the two, one happens.
35. What is `FENCED` stays so for `FENCED_KEPT_MS`, whatever happens then; what is not known to be is never
    said to be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import msgspec

FENCED_KEPT_MS: Final = 90 * 86_400_000
"""A gateway that comes back later keeps what it finds, to be on the safe side."""
GONE_MS: Final = 3 * 3_600_000
"""A directory that no gateway has had for so long, three hourly looks, is taken for gone."""


class ListedLetter(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a list tells of one letter, nothing of its body. In the order of the columns of the table."""

    id: str
    place: str
    """The directory, by the number that it bears."""
    token: int
    """Of the lease under which it was written; 0: it was found."""
    received_at_ms: int
    died_at_ms: int
    target: str
    reason: str
    """Empty where the file cannot be read; then the rest is not known, and `problem` says why."""
    app: str
    object: str | None
    fields: tuple[str, ...]
    kinds: tuple[str, ...]
    waba: str | None
    phone_number_id: str | None
    attempts: int
    last_status: int | None
    last_error: str
    body_bytes: int
    problem: str = ""


class LetterState(StrEnum):
    """What is certain of a file that was written, or taken out, under a token and not published."""

    LISTED = "listed"
    """The letter is listed: this is its file."""
    FENCED = "fenced"
    """Nobody needs it: the delivery went on after it."""
    HELD = "held"
    """The lease under which it was written may still be settled."""
    UNKNOWN = "unknown"
    """Nothing is certain: it may be all that is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenLetter:
    """A letter whose file was taken out of the directory, to be replayed."""

    id: str
    token: int
    """Under which it was taken out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterPlace:
    """A directory of dead letters."""

    id: str
    gateway: str
    """`host:process` of who had it last."""
    directory: str
    silent_ms: int
    """Since a gateway was last known to have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterQuery:
    """Which letters, and how many. Times are Unix milliseconds of acceptance, both ends included."""

    target: str | None = None
    since_ms: int = 0
    until_ms: int = 2**62
    after: tuple[int, str] | None = None
    """Time of acceptance and id of the last one that is known."""
    newest_first: bool = False
    limit: int = 500


class LetterIndex(Protocol):
    """The index. All raise SpoolUnavailableError where it cannot be asked, and SpoolBrokenError."""

    async def page(self, query: LetterQuery) -> tuple[ListedLetter, ...]:
        """Return some, in order of acceptance or the other way round; none: there are no more."""
        ...

    async def named(self, ids: Sequence[str]) -> Mapping[str, ListedLetter]:
        """Return those of these ids that are listed."""
        ...

    async def beginning(self, begin: str, *, limit: int) -> tuple[str, ...]:
        """Return ids that begin so, in order."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """Return how many there are, by target."""
        ...

    async def states(self, files: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], LetterState]:
        """Say what is certain of files, by id and token."""
        ...

    async def bring_back(self, identifier: str, token: int, *, place: str) -> bool:
        """Say of a letter of one place that what was taken out under this number is its file again: it is
        `LISTED`. False where it is not listed there, or is stored (`FENCED`)."""
        ...

    async def unlisted(self, place: str, ids: Sequence[str]) -> frozenset[str]:
        """Of files that lie in a place, return those that are to be read and added: they are not listed, or
        at a place that is gone, or could not be read; and their deliveries do not wait."""
        ...

    async def add(self, letters: Sequence[ListedLetter]) -> frozenset[str]:
        """List what was found; return the ids of those that were. What waits, or is listed at another place
        that is not gone, is left as it is."""
        ...

    async def remove(self, ids: Sequence[str], *, place: str) -> frozenset[str]:
        """Take letters of one place off the list; return which were on it."""
        ...

    async def at(self, place: str, *, after: str, limit: int) -> tuple[tuple[str, str, int], ...]:
        """Return id, target and time of acceptance of letters of one place, in order of the ids."""
        ...

    async def announce(self, place: str, *, gateway: str, directory: str) -> None:
        """Say who has a place now. What was fenced, or is gone, for long is forgotten."""
        ...

    async def places(self) -> Mapping[str, LetterPlace]:
        """Return all places that are known."""
        ...

    async def seal_key(self, own: bytes) -> bytes:
        """Return the one key of all seals: who asks first has brought it."""
        ...
