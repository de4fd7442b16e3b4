"""The refusal ledger: the last 200 refusals, in memory, of connections and of requests.

It has four rooms of fifty, so that what matters is not washed out by what does not: nobody can fill the room
of those that proved to be Meta, or that a staged anchor would have admitted, without a certificate of Meta's;
nor the room of the signed, without an app secret. Anybody can bear Meta's name, so those have a room apart
from the rest, which is what the whole Internet does to an open port.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final, Literal

from gateway.core.identity import LeafSummary

ROOM: Final = 50
"""Entries of each kind: four rooms of 50 are the 200 of the whole."""


class Weight(StrEnum):
    """How much there is to a refusal, the gravest first."""

    PROVED = "proved"
    """It was Meta, or would have been with a staged anchor."""
    SIGNED = "signed"
    """An app secret has signed, and no certificate was accepted (`report`)."""
    CLAIMED = "claimed"
    """It bears the name of a client entry, which proves nothing."""
    NOISE = "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One refusal. No token, no secret, nothing of a body."""

    at_ms: int
    """Unix time."""
    kind: Literal["connection", "request"]
    address: str
    reason: str
    """Of a connection `core.identity.Reason`; of a request the word of its answer, or the former where the
    certificate is what speaks against it."""
    detail: str
    leaf: LeafSummary | None
    """Of the certificate that was presented."""
    claims: str | None
    """The client entry whose name it bears, whatever its chain."""
    staged: str | None
    """What a staged anchor would have said; None: none was asked."""
    would_admit: str | None = None
    """The client entry and the staged anchor that would have admitted it."""
    connection: str
    """How it went on."""
    app: str | None = None
    status: int | None = None
    """Of a request: what it was answered."""
    proved: bool = False
    """The peer had been proved to be a client of the app's."""


class Ledger:
    """Keeps the last refusals of each weight."""

    def __init__(self) -> None:
        self._rooms: dict[Weight, deque[tuple[int, Entry]]] = {
            weight: deque(maxlen=ROOM) for weight in Weight
        }
        self._numbers = count()

    def add(self, entry: Entry, weight: Weight) -> None:
        """Put one in; the oldest of its weight gives way."""
        self._rooms[weight].append((next(self._numbers), entry))

    def newest_first(self) -> Sequence[Entry]:
        """Return all of them."""
        numbered = [one for room in self._rooms.values() for one in room]
        return [entry for _, entry in sorted(numbered, key=lambda one: one[0], reverse=True)]


def weigh(*, proved: bool, signed: bool, claimed: bool) -> Weight:
    """Choose the room of a refusal."""
    table = {Weight.PROVED: proved, Weight.SIGNED: signed, Weight.CLAIMED: claimed}
    return next((weight for weight, holds in table.items() if holds), Weight.NOISE)
