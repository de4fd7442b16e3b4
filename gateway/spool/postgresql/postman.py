"""What gateways say to each other, carried by the database: on a thread and a connection of its own.

Every two seconds it enters its own row anew and reads those of the others, so that each knows who there is,
since when, and when it was last heard of, by the database's clock. With its row a gateway publishes a digest:
what the others are to know without asking. Questions and answers are rows; whom one is for takes it out, by
deleting it, so nobody takes it twice. A notice says that there is one; it is a hint, and who waits for
something looks after a quarter of a second anyway. Whatever is too old is removed by whoever comes by.

The tables are not logged. So this costs the disk nothing, no commit of it waits for a standby, and after a
crash of the server or a promotion all of it is gone: then everybody enters anew, and who waits asks again.

What comes out of the rows is others' and may be anything. Nothing of it ends the thread: what cannot be
unpacked, or is too large, counts as nothing.
"""

import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from gateway.errors import GatewayError
from gateway.spool.exchange import Card, Question, Replica
from gateway.spool.postgresql.bell import Bell
from gateway.spool.postgresql.link import Link

BEAT_SECONDS: Final = 2.0
"""Between two looks at who is there; also how late a question is seen whose notice was lost."""
POLL_SECONDS: Final = 0.25
"""The same for an answer, while somebody waits for one."""
RETRY_SECONDS: Final = 1.0
"""Between two tries to reach a database that is away."""
LEAVE_SECONDS: Final = 3.0
"""For taking leave: a database that hangs must not keep a gateway from ending. Silence tells, too."""
TIDY_SECONDS: Final = 10.0
"""Between two removals of what nobody waits for any more."""
SILENT_MS: Final = 3_600_000
"""After which one that is not heard of is forgotten: as long as its writers count (`scout`)."""
MOST_REPLICAS: Final = 1000
"""Read at a time: far more than a database bears (docs/scaling.md)."""
MOST_ROWS: Final = 100
"""Taken at a time; the next hundred in the next round."""
MOST_BYTES: Final = 64 * 1024**2
"""Of one content unpacked, as between a supervisor and its workers; packed it is no larger."""
_LEVEL: Final = 1
"""Of compression: JSON becomes a fifth in a few milliseconds a MiB; more costs more than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look has shown."""

    replicas: tuple[Replica, ...]
    """All that are known, our own too; the oldest first."""
    looked_at: float
    """By `time.monotonic`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A question for some, or an answer to one."""

    id: int
    """Of the question."""
    to: tuple[int, ...]
    within_seconds: float
    content: bytes
    is_answer: bool


