"""What the door says of its handshakes: every one is counted, and every refusal logged as far as the disk
bears it."""

from collections.abc import Callable
from typing import Final

from gateway.core.identity import Identity, Reason, Refusal
from gateway.telemetry.log import Logger
from gateway.telemetry.metrics import Metrics

BURST: Final = 60
"""Refusals of one reason that are logged at once: enough to see a pattern."""
REFILL_PER_SECOND: Final = 1.0
"""And then one a second: a scanner writes at most 86 400 lines a day for a reason, about 30 MB."""

NO_REASON: Final = "none"
"""The label `reason` where a certificate was accepted: Prometheus takes an empty label for an absent one."""

_QUIET: Final = frozenset({Reason.PROTOCOL, Reason.TIMEOUT, Reason.LIMIT, Reason.NO_CERTIFICATE})
"""What the whole Internet does to an open port; the other reasons tell of a certificate and deserve a
warning."""


class RefusalLedger:
    """Counts handshakes and logs refusals, each reason with an allowance of its own.

    So the noise of scanners cannot crowd out the one line that says why Meta's certificate was refused.
    """

    def __init__(self, *, metrics: Metrics, log: Logger, clock: Callable[[], float]) -> None:
        """`clock` is any monotonic one, in seconds."""
        self._handshakes = metrics.handshakes_total
        self._log = log
        self._clock = clock
        self._buckets: dict[Reason, _Bucket] = {}

    def accepted(self, verdict: Identity | Refusal) -> None:
        """Count a connection that goes on: with an identity, or without where no certificate was
        presented."""
        reason = NO_REASON if isinstance(verdict, Identity) else verdict.reason.value
        self._handshakes.labels(result="accepted", reason=reason).inc()

    def refused(self, refusal: Refusal, *, address: str, port: int, goes_on: bool = False) -> None:
        """Count and log a refusal; `goes_on`: the connection is served without identity all the same."""
        reason = refusal.reason
        self._handshakes.labels(result="refused", reason=reason.value).inc()
        bucket = self._buckets.get(reason)
        if bucket is None:
            bucket = self._buckets[reason] = _Bucket(self._clock())
        if not bucket.take(self._clock()):
            return
        leaf = refusal.leaf
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
            connection="goes on without identity" if goes_on else "closed",
            suppressed=bucket.suppressed_until_now(),
        )


class _Bucket:
    """A token bucket that knows how many it has turned away."""

    def __init__(self, now: float) -> None:
        self._tokens = float(BURST)
        self._filled_at = now
        self._suppressed = 0

    def take(self, now: float) -> bool:
        self._tokens = min(float(BURST), self._tokens + (now - self._filled_at) * REFILL_PER_SECOND)
        self._filled_at = now
        if self._tokens < 1:
            self._suppressed += 1
            return False
        self._tokens -= 1
        return True

    def suppressed_until_now(self) -> int:
        count, self._suppressed = self._suppressed, 0
        return count
