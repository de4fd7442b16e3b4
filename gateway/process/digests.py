"""What gateways on one database publish for each other's judgement, and what the others make of it.

It comes with their rows, and nobody is asked (`replicas`). Whoever may write to the database may have written
it: what cannot be read, or reckoned with, counts as nothing.
"""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.core.conditions import TargetSeen
from gateway.core.heard import Heard, Slot
from gateway.process.observing import Facts
from gateway.spool.exchange import Exchange, Replica, is_alive

MOST_REMEMBERED: Final = 64
"""Gateways that are gone, whose digests count on."""
LATEST_MS: Final = 253_402_300_799_000
"""The end of the year 9999: what is told as a time is before that."""
MOST_COUNTED: Final = 2**53
"""Of anything: what is more is nobody's count, and no number to reckon with."""
MOST_A_SECOND: Final = 1e9


class Digest(msgspec.Struct, kw_only=True):
    """What a gateway publishes for the others' judgement."""

    facts: Facts
    """Without the lines of the ledger."""
    targets: list[TargetSeen]
    rates: list[tuple[list[str], float]] = []


class Digests:
    """What the others have published, those that are gone included."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._read: dict[int, tuple[int, Digest | None]] = {}
        """By replica: the number of its digest, and what it says."""
        self._by_place: dict[tuple[str, str], tuple[int, Facts]] = {}
        """Of a gateway over restarts, by host and directory: the replica, and what it has heard."""

    def alive(self) -> list[Digest]:
        """Return those of gateways that are alive."""
        self._look()
        found = (self._read[one.id][1] for one in self._exchange.others() if is_alive(one))
        return [one for one in found if one is not None]

    def facts(self, now_ms: int) -> dict[int, Facts]:
        """Return what they have heard, by replica; those that are gone listen no more."""
        self._look()
        listening = {one.id for one in self._exchange.others() if is_alive(one)}
        return {
            id_: facts
            if id_ in listening
            else msgspec.structs.replace(facts, listening_since_ms=max(now_ms, facts.listening_since_ms))
            for id_, facts in self._by_place.values()
        }

    def _look(self) -> None:
        others = self._exchange.others()
        self._read = {one.id: self._read_one(one) for one in others}
        for one in others:
            digest = self._read[one.id][1]
            if digest is not None:
                place = _place(one)
                self._by_place.pop(place, None)
                self._by_place[place] = (one.id, digest.facts)
        own = self._exchange.own
        self._by_place.pop((own.host, own.directory), None)
        while len(self._by_place) > MOST_REMEMBERED + len(others):
            del self._by_place[next(iter(self._by_place))]

    def _read_one(self, one: Replica) -> tuple[int, Digest | None]:
        known = self._read.get(one.id)
        if known is not None and known[0] == one.digest_number:
            return known
        try:
            digest = msgspec.json.decode(one.digest, type=Digest) if one.digest else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            digest = None
        return one.digest_number, digest if digest is not None and _is_sane_digest(digest) else None


def _is_sane_digest(one: Digest) -> bool:
    return (
        is_sane(one.facts)
        and all(map(_is_sane_target, one.targets))
        and all(0 <= rate <= MOST_A_SECOND for _, rate in one.rates)
    )


def is_sane(facts: Facts) -> bool:
    """Whether it can be reckoned with: others wrote it."""
    times: Iterable[int] = (
        facts.listening_since_ms,
        *(at_ms for one in facts.tracks for at_ms in (one.first_ms, one.last_ms, one.lag_at_ms)),
        *(at_ms for one in facts.slots for at_ms in _times_of(one)),
        *(at_ms for one in facts.turned_away for at_ms in one.times_ms),
    )
    counts: Iterable[int] = (
        *(one.received for one in facts.tracks),
        *(number for one in facts.tracks for hour_and_came in one.hours.items() for number in hour_and_came),
        *(one.count for one in facts.slots),
        *(count for one in facts.slots for count, _ in one.delivered.values()),
    )
    heard: Iterable[Heard | Slot] = (*facts.tracks, *facts.slots)
    spans: Iterable[float] = (
        *(span for one in heard for span in (one.usual_ms, one.lag_ms or 0)),
        *(one.longest_ms for one in facts.tracks),
    )
    return (
        all(0 <= at_ms <= LATEST_MS for at_ms in times)
        and all(0 <= count <= MOST_COUNTED for count in counts)
        and all(abs(span) <= LATEST_MS for span in spans)
    )


def _times_of(slot: Slot) -> Iterable[int]:
    return (slot.first_ms, slot.last_ms, slot.lag_at_ms, *(at_ms for _, at_ms in slot.delivered.values()))


def _is_sane_target(one: TargetSeen) -> bool:
    times = (one.opened_at_ms or 0, one.last_delivered_ms or 0)
    return (
        all(0 <= at_ms <= LATEST_MS for at_ms in times)
        and 0 <= one.pending <= MOST_COUNTED
        and math.isfinite(one.oldest_seconds * 1000)
    )


def _place(one: Replica) -> tuple[str, str]:
    return one.name.rpartition(":")[0], one.directory
