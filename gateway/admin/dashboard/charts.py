"""Line charts as geometry: what the templates draw as SVG. Pure.

Nothing is drawn by the browser, so a chart is there without JavaScript and is the same in both colour
schemes. Each says in words what it shows, for those who do not see it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.admin.dashboard import wording
from gateway.admin.dashboard.history import RECENT_SLOTS, SLOT_MS, SLOTS, History

WIDTH: Final = 360
"""One unit a slot."""
HEIGHT: Final = 104
SPARK_POINTS: Final = 60
"""A minute a point: a table has no room for more."""
SPARK_HEIGHT: Final = 16
_LEAST_TOP: Final = 1.0
"""Of the axis, so that one notification an hour does not look like a storm."""
_TICK_MS: Final = 15 * 60_000
_LEAST_SECONDS: Final = 0.001
_MOST_SECONDS: Final = 5.0
"""The bounds of `ack_seconds`, more or less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart."""

    name: str
    style: str
    """A class of the style sheet: `a` solid, `b` dashed, so that they differ without colour, too."""
    paths: tuple[str, ...]
    """A path of SVG for each stretch without a gap."""
    areas: tuple[str, ...]
    """What lies below them, where the axis begins at 0 and the line is the first."""
    now: str
    """The newest value, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str
    bar: bool = False
    """A limit to be kept, not just a round number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart, ready to be drawn."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    """Times."""
    up: tuple[Tick, ...]
    summary: str
    empty: str = ""
    """What to say instead, where there is nothing to draw."""
    width: int = WIDTH
    height: int = HEIGHT


def rate_chart(history: History, *, of_several: bool = False) -> Chart:
    """Draw what was accepted and delivered, per second; `of_several`: by all gateways on the database."""
    accepted, delivered = history.values("accepted"), history.values("delivered")
    top = _nice_top([*accepted, *delivered])
    return Chart(
        title="Accepted and delivered",
        unit=f"per second{', all gateways' if of_several else ''}{_since(history)}",
        lines=(
            _line("accepted", "a", accepted, _linear(top), wording.rate(history.now("accepted"))),
            _line("delivered", "b", delivered, _linear(top), wording.rate(history.now("delivered"))),
        ),
        across=_times(history),
        up=_steps(top),
        summary=(
            f"Accepted now {wording.rate(history.now('accepted'))}, {_highest(accepted, wording.rate)};"
            f" delivered now {wording.rate(history.now('delivered'))}, {_highest(delivered, wording.rate)}."
        ),
        empty=_empty(accepted, "Drawn from the second look at the metrics on: in ten seconds."),
    )


def latency_chart(history: History, *, of_several: bool = False) -> Chart:
    """Draw the percentiles of acknowledgements against Meta's bar, on a logarithmic axis; of this gateway
    alone, which is said where there are several."""
    p50, p99 = history.values("p50"), history.values("p99")
    ticks = ((0.01, "10 ms", False), (0.25, "250 ms", True), (1.0, "1 s", True))
    return Chart(
        title="Acknowledgement",
        unit="of this gateway" if of_several else "head read to answer sent",
        lines=(
            _line("median", "a", p50, _latency_height, _newest(p50, wording.latency)),
            _line("99 %", "b", p99, _latency_height, _newest(p99, wording.latency)),
        ),
        across=_times(history),
        up=tuple(Tick(at=round(_latency_height(value), 1), text=text, bar=bar) for value, text, bar in ticks),
        summary=(
            f"Median {_newest(p50, wording.latency)}, {_highest(p50, wording.latency)}; 99th percentile"
            f" {_newest(p99, wording.latency)}, {_highest(p99, wording.latency)}. Meta's bar is a median of"
            " 250 ms and less than 1 % above 1 s."
        ),
        empty=_empty(p50, "Nothing was acknowledged in the last hour."),
    )


def waiting_chart(history: History) -> Chart:
    """Draw how many deliveries wait."""
    waiting = history.values("waiting")
    top = _nice_top(waiting)
    now = _newest(waiting, wording.number)
    return Chart(
        title="Waiting for delivery",
        unit="deliveries",
        lines=(_line("waiting", "a", waiting, _linear(top), now),),
        across=_times(history),
        up=_steps(top),
        summary=f"Waiting now {now}, {_highest(waiting, wording.number)}.",
        empty=_empty(waiting, "Drawn from the first look at the metrics on."),
    )


def target_chart(history: History, name: str) -> Chart:
    """Draw what one target has taken and not taken, per second."""
    delivered, failed = history.values("delivered", name), history.values("failed", name)
    top = _nice_top([*delivered, *failed])
    now, failing = wording.rate(history.now("delivered", name)), wording.rate(history.now("failed", name))
    return Chart(
        title="Delivered and not taken",
        unit="per second",
        lines=(
            _line("delivered", "a", delivered, _linear(top), now),
            _line("not taken", "b", failed, _linear(top), failing),
        ),
        across=_times(history),
        up=_steps(top),
        summary=f"Delivered now {now}, {_highest(delivered, wording.rate)}; not taken now {failing}.",
        empty=_empty(delivered, "Drawn from the second look at the metrics on: in ten seconds."),
    )


def spark(values: Sequence[float]) -> tuple[str, ...]:
    """Return the paths of a line fit for a table cell: `SPARK_POINTS` by `SPARK_HEIGHT`."""
    per_point = len(values) // SPARK_POINTS
    means = [_mean(values[start : start + per_point]) for start in range(0, len(values), per_point)]
    top = max((value for value in means if not math.isnan(value)), default=0.0) or 1.0
    return _paths(means, lambda value: SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * value / top)


def _line(name: str, style: str, values: Sequence[float], place: Callable[[float], float], now: str) -> Line:
    paths = _paths(values, place)
    areas = tuple(_below(path) for path in paths) if style == "a" and place is not _latency_height else ()
    return Line(name=name, style=style, paths=paths, areas=areas, now=now)


def _below(path: str) -> str:
    first, last = path[1:].split("L")[0].split()[0], path.rsplit("L", 1)[1].split()[0]
    return f"{path}L{last} {HEIGHT}L{first} {HEIGHT}Z"


def _paths(values: Sequence[float], place: Callable[[float], float]) -> tuple[str, ...]:
    paths: list[str] = []
    stretch: list[str] = []
    for position, value in enumerate([*values, math.nan]):
        if not math.isnan(value):
            stretch.append(f"{position} {place(value):.1f}")
        elif stretch:
            # A stretch of one point would not be seen.
            points = stretch if len(stretch) > 1 else [*stretch, f"{position} {stretch[0].split()[1]}"]
            paths.append("M" + "L".join(points))
            stretch = []
    return tuple(paths)


def _linear(top: float) -> Callable[[float], float]:
    return lambda value: _height_of(value / top)


def _latency_height(seconds: float) -> float:
    bounded = min(max(seconds, _LEAST_SECONDS), _MOST_SECONDS)
    return _height_of(math.log(bounded / _LEAST_SECONDS) / math.log(_MOST_SECONDS / _LEAST_SECONDS))


def _height_of(share: float) -> float:
    return HEIGHT - share * (HEIGHT - 6)


def _nice_top(values: Sequence[float]) -> float:
    highest = max((value for value in values if not math.isnan(value)), default=0.0)
    if highest <= _LEAST_TOP:
        return _LEAST_TOP
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= highest)


def _since(history: History) -> str:
    """Say when it begins, where that is not an hour ago."""
    began_ms = history.began_ms
    if began_ms is None or history.until_ms - began_ms >= (SLOTS - RECENT_SLOTS) * SLOT_MS:
        return ""
    return f", since {wording.clock_time(began_ms)}"


def _steps(top: float) -> tuple[Tick, ...]:
    return tuple(
        Tick(at=round(_height_of(share), 1), text=wording.number(top * share)) for share in (0.5, 1.0)
    )


def _times(history: History) -> tuple[Tick, ...]:
    until_ms = history.until_ms
    start_ms = until_ms - SLOTS * SLOT_MS
    first_ms = -(-start_ms // _TICK_MS) * _TICK_MS
    return tuple(
        Tick(at=round((at_ms - start_ms) / SLOT_MS, 1), text=wording.clock_time(at_ms))
        for at_ms in range(first_ms, until_ms + 1, _TICK_MS)
        if until_ms
    )


def _newest(values: Sequence[float], say: Callable[[float], str]) -> str:
    known = [value for value in values[-SLOTS:] if not math.isnan(value)]
    return say(known[-1]) if known else "\u2013"


def _highest(values: Sequence[float], say: Callable[[float], str]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"highest in the last hour {say(max(known))}" if known else "nothing known of the last hour"


def _empty(values: Sequence[float], text: str) -> str:
    return text if all(map(math.isnan, values)) else ""


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
