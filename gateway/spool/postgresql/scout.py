"""What one gateway learns of the others, on a thread and a connection of its own.

It looks once a second: what waits, over all gateways, and whether the database answers. Between the looks it
listens: a gateway that has more than it delivers at once says so. That is a hint, and may be lost; whoever
waits for something looks after a second anyway. It also does the upkeep that needs a connection without a
transaction.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from gateway.core.pausing import Pauses
from gateway.errors import SpoolBrokenError, SpoolUnavailableError
from gateway.spool.postgresql.bell import Bell
from gateway.spool.postgresql.link import Link
from gateway.spool.postgresql.partitions import Days, look_after_partitions
from gateway.spool.postgresql.pauses import read_pauses

LOOK_SECONDS: Final = 1.0
"""Between two looks: how much later than at once another gateway takes up what this one leaves."""
TELL_SECONDS: Final = 0.1
"""Between two hints: each costs every gateway a look."""
UPKEEP_SECONDS: Final = 60.0
"""Between two looks at partitions and at accounts of gateways that are gone."""
PAYLOAD_CHARACTERS: Final = 1900
"""PostgreSQL takes payloads of less than 8000 bytes; a target left out is noticed at the next look."""
SILENT_MS: Final = 3_600_000
"""A writer that has not been heard of for so long is gone; an hour is longer than any pause of a machine that
is still to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look has shown."""

    pending: dict[str, int]
    """By target, what the other writers have added up."""
    pending_bytes: dict[str, int]
    size_bytes: int
    peers: int
    """Writers of others."""
    pauses: dict[str, Pauses]
    looked_at: float
    """By `time.monotonic`: before it began."""


class Scout:
    """Looks, listens, tells, and tidies up."""

    def __init__(
        self,
        link: Link,
        *,
        writers: Sequence[int],
        entry: Mapping[str, object],
        days: Days,
        seen: Callable[[Sight], None],
        hinted: Callable[[frozenset[str]], None],
        unreachable: Callable[[str], None],
        broken: Callable[[SpoolBrokenError], None],
    ) -> None:
        """`entry`: what else the others read of a writer. The last four are called on the Trio thread and
        must not raise."""
        self._link = link
        self._writers = list(writers)
        self._entry = entry
        self._days = days
        self._seen = seen
        self._hinted = hinted
        self._unreachable = unreachable
        self._broken = broken
        self._to_tell: deque[frozenset[str]] = deque()
        self._told_at = float("-inf")
        self._name = f"{writers[0]}\n"
        self._bell = Bell()
        self._token = trio.lowlevel.current_trio_token()
        self._stopping = threading.Event()
        self._ended = trio.Event()
        self._listening = False
        self._tidied_at = time.monotonic()
        # Daemon: should the Trio run crash, the thread must not keep the process.
        self._thread = threading.Thread(target=self._run, name="spool-scout", daemon=True)
        self._thread.start()

    def tell(self, targets: frozenset[str]) -> None:
        """Tell the others that something is due; soon, and perhaps."""
        if not self._stopping.is_set():
            self._to_tell.append(targets)
            self._bell.ring()

    async def close(self) -> None:
        """End."""
        self._stopping.set()
        self._bell.ring()
        with trio.CancelScope(shield=True):  # a look takes milliseconds, and has a deadline
            await self._ended.wait()

    # -- the thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._look()
                    self._listen(time.monotonic() + LOOK_SECONDS)
                except SpoolBrokenError as error:
                    self._token.run_sync_soon(self._broken, error)
                    break
                except SpoolUnavailableError as error:
                    self._listening = False
                    self._link.close()
                    self._token.run_sync_soon(self._unreachable, error.message)
                    self._stopping.wait(LOOK_SECONDS)
            self._link.close()
            self._token.run_sync_soon(self._end)
        except trio.RunFinishedError:
            self._link.close()

    def _end(self) -> None:
        self._bell.close()
        self._ended.set()

    def _look(self) -> None:
        self._link.open()
        self._link.keep_session()
        if not self._listening:
            self._link.rows("listen")
            self._listening = True
        self._link.rows("beat", writers=self._writers, **self._entry)
        self._token.run_sync_soon(self._seen, look(self._link, self._writers))
        if time.monotonic() - self._tidied_at > UPKEEP_SECONDS:
            self._tidied_at = time.monotonic()
            look_after_partitions(self._link, self._days)
            self._link.rows("fold_writers", writers=[], silent_ms=SILENT_MS)

    def _listen(self, until: float) -> None:
        """Take hints and give them, until it is time to look again."""
        while not self._stopping.is_set() and (now := time.monotonic()) < until:
            may_tell_at = self._told_at + TELL_SECONDS if self._to_tell else until
            if may_tell_at > now:
                self._hear(min(until, may_tell_at) - now)
            elif told := self._gathered():
                self._told_at = now
                self._link.rows("notify", payload=self._name + "\n".join(sorted(told))[:PAYLOAD_CHARACTERS])

    def _hear(self, seconds: float) -> None:
        targets: set[str] = set()
        for payload in self._link.wait_notice(seconds, self._bell.descriptor):
            if not payload.startswith(self._name):
                targets.update(payload.split("\n")[1:])
        self._bell.hear()
        if targets:
            self._token.run_sync_soon(self._hinted, frozenset(targets))

    def _gathered(self) -> set[str]:
        gathered: set[str] = set()
        while self._to_tell:
            gathered |= self._to_tell.popleft()
        return gathered


def look(link: Link, writers: Sequence[int]) -> Sight:
    """Look at what the writers but these have added up. Raises as `Link.rows`."""
    looked_at = time.monotonic()
    found = link.rows("counts", writers=list(writers))
    [(size_bytes,)] = link.rows("size")
    [(peers,)] = link.rows("peers", writers=list(writers))
    return Sight(
        pending={target: deliveries for target, deliveries, _ in found},
        pending_bytes={target: size for target, _, size in found},
        size_bytes=size_bytes,
        peers=peers,
        pauses=read_pauses(link),
        looked_at=looked_at,
    )
