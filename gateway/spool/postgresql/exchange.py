"""How the gateways on one database know and ask each other; the side on the Trio thread (`postman` carries).

    async with open_exchange(settings.spool, ...) as exchange:     # gateway.spool.opening; None with SQLite
        exchange.replicas()                    who there is: name, version, since when, when last heard of
        await exchange.ask(ID, content, ...)   one of them; `ask_all` all that are alive; bytes both ways
        await exchange.next_question()         what others ask; `exchange.answer(question, content)`
        exchange.publish(content)              what the others read with our row, as `Replica.digest`

It carries bytes and knows nothing of what they mean: `gateway.process.replicas` does. A question has a
deadline on all sides. Who is alive was heard of within ten seconds; others are not asked, since nobody should
wait for the dead. A gateway that does not answer in time is missing from what `ask_all` returns: the caller
names it. While the database is away nothing is waited for, nobody answers, and all grow silent; it goes on by
itself. Nothing of this is on the way of an acknowledgement: that has connections of its own.

A row of a gateway outlives its end by `kill -9` for an hour, unless the same one (host and directory) starts
again. One that stops in order takes its row away. What must outlive a crash of the database must not be kept
here: the tables are not logged.
"""

import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from gateway import __version__
from gateway.errors import PeerError, SpoolUnavailableError
from gateway.settings.secret import Secret
from gateway.spool.exchange import Card, Question, Replica, is_alive
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.postman import Outgoing, Postman, Sight, aged
from gateway.telemetry.log import get_logger

QUESTIONS_QUEUED: Final = 64
"""Questions that wait to be answered; more are dropped, and who asks is told that nobody answered."""

log = get_logger("spool")


@dataclass(slots=True)
class _Waiting:
    missing: set[int]
    answers: dict[int, bytes] = field(default_factory=dict)
    done: trio.Event = field(default_factory=trio.Event)


@asynccontextmanager
async def open_exchange(
    dsn: Secret, directory: Path, *, is_visitor: bool = False
) -> AsyncIterator["Exchange"]:
    """Take part, until the end of the block. It does not wait for the database: see `Exchange.wait_seen`.

    `directory` is that of the spool, absolute, which the caller holds; `is_visitor`: only to ask, unseen.
    """
    host = socket.gethostname()
    card = Card(
        id=secrets.randbits(63),
        name=f"{host}:{os.getpid()}",
        host=host,
        directory=str(directory),
        version=__version__,
        is_visitor=is_visitor,
    )
    exchange = Exchange(dsn, card)
    try:
        yield exchange
    finally:
        await exchange.close()


