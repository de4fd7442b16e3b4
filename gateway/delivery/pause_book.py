"""The pauses of all targets: in the spool, and at hand."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gateway.core import pausing
from gateway.core.pausing import Pauses
from gateway.errors import SpoolUnavailableError, UsageError
from gateway.spool.contract import Spool

LONGEST_REASON: Final = 200
"""Characters: it stands in a table."""
LONGEST_SECONDS: Final = 3650 * 86400.0
"""As for every duration of the configuration."""
LEAST_RATE: Final = 1 / 3600
GREATEST_RATE: Final = 100_000.0
"""Attempts a second: beyond what one process can make."""


TRIES: Final = 5
"""Of a change that others were before with one of theirs: an operator elsewhere, or who has caught up."""

HASTENED_AT_ONCE: Final = 1000
"""Deliveries made due in one transaction: some milliseconds that an acknowledgement may have to wait."""


Change = Callable[[Pauses], Pauses]


class PauseBook:
    """Changes pauses on disk first, then at hand. One for each spool that is open."""

    def __init__(self, spool: Spool, now_ms: Callable[[], int]) -> None:
        self._spool = spool
        self._now_ms = now_ms
        self._pauses: Mapping[str, Pauses] = {}

    async def load(self) -> None:
        """Read what the spool has."""
        self._pauses = await self._spool.pauses()

    def adopt(self, pauses: Mapping[str, Pauses]) -> frozenset[str]:
        """Take over what another gateway on the same spool has changed; return of which targets."""
        names = pauses.keys() | self._pauses.keys()
        changed = frozenset(name for name in names if pauses.get(name, ()) != self.of(name))
        self._pauses = pauses
        return changed

    def of(self, target: str) -> Pauses:
        """Return the pauses of a target."""
        return self._pauses.get(target, ())

    async def pause(self, target: str, *, seconds: float | None, reason: str) -> None:
        """Leave a target alone from now on, for so long or until it is resumed; durable on return.

        Raises:
            UsageError: a reason that cannot be kept, or no time.
            SpoolUnavailableError: nothing has changed.
        """
        if len(reason) > LONGEST_REASON or not reason.isprintable():
            raise UsageError(
                "the reason is too long, or not printable",
                remedy=f"write one line of {LONGEST_REASON} characters",
            )
        if seconds is not None and not 0 < seconds <= LONGEST_SECONDS:
            raise UsageError("a pause of no time, or of too much", remedy="leave the time out: until resumed")
        now_ms = self._now_ms()
        until_ms = None if seconds is None else now_ms + max(1, round(seconds * 1000))
        paused = partial(pausing.paused, now_ms=now_ms, until_ms=until_ms, reason=reason)
        await self._change(target, paused)

    async def resume(self, target: str, *, rate_per_second: float | None) -> None:
        """Deliver again, at that rate until nothing that is due waits. Raises as `pause`."""
        if rate_per_second is not None and not LEAST_RATE <= rate_per_second <= GREATEST_RATE:
            raise UsageError("the rate is out of range", remedy="write 1/h at least, 100000/s at most")
        now_ms = self._now_ms()
        resumed = partial(pausing.resumed, now_ms=now_ms, rate_per_second=rate_per_second)
        await self._change(target, resumed)

    async def hasten(self, target: str) -> None:
        """Make all that waits for a target due now, where nobody delivers. Raises as `pause`."""
        now_ms = self._now_ms()
        while await self._spool.hasten(target, now_ms=now_ms, limit=HASTENED_AT_ONCE):
            pass

    async def catch_up(self, target: str) -> None:
        """Lift the rate, unless somebody has just said otherwise. Raises as `pause`."""
        await self._set(target, pausing.caught_up)

    async def _change(self, target: str, change: Change) -> None:
        for _ in range(TRIES):
            if await self._set(target, change):
                return
        raise SpoolUnavailableError("others change its pauses at this moment", remedy="ask again")

    async def _set(self, target: str, change: Change) -> bool:
        """Change what is at hand; where the spool has something else by now, take that over instead."""
        oldest = (await self._spool.oldest_clock_ms()).get(target)
        former = self.of(target)
        pauses = pausing.kept(change(former), now_ms=self._now_ms(), oldest_clock_ms=oldest)
        done = await self._spool.set_pauses(target, pauses, former=former)
        if done:
            self._pauses = {**self._pauses, target: pauses}
        else:
            await self.load()
        return done
