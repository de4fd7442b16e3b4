"""How gateways that share a spool know and ask each other: what is known of one, and what an exchange does.

Kept by `postgresql.exchange`, whose text says how. With a spool of its own a gateway has no others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

ALIVE_MS: Final = 10_000
"""Five beats: one or two may be late on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Who a gateway is."""

    id: int
    """Drawn at its start; of 63 bits."""
    name: str
    """`host:process`."""
    host: str
    directory: str
    """Of its spool."""
    version: str
    """Of the program."""
    is_visitor: bool = False
    """It only asks: a command, while no gateway runs on its directory. It has no row; nobody asks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A gateway, as its row shows it."""

    id: int
    name: str
    directory: str
    version: str
    started_at_ms: int
    """Unix time, by the database's clock."""
    silent_ms: int
    """For how long it was not heard of, by the same clock."""
    digest: bytes
    """What it has published; empty: nothing yet, or nothing that can be unpacked."""
    digest_number: int
    """Another one with each that it publishes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One that has come."""

    id: int
    asker: int
    within_seconds: float
    """How long somebody waits for the answer."""
    content: bytes


class Exchange(Protocol):
    """One gateway's part in it."""

    @property
    def own(self) -> Card:
        """Who we are."""
        ...

    @property
    def unreachable(self) -> str:
        """Why the database cannot be asked now; empty: it can."""
        ...

    async def wait_seen(self) -> None:
        """Return after the first look at who is there."""
        ...

    def replicas(self) -> tuple[Replica, ...]:
        """Return all that are known, our own too, the oldest first: as of the last look, and older by now."""
        ...

    def others(self) -> tuple[Replica, ...]:
        """Return the others."""
        ...

    def publish(self, digest: bytes) -> None:
        """Have the others know it with the next beat, within two seconds."""
        ...

    async def ask_all(self, content: bytes, *, within_seconds: float) -> Mapping[int, bytes]:
        """Ask all others that are alive; what they say, by their ids. Who did not in time is missing."""
        ...

    async def ask(self, replica: int, content: bytes, *, within_seconds: float) -> bytes:
        """Ask one.

        Raises:
            SpoolUnavailableError: the database is away.
            PeerError: it is gone, or did not answer in time.
        """
        ...

    async def next_question(self) -> Question:
        """Return the next question; it waits for one."""
        ...

    def answer(self, question: Question, content: bytes) -> None:
        """Answer one; perhaps nobody waits any more."""
        ...


def is_alive(replica: Replica) -> bool:
    """Whether it was heard of lately."""
    return replica.silent_ms < ALIVE_MS
