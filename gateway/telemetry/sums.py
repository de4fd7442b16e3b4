"""The metrics of several processes as those of one gateway: counts are added, gauges as the table says.

A process that ends takes its counts with it, and a sum that falls would read as a restart of everything: so
what it had counted, as far as it was asked, is kept and added on.

Where all share one spool, each sees the whole of what waits there: that is told once, and not by who is gone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add
from typing import Final

from gateway.telemetry.metrics import PREFIX

Fold = Callable[[float, float], float]

_GAUGES: Final[dict[str, Fold]] = {
    "spool_pending": add,
    "spool_oldest_seconds": max,
    "spool_kept_oldest_seconds": max,
    "spool_bytes": add,
    "duplicates_window_seconds": min,
    "duplicates_keys": add,
    "spool_free_bytes": min,
    "spool_min_free_bytes": max,
    "breaker_open": max,
    "target_state": max,
    "next_give_up_timestamp_seconds": min,
    "last_received_timestamp_seconds": max,
    "certificate_expiry_timestamp_seconds": max,
    "trust_anchor_last_seen_timestamp_seconds": max,
    "signature_secret_last_used_timestamp_seconds": max,
    "build_info": max,
}
"""How the values of two processes make one. `breaker_open` and `target_state`: 1 where it is so in any."""

_OF_A_SHARED_SPOOL: Final[dict[str, Fold]] = {
    "spool_pending": max,
    "spool_oldest_seconds": max,
    "spool_kept_oldest_seconds": max,
    "spool_bytes": max,
    "duplicates_window_seconds": max,
    "duplicates_keys": max,
    "next_give_up_timestamp_seconds": min,
}
"""The same where all have one spool: of it each says the whole, as it last saw it. (Who has taken in nothing
has not looked at the duplicates window since its start.)"""

OF_THE_WHOLE: Final = frozenset(
    {
        "dead_letters",
        "condition",
        "meta_lag_seconds",
        "usual_interval_seconds",
        "readiness",
        "config_info",
        "config_last_reload_success",
        "config_last_reload_timestamp_seconds",
        "workers",
        "worker_restarts_total",
    }
)
"""What the supervisor alone knows: the dead letters lie in one directory, and it is it that reloads."""


@dataclass(slots=True)
class Family:
    """One metric, as the text format has it."""

    name: str
    head: list[str] = field(default_factory=list)
    kind: str = ""
    series: dict[str, float] = field(default_factory=dict)
    """By name and labels, as written."""


Families = dict[str, Family]


def read_families(text: str) -> Families:
    """Read the text exposition format as prometheus_client writes it: a family's lines stand together."""
    families: Families = {}
    family = Family(name="")
    for line in text.splitlines():
        if line.startswith("# "):
            _, word, name, *rest = line.split(" ", 3)
            family = families.setdefault(name, Family(name=name))
            family.head.append(line)
            if word == "TYPE":
                family.kind = rest[0]
        elif line:
            series, _, value = line.rpartition(" ")
            family.series[series] = float(value)
    return families


def write_families(families: Iterable[Family]) -> str:
    """Return the text exposition format."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield from family.head
    for series, value in family.series.items():
        yield f"{series} {value!r}"


def fold(parts: Iterable[Families], *, shared_spool: bool = False) -> Families:
    """Make one of several."""
    return reduce(partial(_fold_two, shared_spool), parts, {})


def _fold_two(shared_spool: bool, one: Families, other: Families) -> Families:
    folded = dict(one)
    for name, family in other.items():
        former = one.get(name)
        if former is None:
            folded[name] = family
            continue
        both = _fold_of(name.removeprefix(PREFIX), shared_spool) if family.kind == "gauge" else add
        series = dict(former.series)
        for key, value in family.series.items():
            series[key] = both(series[key], value) if key in series else value
        folded[name] = Family(name=name, head=former.head, kind=former.kind, series=series)
    return folded


def _fold_of(gauge: str, shared_spool: bool) -> Fold:
    own = _GAUGES.get(gauge, max)
    return _OF_A_SHARED_SPOOL.get(gauge, own) if shared_spool else own


def _without_spool(families: Families) -> Families:
    return {
        name: family
        for name, family in families.items()
        if name.removeprefix(PREFIX) not in _OF_A_SHARED_SPOOL
    }


class Totals:
    """The metrics of all workers, those that have ended included."""

    def __init__(self, *, shared_spool: bool = False) -> None:
        self._shared_spool = shared_spool
        self._past: Families = {}
        """What processes that have ended had counted."""
        self._last: dict[int, Families] = {}

    def take(self, said: Mapping[int, str]) -> None:
        """Take in what workers say now, each by its number; of who says nothing, what it said last stands."""
        if said and self._shared_spool:
            # Those who speak know what has become of what the others saw.
            self._last = {number: _without_spool(last) for number, last in self._last.items()}
        self._last |= {number: read_families(text) for number, text in said.items()}

    def end(self, worker: int, *, for_good: bool) -> None:
        """Keep the counts of a process that has ended; its gauges stand until the next one speaks, for what
        waits in its file still does."""
        last = self._last.pop(worker, {})
        counts = {name: family for name, family in last.items() if family.kind != "gauge"}
        self._past = fold((self._past, counts))
        if not for_good:
            self._last[worker] = {name: family for name, family in last.items() if name not in counts}

    def text(self, own: str) -> str:
        """Return all as one; `own` is the supervisor's, which has the last word in what is `OF_THE_WHOLE`."""
        ours = read_families(own)
        theirs = fold((*self._last.values(), self._past), shared_spool=self._shared_spool)
        named = {**ours, **theirs}
        chosen = (
            (ours if name.removeprefix(PREFIX) in OF_THE_WHOLE else theirs).get(name, named[name])
            for name in named
        )
        return write_families(chosen)
