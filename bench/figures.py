"""From measurements to medians and ratios."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.compare import Kind, Measurement
from bench.contenders import GATEWAY, Contender

KINDS: Final[tuple[Kind, ...]] = ("keep-alive", "handshake")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One contender in one kind of load, over all rounds: medians, but for `low` and `high`."""

    name: str
    title: str
    does: str
    kind: Kind
    accepted_per_second: float
    low: float
    high: float
    """The slowest and the fastest round."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    bad: int
    """Not answered 200, in all rounds."""
    server_us_per_request: float
    peak_bytes: int
    delivered_per_second: float | None
    undelivered: int
    """Answered 200 and not delivered before the drain's time was over, in all rounds."""
    ratio: float | None
    """The gateway's rate divided by this one's, the median of the rounds' ratios; None for the gateway."""
    floor: float | None
    aim: float | None

    @property
    def verdict(self) -> str:
        """Say where the ratio stands: aim, floor, below; nothing where nothing is asked."""
        if self.ratio is None or self.floor is None or self.aim is None:
            return ""
        return "aim" if self.ratio >= self.aim else "floor" if self.ratio >= self.floor else "below"


def figures(contenders: Sequence[Contender], measurements: Sequence[Measurement]) -> list[Figure]:
    """Return the figures in the order of the contenders, keep-alive first."""
    return [
        _figure(contender, kind, mine, _of(measurements, GATEWAY, kind))
        for kind in KINDS
        for contender in contenders
        if (mine := _of(measurements, contender.name, kind))
    ]


def _of(measurements: Sequence[Measurement], name: str, kind: Kind) -> list[Measurement]:
    return [one for one in measurements if one.contender == name and one.kind == kind]


def _figure(
    contender: Contender, kind: Kind, mine: Sequence[Measurement], gateways: Sequence[Measurement]
) -> Figure:
    rates = [one.outcome.rps for one in mine]
    delivered = [one.delivered_per_second for one in mine if one.delivered_per_second is not None]
    handshake = kind == "handshake"
    return Figure(
        name=contender.name,
        title=contender.title,
        does=contender.does,
        kind=kind,
        accepted_per_second=median(rates),
        low=min(rates),
        high=max(rates),
        p50_ms=median(one.outcome.p50 for one in mine),
        p99_ms=median(one.outcome.p99 for one in mine),
        max_ms=max(one.outcome.max for one in mine),
        bad=sum(one.outcome.bad for one in mine),
        server_us_per_request=median(one.server_us_per_request for one in mine),
        peak_bytes=max(one.peak_bytes for one in mine),
        delivered_per_second=median(delivered) if delivered else None,
        undelivered=sum(max(0, one.outcome.ok - one.delivered) for one in mine if one.delivered is not None),
        ratio=None if contender.name == GATEWAY else _ratio(gateways, mine),
        floor=contender.handshake_floor if handshake else contender.floor,
        aim=contender.handshake_aim if handshake else contender.aim,
    )


def _ratio(gateways: Sequence[Measurement], others: Sequence[Measurement]) -> float | None:
    """Divide round by round: what slowed the machine in one of them slowed both."""
    theirs = {one.round: one.outcome.rps for one in others}
    ratios = [one.outcome.rps / theirs[one.round] for one in gateways if theirs.get(one.round, 0.0) > 0.0]
    return median(ratios) if ratios else None