class Exchange:
    """A `gateway.spool.exchange.Exchange`. Made by `open_exchange`."""

    def __init__(self, dsn: Secret, card: Card) -> None:
        self.own = card
        self._sight = Sight(replicas=(), looked_at=time.monotonic())
        self._seen = trio.Event()
        self._unreachable = ""
        self._overrun = False
        self._waiting: dict[int, _Waiting] = {}
        self._unanswered: dict[int, float] = {}
        """By replica: when it was asked what it has not answered, by `time.monotonic`."""
        self._send, self._receive = trio.open_memory_channel[Question](QUESTIONS_QUEUED)
        self._postman = Postman(
            Link(dsn),
            card,
            seen=self._see,
            asked=self._be_asked,
            answered=self._be_answered,
            unreachable=self._lose,
        )

    @property
    def unreachable(self) -> str:
        """Why the database cannot be asked now; empty: it can."""
        return self._unreachable

    async def wait_seen(self) -> None:
        """Return after the first look at who is there."""
        await self._seen.wait()

    def replicas(self) -> tuple[Replica, ...]:
        """Return all that are known, our own too, the oldest first: as of the last look, and older by now."""
        age_ms = round((time.monotonic() - self._sight.looked_at) * 1000)
        return tuple(aged(one, age_ms) for one in self._sight.replicas)

    def others(self) -> tuple[Replica, ...]:
        """Return the others; to a visitor, what its own gateway has left behind is none."""
        own = self.own
        left_behind = (own.host, own.directory) if own.is_visitor else None
        return tuple(
            one
            for one in self.replicas()
            if one.id != own.id and (one.name.rpartition(":")[0], one.directory) != left_behind
        )

    def publish(self, digest: bytes) -> None:
        """Have the others know it with the next beat, within two seconds."""
        self._postman.publish(digest)

    # -- asking

    async def ask_all(self, content: bytes, *, within_seconds: float) -> Mapping[int, bytes]:
        """Ask all others that are alive; what they say, by their ids. Who did not in time is missing, and is
        not asked again before it is heard of: one that has just died costs one look, and not each."""
        now = time.monotonic()
        never = float("-inf")
        asked = [
            one.id
            for one in self.others()
            if is_alive(one) and now - one.silent_ms / 1000 > self._unanswered.get(one.id, never)
        ]
        return await self._ask(asked, content, within_seconds)

    async def ask(self, replica: int, content: bytes, *, within_seconds: float) -> bytes:
        """Ask one.

        Raises:
            SpoolUnavailableError: the database is away.
            PeerError: it is gone, or did not answer in time.
        """
        said = await self._ask([replica], content, within_seconds)
        if replica not in said:
            if self._unreachable:
                raise SpoolUnavailableError(
                    f"the other gateways cannot be asked: {self._unreachable}",
                    remedy="see that the server runs and can be reached; nothing has to be restarted",
                )
            raise PeerError(
                f"another gateway did not answer within {within_seconds:g} s",
                remedy="see whether it runs: gateway status names it",
            )
        return said[replica]

    async def _ask(self, replicas: list[int], content: bytes, within_seconds: float) -> Mapping[int, bytes]:
        if not replicas or self._unreachable:
            return {}
        number, asked_at = secrets.randbits(63), time.monotonic()
        waiting = self._waiting[number] = _Waiting(set(replicas))
        self._postman.post(
            Outgoing(
                id=number,
                to=tuple(replicas),
                within_seconds=within_seconds,
                content=content,
                is_answer=False,
            )
        )
        try:
            with trio.move_on_after(within_seconds):
                await waiting.done.wait()
        finally:
            del self._waiting[number]
        if not self._unreachable:
            self._unanswered |= dict.fromkeys(waiting.missing, asked_at)
        return waiting.answers

    # -- being asked

    async def next_question(self) -> Question:
        """Return the next question; it waits for one."""
        return await self._receive.receive()

    def answer(self, question: Question, content: bytes) -> None:
        """Answer one; perhaps nobody waits any more."""
        self._postman.post(
            Outgoing(
                id=question.id,
                to=(question.asker,),
                within_seconds=question.within_seconds,
                content=content,
                is_answer=True,
            )
        )

    async def close(self) -> None:
        """Take leave."""
        await self._postman.close()

    # -- what the postman brings

    def _see(self, sight: Sight) -> None:
        self._sight = sight
        known = {one.id for one in sight.replicas}
        self._unanswered = {id_: at for id_, at in self._unanswered.items() if id_ in known}
        if self._unreachable:
            self._unreachable = ""
            log.info("exchange_reachable")
        self._seen.set()

    def _be_asked(self, question: Question) -> None:
        try:
            self._send.send_nowait(question)
        except trio.WouldBlock:
            if not self._overrun:
                log.warning("exchange_overrun", queued=QUESTIONS_QUEUED)
            self._overrun = True
        else:
            self._overrun = False

    def _be_answered(self, question: int, replica: int, content: bytes) -> None:
        waiting = self._waiting.get(question)
        if waiting is None or replica not in waiting.missing:
            return  # too late, or nobody whom we have asked
        waiting.missing.remove(replica)
        self._unanswered.pop(replica, None)
        if content:
            waiting.answers[replica] = content
        if not waiting.missing:
            waiting.done.set()

    def _lose(self, detail: str) -> None:
        if not self._unreachable:
            log.warning("exchange_unreachable", detail=detail)
        self._unreachable = detail
        for waiting in self._waiting.values():
            waiting.done.set()
