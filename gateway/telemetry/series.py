"""Counters, gauges and histograms for the hot path: an addition each, and Prometheus's words on a scrape.

prometheus_client's own take a lock, check the amount and ask whether they are observable: eight of them cost
a tenth of what a notification costs. These do none of it, and so belong to the Trio thread alone. They are
collectors of prometheus_client, which writes the text.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry


class CounterSeries:
    """One series that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add."""
        self.value += amount


class GaugeSeries:
    """One series that is what it was last set to."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Replace."""
        self.value = value


class HistogramSeries:
    """One series of counts by upper bound."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bucket, not cumulative; the last is what is above all bounds."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value in."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


_Series = TypeVar("_Series")


class _Metric(Collector, Generic[_Series]):
    """A metric and its series, by the values of its labels."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        *,
        make: Callable[[], _Series],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._text = text
        self._labelnames = tuple(labels)
        self._make = make
        self._series: dict[tuple[str, ...], _Series] = {}
        registry.register(self)

    def labels(self, *values: str, **named: str) -> _Series:
        """Return the series of these labels; it begins at 0.

        Raises:
            ValueError: those are not the labels of this metric.
        """
        key = values if not named else tuple(named.get(label, "") for label in self._labelnames)
        if len(key) != len(self._labelnames) or (named and (values or named.keys() != set(self._labelnames))):
            raise ValueError(f"{self._name} has the labels {self._labelnames}")
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._make()
        return series

    def known(self, label: str) -> set[str]:
        """Return the values of a label that there are series of."""
        place = self._labelnames.index(label)
        return {key[place] for key in self._series}


class HotCounter(_Metric[CounterSeries]):
    """A counter; the name ends in `_total`."""

    def __init__(self, name: str, text: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        super().__init__(name, text, labels, make=CounterSeries, registry=registry)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Say it in Prometheus's words."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labelnames)
        for key, series in self._series.items():
            family.add_metric(key, series.value)
        yield family


class HotGauge(_Metric[GaugeSeries]):
    """A gauge."""

    def __init__(self, name: str, text: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        super().__init__(name, text, labels, make=GaugeSeries, registry=registry)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Say it in Prometheus's words."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labelnames)
        for key, series in self._series.items():
            family.add_metric(key, series.value)
        yield family


class HotHistogram(_Metric[HistogramSeries]):
    """A histogram; `bounds` ascend, and the one of infinity is understood."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        *,
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = tuple(bounds)
        super().__init__(name, text, labels, make=lambda: HistogramSeries(self._bounds), registry=registry)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Say it in Prometheus's words: cumulative."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labelnames)
        names = (*map(str, self._bounds), "+Inf")
        for key, series in self._series.items():
            total = 0
            buckets: list[tuple[str, float]] = []
            for name, count in zip(names, series.counts, strict=True):
                total += count
                buckets.append((name, float(total)))
            family.add_metric(key, buckets, series.sum)
        yield family
