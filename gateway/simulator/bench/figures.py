"""What a run says: pass or fail against Meta's bar, and why; who was the limit; what quota it covers."""

import math
from dataclasses import dataclass
from typing import Any, Final

from gateway.simulator.bench.latencies import LATE_MS, MEDIAN_BAR_MS, Latencies
from gateway.simulator.bench.receiver import Verified
from gateway.simulator.bench.tally import Tally

LATE_BAR: Final = 0.01
"""Meta's bar: fewer than this share above `LATE_MS`. What was not answered 200 counts as later than that."""
REPLIES: Final = 0.3
"""Received for each message sent: Meta's example, 1000 messages/s sent and 30 % answered are 3300/s."""
WEBHOOKS_PER_MESSAGE: Final = 3 + REPLIES
"""Meta: size for three times the outgoing rate (sent, delivered, read) and once the incoming."""
BUSY: Final = 0.9
"""A process that has had work for more of its time than this was a limit itself."""
RATHER_BUSY: Final = 0.6
"""Above this, answers wait for the client, and that is in the latencies: queueing is more than work."""
LAG_BAR_MS: Final = 50.0
"""So late the client may be with what it had a free connection for, in one of a hundred: a fifth of the
median that it is to measure."""
CROWDED: Final = 2.0
"""So many times the gateway's own time a request took, for want of a free connection."""
EDGES_MS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was to be measured."""

    url: str
    rate: float
    seconds: float
    connections: int
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured, and what it says."""

    wanted: Wanted
    tally: Tally
    verified: Verified | None
    ended: str
    """Why it ended before its time; empty where it did not."""
    interrupted: bool

    @property
    def failed(self) -> int:
        """Due, and not answered 200."""
        return max(0, self.tally.due - self.tally.accepted)

    @property
    def reached(self) -> float:
        """Answered 200 a second."""
        return self.tally.accepted / max(self.tally.seconds, 0.001)

    @property
    def quota(self) -> float:
        """Messages a second of sending quota that so many notifications a second stand for."""
        return self.reached / WEBHOOKS_PER_MESSAGE

    @property
    def late_share(self) -> float:
        """Later than `LATE_MS`, or not answered 200 at all, of all that was due."""
        return (self.tally.late + self.failed) / self.tally.due if self.tally.due else 1.0

    def percentiles_ms(self) -> dict[str, float]:
        """Return them by name; infinite where that one was never answered 200."""
        latencies = self.tally.latencies()
        return {
            name: latencies.percentile_ms(share, never=self.failed) for name, share in PERCENTILES.items()
        }

    @property
    def client_limited(self) -> str:
        """Why the client, and not the gateway, may have been the limit; empty where it was not."""
        if self.tally.busy >= BUSY:
            return f"its busiest process had work for {self.tally.busy:.0%} of the time"
        lag_ms = self.tally.lags().percentile_ms(0.99)
        if lag_ms > LAG_BAR_MS:
            return f"it began 1 % of its requests {lag_ms:.0f} ms late or more, with connections free"
        return ""

    def failures(self) -> tuple[str, ...]:
        """Say what was not met; empty: passed."""
        told = []
        median = self.percentiles_ms()["p50"]
        if not self.tally.due:
            return ("nothing was sent",)
        if median > MEDIAN_BAR_MS:
            told.append(f"median {tell_ms(median)}, and Meta wants {MEDIAN_BAR_MS} ms at most")
        if self.late_share >= LATE_BAR:
            told.append(
                f"{self.late_share:.2%} above {LATE_MS} ms or not answered 200,"
                f" and Meta wants less than {LATE_BAR:.0%}"
            )
        if self.verified is not None and self.verified.lost:
            told.append(f"{self.verified.lost} changes did not arrive at the target")
        return tuple(told)

    @property
    def passed(self) -> bool:
        return not self.failures()

    def remarks(self) -> tuple[str, ...]:
        """Say what helps to read the figures."""
        told = []
        if not self.passed and self.client_limited:
            told.append(
                f"the client, not the gateway, was the limit: {self.client_limited}. Give it a machine of its"
                " own, or more --processes; this run says nothing about the gateway"
            )
        elif self._crowded():
            services = self.tally.services().percentile_ms(0.5)
            told.append(
                f"requests waited for a free connection; once sent, they took {tell_ms(services)} (median)."
                " If that is no more than at a low rate, try more --connections; if it is, the gateway is"
                " at the limit of its machine"
            )
        if not self.passed and not self.client_limited and self.tally.busy >= RATHER_BUSY:
            told.append(
                f"the client had work for {self.tally.busy:.0%} of the time, so some of this latency is its"
                " own: give it a machine of its own, or more --processes"
            )
        if self.tally.unsent:
            told.append(f"{self.tally.unsent} requests were due and never sent: every connection was busy")
        return tuple(told)

    def as_json(self) -> dict[str, Any]:
        """Return all of it for scripts. Times in ms; null: never."""
        tally, verified = self.tally, self.verified
        services = tally.services()
        return {
            "passed": self.passed,
            "failures": list(self.failures()),
            "remarks": list(self.remarks()),
            "ended_early": self.ended,
            "interrupted": self.interrupted,
            "client_was_the_limit": bool(not self.passed and self.client_limited),
            "url": self.wanted.url,
            "rate": self.wanted.rate,
            "connections": self.wanted.connections,
            "processes": self.wanted.processes,
            "seconds": round(tally.seconds, 3),
            "due": tally.due,
            "accepted": tally.accepted,
            "accepted_per_second": round(self.reached, 1),
            "changes": tally.changes,
            "bytes": tally.sent_bytes,
            "statuses": {str(status): number for status, number in sorted(tally.statuses.items())},
            "faults": tally.faults,
            "unsent": tally.unsent,
            "kinds": tally.kinds,
            "handshakes": tally.handshakes,
            "latency_ms": {
                **{name: _finite(value) for name, value in self.percentiles_ms().items()},
                "max": tally.slowest_us / 1000,
            },
            "service_ms": {name: services.percentile_ms(share) for name, share in PERCENTILES.items()},
            "above_1000_ms_share": round(self.late_share, 6),
            "histogram": [{"up_to_ms": edge, "count": number} for edge, number in self.histogram()],
            "quota_messages_per_second": round(self.quota, 1),
            "client_busy": round(tally.busy, 3),
            "client_lag_p99_ms": tally.lags().percentile_ms(0.99),
            "verify": None
            if verified is None
            else {name: getattr(verified, name) for name in Verified.__dataclass_fields__},
        }

    def histogram(self) -> list[tuple[float | None, int]]:
        """Return how many up to each edge (ms; None: beyond all), without the empty ones at both ends."""
        edges: list[float | None] = [*EDGES_MS, None]
        rows = list(zip(edges, self.tally.latencies().histogram(EDGES_MS), strict=True))
        filled = [at for at, (_, number) in enumerate(rows) if number]
        return rows[filled[0] : filled[-1] + 1] if filled else []

    def _crowded(self) -> bool:
        latencies: Latencies = self.tally.latencies()
        whole, service = latencies.percentile_ms(0.9), self.tally.services().percentile_ms(0.9)
        return whole > LAG_BAR_MS and whole > CROWDED * service


def tell_ms(value: float) -> str:
    """Write a latency for people."""
    if math.isinf(value):
        return "never"
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value
