"""What the door says of its handshakes: every one is counted, the last refusals are kept, and logged is what
the disk bears."""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from gateway.clock import unix_ms
from gateway.core.conditions import Grade
from gateway.core.identity import Identity, Reason, Refusal
from gateway.telemetry.ledger import Entry, Ledger, Weight, weigh
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import Logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.turned_away import RecentlyTurnedAway

LINES_PER_SECOND: Final = 1.0
"""Of one reason, after a burst: a scanner writes at most 86 400 lines a day for it, about 30 MB."""

NO_REASON: Final = "none"
"""The label `reason` where a certificate was accepted: Prometheus takes an empty label for an absent one."""

CLOSED: Final = "closed"
GOES_ON: Final = "goes on without identity"

_QUIET: Final = frozenset({Reason.PROTOCOL, Reason.TIMEOUT, Reason.LIMIT, Reason.NO_CERTIFICATE})
"""What the whole Internet does to an open port; the other reasons tell of a certificate and deserve a
warning."""


class RefusalLedger:
    """Counts handshakes, keeps and logs refusals: each reason and weight with an allowance of its own.

    So the noise of scanners cannot crowd out the one line that says why Meta's certificate was refused.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        log: Logger,
        clock: Callable[[], float],
        ledger: Ledger | None = None,
        turned_away: RecentlyTurnedAway | None = None,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        """`clock` is any monotonic one, in seconds; the ledgers outlive reloads, where they are given."""
        self._handshakes = metrics.handshakes_total
        self._refused_clients = metrics.refused_clients_total
        self._log = log
        self._clock = clock
        self._ledger = Ledger() if ledger is None else ledger
        self._turned_away = RecentlyTurnedAway() if turned_away is None else turned_away
        self._now_ms = now_ms
        self._budgets: defaultdict[tuple[Reason, Weight], LineBudget] = defaultdict(
            lambda: LineBudget(lines_per_second=LINES_PER_SECOND)
        )

    def accepted(self, verdict: Identity | Refusal) -> None:
        """Count a connection that goes on: with an identity, or without where no certificate was
        presented."""
        reason = NO_REASON if isinstance(verdict, Identity) else verdict.reason.value
        self._handshakes.labels(result="accepted", reason=reason).inc()

    def refused(
        self, refusal: Refusal, *, address: str, port: int, connection: str = "", goes_on: bool = False
    ) -> None:
        """Count, keep and log a refusal; `connection` is what logs call it; `goes_on`: it is served without
        identity all the same."""
        reason, leaf = refusal.reason, refusal.leaf
        outcome = GOES_ON if goes_on else CLOSED
        weight = weigh(
            proved=refusal.would_admit is not None, signed=False, claimed=refusal.claims is not None
        )
        self._handshakes.labels(result="refused", reason=reason.value).inc()
        if refusal.claims is not None:
            staged = "yes" if refusal.would_admit is not None else "no"
            self._refused_clients.labels(client=refusal.claims, reason=reason.value, staged=staged).inc()
        self._ledger.add(
            Entry(
                at_ms=self._now_ms(),
                kind="connection",
                address=address,
                reason=reason.value,
                detail=refusal.detail,
                leaf=leaf,
                claims=refusal.claims,
                staged=refusal.staged,
                would_admit=refusal.would_admit,
                connection=outcome,
            ),
            weight,
        )
        if not goes_on and weight is not Weight.NOISE:
            grade = Grade.PROVED if weight is Weight.PROVED else Grade.CLAIMED
            self._turned_away.add("", reason.value, grade, self._now_ms())
        suppressed = self._budgets[reason, weight].take(self._clock())
        if suppressed is None:
            return
        write = self._log.info if reason in _QUIET else self._log.warning
        write(
            "handshake_refused",
            reason=reason.value,
            detail=refusal.detail,
            address=address,
            port=port,
            subject=leaf.subject if leaf else None,
            issuer=leaf.issuer if leaf else None,
            serial=leaf.serial if leaf else None,
            sha256=leaf.sha256 if leaf else None,
            claims=refusal.claims,
            staged=refusal.staged,
            connection=connection,
            outcome=outcome,
            suppressed=suppressed,
        )
