"""What waits for a target that the configuration has lost: into dead letters, when an operator says so.

Until then it stays in the spool, and goes out when the target is back. Each delivery becomes a dead letter
first and leaves the spool then, so this may be stopped and repeated at any point. Attempts that were under
way when the target left hold theirs until they end; what they give back is there for the next call.
"""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from gateway.delivery.burial import DeadLetters, Undertaker
from gateway.delivery.dead_letter_record import Reason
from gateway.delivery.message import UncuttableBodyError, body_of
from gateway.delivery.shared_letters import SharedLetters
from gateway.errors import DeadLetterError
from gateway.spool.contract import Lease, Release, Settlement, Spool
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.notification_lines import TroubleLines

AT_ONCE: Final = 16
"""Deliveries leased at once: work for the four threads that write, and 48 MiB of bodies at most."""
ANY_CLOCK_MS: Final = 2**53 - 1
"""Whenever the give-up clock started."""


class Discarder:
    """Gives up targets: for the admin port, and for the command where no gateway runs."""

    def __init__(
        self,
        *,
        spool: Spool,
        dead_letters: DeadLetters,
        metrics: Metrics,
        now_ms: Callable[[], int],
        shared: SharedLetters | None = None,
    ) -> None:
        self._spool = spool
        lines = TroubleLines(lambda: "problems", clock=trio.current_time)
        self._undertaker = Undertaker(
            spool=spool,
            dead_letters=dead_letters,
            metrics=metrics,
            now_ms=now_ms,
            lines=lines,
            shared=shared,
        )
        self._now_ms = now_ms

    async def discard(self, target: str, *, limit: int) -> int:
        """Make dead letters of about `limit` of what waits for a target, oldest first; return of how many.

        0: there is nothing more, or what there is is under way. That nobody delivers to the target is the
        caller's to see.

        Raises:
            DeadLetterError: one could not be written; it is in the spool still.
            SpoolUnavailableError: the spool cannot be written now; nothing is lost.
            SpoolBrokenError: the spool has failed for good.
        """
        done = 0
        while done < limit:
            leases = await self._spool.lease_oldest(
                target,
                now_ms=self._now_ms(),
                clock_started_by_ms=ANY_CLOCK_MS,
                limit=min(AT_ONCE, limit - done),
            )
            if not leases:
                break
            await self._bury(leases)
            done += len(leases)
        return done

    async def _bury(self, leases: Sequence[Lease]) -> None:
        settled: list[tuple[Lease, Settlement]] = []
        failures: list[DeadLetterError] = []
        groups: set[str | None] = set()

        async def one(lease: Lease) -> None:
            try:
                body = body_of(lease)
            except UncuttableBodyError:
                body = lease.raw
            try:
                buried = await self._undertaker.write(
                    lease, reason=Reason.DISCARDED_TARGET, body=body, url=None, attempts=lease.earlier
                )
            except DeadLetterError as error:
                failures.append(error)
            else:
                settled.append((lease, buried))
                groups.add(lease.group)

        async with trio.open_nursery() as nursery:
            for lease in leases:
                nursery.start_soon(one, lease)
        buried = {lease.token for lease, _ in settled}
        # A group that has lost members is another request under the same key: the rest goes singly.
        settled += (
            (lease, Release(alone=lease.group is not None and lease.group in groups))
            for lease in leases
            if lease.token not in buried
        )
        await self._undertaker.settle(settled)
        if failures:
            raise failures[0]
