"""Gateways that share a spool, as far as dead letters go: each step of a burial, a replay and a discard by
itself, so that others may come in between, and a `kill` at each."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway.core.routing import RoutingTable
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DeadLetter, Reason, summarize
from gateway.delivery.replay import Known, prepare
from gateway.delivery.shared_letters import SharedLetters
from gateway.spool import requests
from gateway.spool.contract import Buried, Done, Lease, Notification
from gateway.spool.duplicates import Limits
from gateway.spool.letters import TakenLetter
from gateway.spool.postgresql.engine import Engine
from gateway.spool.postgresql.letters import Letters, Rows
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.migrations import LATEST
from gateway.spool.postgresql.partitions import Days

KNOWN = Known(
    apps=frozenset({"main"}),
    targets=frozenset({"support"}),
    table=RoutingTable((), payload_original=frozenset(), drop_unrouted=False),
)
HOLD_MS = 15_000
AnyRequest = TypeVar("AnyRequest", bound=requests.Request)


def letter_of(lease: Lease, *, died_at_ms: int) -> DeadLetter:
    """Return what is buried of a lease."""
    return DeadLetter(
        id=lease.delivery_id,
        notification_id=lease.notification_id,
        app=lease.app,
        target=lease.target,
        url="http://support.internal/hook",
        summary=summarize(lease.raw),
        reason=Reason.REFUSED,
        received_at_ms=lease.received_at_ms,
        died_at_ms=died_at_ms,
        attempts=lease.earlier,
        headers={},
        body=lease.raw,
    )


class Connection:
    """What of a spool is needed, on one connection and without threads. What it leases is in its memory."""

    def __init__(self, link: Link, now_ms: Callable[[], int]) -> None:
        link.open()
        [(writer,)] = link.rows("new_writer", name="test", version=LATEST)
        limits = Limits(window_ms=0, max_keys=0)
        self._engine = Engine(link, writer=writer, limits=limits, keep_ms=0, days=Days(), now_ms=now_ms)
        self._now_ms = now_ms

    @property
    def letters(self) -> Letters:
        return Letters(self._ask)

    async def _ask(self, ask: Callable[[Rows], Any], writes: bool) -> Any:
        return self._run(requests.AskLetters(ask=ask, writes=writes)).result

    def _run(self, request: AnyRequest) -> AnyRequest:
        self._engine.run([request])
        if request.error is not None:
            raise request.error
        return request

    def append(self, notification: Notification) -> None:
        self._run(requests.Append(notification=notification))

    def restore(self, notification: Notification, taken: TakenLetter) -> frozenset[str]:
        request = requests.Restore(notification=notification, clock_started_ms=self._now_ms(), taken=taken)
        return self._run(request).result

    def lease(self) -> Lease | None:
        request = requests.Take(
            target="support",
            now_ms=self._now_ms(),
            limit=1,
            next_due_ms=lambda _: self._now_ms() + 1000,
            hold_ms=HOLD_MS,
        )
        leases = self._run(request).result
        return leases[0] if leases else None

    def settle(self, lease: Lease, settlement: Buried | Done) -> bool:
        return self._run(requests.Settle(settled=((lease.token, settlement),))).result


class Gateway:
    """One of them. What it is about is a step at a time; `kill` forgets all but the disk."""

    def __init__(self, link: Link, directory: Path, key: bytes, now_ms: Callable[[], int]) -> None:
        self.directory = directory
        self._link = link
        self._key = key
        self._now_ms = now_ms
        self._work: dict[str, AsyncGenerator[None, None]] = {}
        self.delivered: set[str] = set()
        self.discarded: set[str] = set()

    async def start(self) -> None:
        """Open the spool and the directory."""
        self.spool = Connection(self._link, self._now_ms)
        self.store = DeadLetterStore(self.directory, self._key)
        self.letters = SharedLetters(self.store, self.spool.letters, now_ms=self._now_ms)
        await self.letters.open()

    async def kill(self) -> None:
        """End at once, and start anew."""
        for work in self._work.values():
            await work.aclose()
        self._work = {}
        await self.start()

    async def step(self, what: str) -> None:
        """Do the next step of something; begin it anew where it has ended."""
        if what not in self._work:
            begin = {"bury": self._bury, "deliver": self._deliver, "replay": self._replay}
            self._work[what] = begin.get(what, self._discard)()
        try:
            await anext(self._work[what])
        except StopAsyncIteration:
            del self._work[what]

    async def _bury(self) -> AsyncGenerator[None, None]:
        lease = self.spool.lease()
        if lease is None:
            return
        yield
        line = self.letters.write(letter_of(lease, died_at_ms=self._now_ms()), lease.token)
        yield
        settled = self.spool.settle(lease, Buried(letter=line))
        yield
        await self.letters.conclude([lease.token], settled=settled)

    async def _deliver(self) -> AsyncGenerator[None, None]:
        lease = self.spool.lease()
        if lease is None:
            return
        yield
        # The target has it, whoever settles.
        if self.spool.settle(lease, Done()):
            self.delivered.add(lease.delivery_id)

    async def _chosen(self) -> tuple[Found, DeadLetter] | None:
        for one in self.store.iterate():
            found = await self.letters.find(one.id)
            if isinstance(found, Found):
                return found, self.store.read(found)
        return None

    async def _replay(self) -> AsyncGenerator[None, None]:
        chosen = await self._chosen()
        if chosen is None:
            return
        found, letter = chosen
        ready = prepare(letter, known=KNOWN, keys=self.store.keys, accept_edited=False)
        assert isinstance(ready, Notification), "the seal of another gateway does not hold"
        taken = self.letters.take_out(found)
        yield
        if taken is None:
            return
        added = self.spool.restore(ready, TakenLetter(id=letter.id, token=taken.token))
        yield
        if not added and await self.letters.is_back(taken):
            return
        if added:
            self.letters.withdraw(taken, found.parts)
        else:
            self.letters.put_back(taken, found.parts)

    async def _discard(self) -> AsyncGenerator[None, None]:
        chosen = await self._chosen()
        if chosen is None:
            return
        found, _ = chosen
        if self.store.remove(found):
            self.discarded.add(found.id)
        yield
        await self.letters.unlist([found.id])