class Postman:
    """Beats, looks, carries, and tidies up."""

    def __init__(
        self,
        link: Link,
        card: Card,
        *,
        seen: Callable[[Sight], None],
        asked: Callable[[Question], None],
        answered: Callable[[int, int, bytes], None],
        unreachable: Callable[[str], None],
    ) -> None:
        """The last four are called on the Trio thread and must not raise. `answered`: the question's id, the
        replica's, and what it says; nothing where that was no use."""
        self._link = link
        self._card = card
        self._seen = seen
        self._asked = asked
        self._answered = answered
        self._unreachable = unreachable
        self._outgoing: deque[Outgoing] = deque()
        self._digest: bytes | None = None
        self._published: bytes | None = None
        self._digests: dict[int, tuple[int, bytes]] = {}
        self._started_at = time.monotonic()
        self._beats_at = self._tidies_at = self._waits_until = float("-inf")
        self._bell = Bell()
        self._token = trio.lowlevel.current_trio_token()
        self._stopping = threading.Event()
        self._ended = trio.Event()
        # Daemon: should the Trio run crash, the thread must not keep the process.
        self._thread = threading.Thread(target=self._run, name="spool-postman", daemon=True)
        self._thread.start()

    def post(self, outgoing: Outgoing) -> None:
        """Have it carried, soon; not at all where the database is away."""
        if not self._stopping.is_set():
            self._outgoing.append(outgoing)
            self._bell.ring()

    def publish(self, digest: bytes) -> None:
        """Have the others know it with the next beat."""
        self._digest = digest

    async def close(self) -> None:
        """Take leave of the others, and end."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._bell.ring()
        with trio.move_on_after(LEAVE_SECONDS) as scope:
            scope.shield = True
            await self._ended.wait()

    # -- the thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._connect()
                    while not self._stopping.is_set():
                        self._round()
                except GatewayError as error:
                    # A spool that is broken for good ends the process by its writers, not by this.
                    self._link.close()
                    self._outgoing.clear()
                    self._token.run_sync_soon(self._unreachable, error.message)
                    self._stopping.wait(RETRY_SECONDS)
            self._leave()
            self._token.run_sync_soon(self._end)
        except trio.RunFinishedError:
            self._link.close()

    def _end(self) -> None:
        self._bell.close()
        self._ended.set()

    def _connect(self) -> None:
        self._link.open()
        self._link.execute(f"LISTEN gateway_replica_{self._card.id}")
        self._beats_at = float("-inf")

    def _leave(self) -> None:
        """Remove the own row; where that fails, silence tells the others."""
        with suppress(GatewayError):
            self._link.rows("leave_replica", id=self._card.id)
        self._link.close()

    def _round(self) -> None:
        if time.monotonic() >= self._beats_at:
            self._beat()
            self._beats_at = time.monotonic() + BEAT_SECONDS
        while self._outgoing:
            self._send(self._outgoing[0])
            self._outgoing.popleft()
        is_waiting = time.monotonic() < self._waits_until
        if not self._card.is_visitor:
            self._take_questions()
        if is_waiting:
            self._take_answers()
        seconds = max(0.0, self._beats_at - time.monotonic())
        self._link.wait_notice(min(seconds, POLL_SECONDS) if is_waiting else seconds, self._bell.descriptor)
        self._bell.hear()

    def _beat(self) -> None:
        if not self._card.is_visitor:
            self._enter()
        rows = self._link.rows("replicas", most=MOST_REPLICAS)
        self._read_digests({row[0]: row[6] for row in rows if row[0] != self._card.id})
        replicas = tuple(
            Replica(
                id=id_,
                name=name,
                directory=directory,
                version=version,
                started_at_ms=started_at_ms,
                silent_ms=silent_ms,
                digest=self._digests.get(id_, (0, b""))[1],
                digest_number=number,
            )
            for id_, name, directory, version, started_at_ms, silent_ms, number in rows
        )
        sight = Sight(replicas=replicas, looked_at=time.monotonic())
        self._token.run_sync_soon(self._seen, sight)
        if not self._card.is_visitor and time.monotonic() >= self._tidies_at:
            self._tidies_at = time.monotonic() + TIDY_SECONDS
            self._link.rows("tidy_exchange", silent_ms=SILENT_MS)

    def _enter(self) -> None:
        """Enter the own row anew: it may be gone, with all of the table."""
        card = self._card
        if not self._link.rows("beat_replica", id=card.id):
            self._published = None
            self._link.rows(
                "enter_replica",
                id=card.id,
                name=card.name,
                host=card.host,
                directory=card.directory,
                version=card.version,
                age_ms=round((time.monotonic() - self._started_at) * 1000),
            )
        digest = self._digest
        if digest is not None and digest is not self._published:
            self._link.rows("publish_digest", id=card.id, digest=pack(digest))
            self._published = digest

    def _read_digests(self, numbers: dict[int, int]) -> None:
        """Read those that are new; a gateway that is gone takes its own with it."""
        self._digests = {id_: known for id_, known in self._digests.items() if id_ in numbers}
        new = [id_ for id_, number in numbers.items() if self._digests.get(id_, (0, b""))[0] != number]
        if new:
            for id_, number, packed in self._link.rows("digests", ids=new, most_bytes=MOST_BYTES):
                self._digests[id_] = (number, unpack(packed))

    def _send(self, one: Outgoing) -> None:
        within_ms = round(one.within_seconds * 1000)
        content = pack(one.content)
        if one.is_answer:
            [asker] = one.to
            self._link.rows(
                "answer_question",
                question=one.id,
                id=self._card.id,
                asker=asker,
                within_ms=within_ms,
                content=content,
            )
        else:
            self._link.rows(
                "ask_replicas",
                id=one.id,
                asker=self._card.id,
                addressees=list(one.to),
                within_ms=within_ms,
                content=content,
            )
            self._waits_until = max(self._waits_until, time.monotonic() + one.within_seconds)

    def _take_questions(self) -> None:
        for id_, asker, left_ms, packed in self._taken("take_questions"):
            if left_ms > 0 and (content := unpack(packed)):
                question = Question(id=id_, asker=asker, within_seconds=left_ms / 1000, content=content)
                self._token.run_sync_soon(self._asked, question)

    def _take_answers(self) -> None:
        for question, replica, packed in self._taken("take_answers"):
            self._token.run_sync_soon(self._answered, question, replica, unpack(packed))

    def _taken(self, name: str) -> list[Any]:
        rows = self._link.rows(name, id=self._card.id, most=MOST_ROWS, most_bytes=MOST_BYTES)
        if len(rows) == MOST_ROWS:
            self._bell.ring()
        return rows


def pack(content: bytes) -> bytes:
    """Compress, for a row."""
    return zlib.compress(content, _LEVEL)


def unpack(packed: bytes | None) -> bytes:
    """Return what was packed; nothing where it is garbage, cut off, or more than `MOST_BYTES`."""
    if packed is None:
        return b""
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(packed, MOST_BYTES)
    except zlib.error:
        return b""
    return content if unpacking.eof else b""


def aged(one: Replica, ms: int) -> Replica:
    """Return it as it is so much later, if it was not heard of meanwhile."""
    return replace(one, silent_ms=one.silent_ms + max(0, ms))
