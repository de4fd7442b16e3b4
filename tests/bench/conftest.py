"""Measurements made up, to see what is made of them."""

from collections.abc import Callable

import pytest

from bench.compare import Kind, Measurement
from bench.load import Outcome

Measured = Callable[..., Measurement]


@pytest.fixture
def measured() -> Measured:
    """Make a measurement of this contender in this round at this rate."""

    def make(
        contender: str,
        round_: int,
        rps: float,
        *,
        kind: Kind = "keep-alive",
        delivered: int | None = None,
        bad: int = 0,
    ) -> Measurement:
        outcome = Outcome(
            ok=int(rps * 5),
            bad=bad,
            rps=rps,
            p50=1.0 + round_,
            p90=2.0,
            p99=3.0,
            p999=4.0,
            max=5.0,
            over250=0,
            over1000=0,
            began=1000.0,
            ended=1005.0,
            cpu=0.5,
        )
        return Measurement(
            contender=contender,
            kind=kind,
            round=round_,
            outcome=outcome,
            server_cpu_seconds=4.0,
            peak_bytes=1_000_000,
            delivered=delivered,
            delivered_per_second=None if delivered is None else delivered / 5,
        )

    return make
