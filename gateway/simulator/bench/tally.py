"""What the processes of a bench tell each other: the order to send, and what came of it. JSON lines."""

from typing import Self

import msgspec

from gateway.simulator.bench.latencies import Latencies


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one process is to send."""

    host: str
    port: int
    authority: str
    """For the `Host` header."""
    path: str
    """With its query."""
    secret: bytes
    ca: str | None
    """A path, as the two below."""
    system_trust: bool
    certificate: str | None
    private_key: str | None
    rate: float
    """Requests a second over all processes."""
    seconds: float
    connections: int
    """Of this process."""
    worker: int
    """Which one it is, 0..."""
    workers: int
    run: str
    """`mix.RUN_LETTERS` letters that no other run has."""
    shares: dict[str, float]
    changes: int
    large_bytes: int
    now_ms: int
    """What the bodies take for now."""
    expected: list[list[int]]
    """For each template, which of its changes must arrive at the target that counts; empty: nobody counts."""


class Tally(msgspec.Struct, kw_only=True):
    """What came of it so far. Of several processes: the sum."""

    due: int = 0
    """Requests whose time had come."""
    answered: int = 0
    changes: int = 0
    """In the requests that were answered 200."""
    sent_bytes: int = 0
    statuses: dict[int, int] = msgspec.field(default_factory=dict)
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    kinds: dict[str, int] = msgspec.field(default_factory=dict)
    """Requests that were begun, by kind of notification."""
    unsent: int = 0
    """Due, and never begun: every connection was busy until after the end."""
    handshakes: int = 0
    latency: dict[int, int] = msgspec.field(default_factory=dict)
    """From when a request was due to the end of its answer, if that was 200: buckets of `Latencies`."""
    late: int = 0
    slowest_us: int = 0
    service: dict[int, int] = msgspec.field(default_factory=dict)
    """The same from when it was begun."""
    service_slowest_us: int = 0
    lag: dict[int, int] = msgspec.field(default_factory=dict)
    """How late the process itself began what it had a free connection for."""
    lag_slowest_us: int = 0
    seconds: float = 0.0
    """From the start to the last answer, or to now."""
    busy: float = 0.0
    """The share of that time in which the process had work, waiting for a processor included; of several, the
    largest."""
    marks: bytes = b""
    """At the end: a byte (`Mark`) for each change that was sent, compressed."""

    def add(self, other: Self) -> None:
        """Add what another process tells; `marks` are not to be added."""
        for name in ("due", "answered", "changes", "sent_bytes", "unsent", "handshakes", "late"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("statuses", "faults", "kinds", "latency", "service", "lag"):
            sums = getattr(self, name)
            for key, number in getattr(other, name).items():
                sums[key] = sums.get(key, 0) + number
        for name in ("slowest_us", "service_slowest_us", "lag_slowest_us", "seconds", "busy"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))

    @property
    def accepted(self) -> int:
        """Answered 200: nothing else counts for Meta."""
        return self.statuses.get(200, 0)

    def latencies(self) -> Latencies:
        return Latencies(self.latency, slowest_us=self.slowest_us, late=self.late)

    def services(self) -> Latencies:
        return Latencies(self.service, slowest_us=self.service_slowest_us)

    def lags(self) -> Latencies:
        return Latencies(self.lag, slowest_us=self.lag_slowest_us)


class Said(msgspec.Struct, kw_only=True):
    """One line of a child: it is connected, how far it is, how it ended."""

    ready: bool = False
    tally: Tally | None = None
    done: bool = False
    fault: str = ""
    """Why it cannot do it."""


class Mark:
    """What became of a change, a byte each."""

    UNSENT = 0
    EXPECTED = 1
    """Answered 200, and the routes give it to the target that counts."""
    ELSEWHERE = 2
    """Answered 200, for others."""
    UNANSWERED = 3
    """Begun; nobody knows whether it was stored."""
