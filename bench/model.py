"""What cannot be run here: tens, hundreds and a thousand machines on PostgreSQL, from what one has cost.

    .venv/bin/python -m bench.model [--round-trip-ms 0.5] [--flush-ms 1] [--cores 32] [--publish]

CPU and bytes are the measured ones (results/postgresql.json); network, disk and the size of a database server
are assumed, and flags. The model is small:

- A transaction of n rows takes T = trips * round trip + flush + a + b * n. While it runs, what comes in waits
  for the next, so at a rate r there are n = r * T rows in one, and at least 1: T = fixed / (1 - r * b).
- Who comes waits for half a transaction, where one is under way, and for his own. Before that he waits for
  the gateway's core, a queue with one server and random times (M/M/1).
- A database that is u busy takes 1 / (1 - u) times as long for its share of a and b.
- What a notification costs a gateway is what was measured at full load, with the fixed cost of transactions
  shared by fewer rows at less load.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from bench.ground import BENCH, REPOSITORY
from bench.page import Section

RESULT: Final = BENCH / "results" / "postgresql.json"
PAGE: Final = REPOSITORY / "docs" / "scaling.md"
SECTION: Final = Section(
    begin="<!-- model: written by python -m bench.model --publish -->", end="<!-- end of the model -->"
)
MACHINES: Final = (10, 100, 1000)
SHARES: Final = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)
"""Of a gateway's core, in use."""
ACCEPT_TRIPS: Final = 1
"""All goes out together, and the answer is the commit's."""
DELIVER_TRIPS: Final = 8
"""BEGIN, what is still held, what goes, what is due, tokens, the lease, the account, COMMIT."""
CONNECTIONS: Final = 4
"""Of a gateway: two that write, one that looks, one for what gateways ask each other."""
FULL: Final = 64
"""Rows a transaction at full load: as many as there were connections."""
LOOPBACK_MS: Final = 0.1
"""A round trip where the measurements were made, the change of processes included."""
NINETY_NINE: Final = math.log(100)
"""How many times the mean the 99th percentile of random (exponential) times is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a transaction, CPU in microseconds: `fixed`, and so much for each row."""

    fixed: float
    row: float

    @classmethod
    def of(cls, one_us: float, many_us: float) -> "Cost":
        """Draw the line through a transaction of one row and one of `FULL`."""
        row = (many_us - one_us) / (FULL - 1)
        return cls(fixed=one_us - row, row=row)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(fixed=self.fixed + other.fixed, row=self.row + other.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """What one gateway was seen to do at a rate: medians."""

    rate: float
    gateway_us: float
    database_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one gateway costs."""

    accept_gateway: Cost
    accept_database: Cost
    deliver_gateway: Cost
    """Claim and settle, which go together in one transaction."""
    deliver_database: Cost
    loop_us: float
    """CPU of a gateway for a notification, without its transactions."""
    log_bytes: float
    """Of the database's log for a notification."""
    paced: tuple["Paced", ...] = ()
    """What the model is held against."""

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "Measured":
        """Take them from the results of `bench.postgresql`."""
        by = {(one["kind"], one["size"]): one for one in found["batches"]}

        def cost(side: str, *kinds: str) -> Cost:
            one, many = (sum(by[kind, size][side] for kind in kinds) for size in (1, FULL))
            return Cost.of(one, many)

        own = cost("gateway_us", "accept") + cost("gateway_us", "claim", "settle")
        whole = [one for one in found["gateways"] if one["side"] == "postgresql"]
        return cls(
            accept_gateway=cost("gateway_us", "accept"),
            accept_database=cost("database_us", "accept"),
            deliver_gateway=cost("gateway_us", "claim", "settle"),
            deliver_database=cost("database_us", "claim", "settle"),
            loop_us=median(one["gateway_us"] for one in whole) - own.fixed / FULL - own.row,
            log_bytes=median(one["wal_bytes"] for one in whole),
            paced=tuple(
                _paced(found["paced"], rate) for rate in sorted({one["rate"] for one in found["paced"]})
            ),
        )


def _paced(rows: Sequence[Mapping[str, Any]], rate: float) -> Paced:
    mine = [one for one in rows if one["rate"] == rate]
    return Paced(
        rate=rate,
        gateway_us=median(one["gateway_us"] for one in mine),
        database_us=median(one["database_us"] for one in mine),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What was not measured."""

    round_trip_ms: float = 0.5
    """Between a gateway and the database, in another zone of a region."""
    flush_ms: float = 1.0
    """Of a commit: the disk's, and the synchronous standby's."""
    cores: int = 32
    """Of a database server."""
    core_share: float = 0.5
    """Of them, in use at most; the rest is for vacuum, peaks, and the standby that takes over."""
    log_bytes_per_second: float = 150e6
    """What a database server writes, and its standby takes, without stopping."""
    connections: int = 600
    """Sessions of one server."""
    gateway_share: float = 0.5
    """Of a gateway's core, in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One at some load."""

    rate: float
    """Notifications a second."""
    gateway_us: float
    database_us: float
    accept_rows: float
    """In a transaction."""
    commits_per_second: float
    p50_ms: float
    p99_ms: float


def gateway_at(rate: float, measured: Measured, assumed: Assumed, busy: float = 0.0) -> Gateway:
    """Say how one does at a rate, on a database that is `busy` (0 to 1); ValueError: it cannot keep up."""
    stretch = 1 / (1 - busy)
    accept_us, accept_rows = _transaction(
        rate, ACCEPT_TRIPS, measured.accept_gateway, measured.accept_database, stretch, assumed
    )
    _, deliver_rows = _transaction(
        rate, DELIVER_TRIPS, measured.deliver_gateway, measured.deliver_database, stretch, assumed
    )

    def shared(accept: Cost, deliver: Cost) -> float:
        return accept.fixed / accept_rows + accept.row + deliver.fixed / deliver_rows + deliver.row

    gateway_us = measured.loop_us + shared(measured.accept_gateway, measured.deliver_gateway)
    share = rate * gateway_us / 1e6
    if share >= 1:
        raise ValueError(f"{rate:.0f}/s is more than a core")
    core_us = measured.loop_us / (1 - share)
    under_way = min(1.0, rate * accept_us / 1e6)
    return Gateway(
        rate=rate,
        gateway_us=gateway_us,
        database_us=shared(measured.accept_database, measured.deliver_database),
        accept_rows=accept_rows,
        commits_per_second=rate / accept_rows + rate / deliver_rows,
        p50_ms=(core_us * math.log(2) + accept_us * (1 + under_way / 2)) / 1e3,
        p99_ms=(core_us * NINETY_NINE + accept_us * 2) / 1e3,
    )


def _transaction(
    rate: float, trips: int, own: Cost, theirs: Cost, stretch: float, assumed: Assumed
) -> tuple[float, float]:
    """Return how long a transaction takes, in microseconds, and how many rows it has."""
    fixed = 1e3 * (trips * assumed.round_trip_ms + assumed.flush_ms) + own.fixed + theirs.fixed * stretch
    row = own.row + theirs.row * stretch
    if rate * row >= 1e6:
        raise ValueError(f"{rate:.0f}/s is more than one connection can write")
    lasts = max(fixed + row, fixed / (1 - rate * row / 1e6))
    return lasts, max(1.0, rate * lasts / 1e6)


def rate_at(share: float, measured: Measured, assumed: Assumed, busy: float = 0.0) -> float:
    """Return the rate at which a gateway uses such a share of its core."""
    low, high = 0.0, 1e6 / measured.loop_us
    for _ in range(60):
        middle = (low + high) / 2
        try:
            too_much = middle * gateway_at(middle, measured, assumed, busy).gateway_us / 1e6 > share
        except ValueError:
            too_much = True
        low, high = (low, middle) if too_much else (middle, high)
    return low


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """So many machines, a gateway each."""

    machines: int
    gateway: Gateway
    databases: int
    limit: str
    """What asks for so many databases."""
    cores: float
    """In use, of each database."""
    log_bytes_per_second: float
    """Of each."""
    connections: int
    """Of each."""


def size_for(machines: int, measured: Measured, assumed: Assumed) -> Size:
    """Say how many databases so many machines need, and what each of these does."""
    busy = assumed.core_share
    rate = rate_at(assumed.gateway_share, measured, assumed, busy)
    one = gateway_at(rate, measured, assumed, busy)
    asked = {
        "CPU": machines * rate * one.database_us / 1e6 / (assumed.cores * assumed.core_share),
        "log": machines * rate * measured.log_bytes / assumed.log_bytes_per_second,
        "connections": machines * CONNECTIONS / assumed.connections,
    }
    limit = max(asked, key=lambda name: asked[name])
    databases = max(1, math.ceil(asked[limit]))
    here = math.ceil(machines / databases)
    cores = here * rate * one.database_us / 1e6
    return Size(
        machines=machines,
        gateway=gateway_at(rate, measured, assumed, min(busy, cores / assumed.cores)),
        databases=databases,
        limit=limit,
        cores=cores,
        log_bytes_per_second=here * rate * measured.log_bytes,
        connections=here * CONNECTIONS,
    )


def markdown(measured: Measured, assumed: Assumed) -> str:
    """Render both tables, with what they stand on."""
    sizes = [size_for(machines, measured, assumed) for machines in MACHINES]
    most = _machines_of_one(measured, assumed)
    loads = [(share, gateway_at(rate_at(share, measured, assumed), measured, assumed)) for share in SHARES]
    return "\n".join(
        [
            f"Measured: a notification costs a gateway {measured.loop_us:.0f} µs besides its transactions, "
            f"and {measured.log_bytes / 1e3:.1f} kB of log. A transaction that stores takes "
            f"{_cost(measured.accept_gateway)} of the gateway and {_cost(measured.accept_database)} of the "
            f"database; one that settles and leases, {_cost(measured.deliver_gateway)} and "
            f"{_cost(measured.deliver_database)}.",
            "",
            f"Assumed: {assumed.round_trip_ms:g} ms a round trip, {assumed.flush_ms:g} ms a commit's flush "
            f"(disk and standby), database servers of {assumed.cores} cores of which "
            f"{assumed.core_share:.0%} may be in use, {assumed.log_bytes_per_second / 1e6:.0f} MB/s of log "
            f"and {assumed.connections} sessions each; a machine is one gateway whose "
            f"core is {assumed.gateway_share:.0%} in use.",
            "",
            "| machines | notifications/s | databases | asked for by | cores in use, each | log MB/s, each "
            "| connections, each | commits/s, each | acknowledged in, median / p99 |",
            "| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
            *(
                f"| {one.machines:,} | {one.machines * one.gateway.rate:,.0f} | {one.databases} "
                f"| {one.limit if one.databases > 1 else 'one suffices'} | {one.cores:.1f} "
                f"| {one.log_bytes_per_second / 1e6:.0f} | {one.connections:,} "
                f"| {one.connections // CONNECTIONS * one.gateway.commits_per_second:,.0f} "
                f"| {one.gateway.p50_ms:.1f} / {one.gateway.p99_ms:.1f} ms |"
                for one in sizes
            ),
            "",
            f"One database of this kind serves {most} such machines.",
            "",
            "| of a gateway's core in use | notifications/s | rows a transaction "
            "| acknowledged in, median / p99 |",
            "| ---: | ---: | ---: | ---: |",
            *(
                f"| {share:.0%} | {one.rate:,.0f} | {one.accept_rows:.1f} "
                f"| {one.p50_ms:.1f} / {one.p99_ms:.1f} ms |"
                for share, one in loads
            ),
            "",
            *_held_against(measured, assumed),
        ]
    )


def _held_against(measured: Measured, assumed: Assumed) -> list[str]:
    """Show CPU of a notification, as measured on loopback and as the model has it there."""
    loopback = replace(assumed, round_trip_ms=LOOPBACK_MS)
    rows = [(one, gateway_at(one.rate, measured, loopback)) for one in measured.paced]
    return [
        f"The model ({LOOPBACK_MS:g} ms a round trip) beside what was measured on loopback, CPU µs of a "
        "notification:",
        "",
        "| notifications/s | gateway, measured | model | PostgreSQL, measured | model |",
        "| ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {seen.rate:,.0f} | {seen.gateway_us:,.0f} | {one.gateway_us:,.0f} | {seen.database_us:,.0f} "
            f"| {one.database_us:,.0f} |"
            for seen, one in rows
        ),
    ]


def _machines_of_one(measured: Measured, assumed: Assumed) -> int:
    """Return how many one database serves."""
    machines = 1
    while size_for(machines + 1, measured, assumed).databases == 1:
        machines += 1
    return machines


def _cost(cost: Cost) -> str:
    return f"{cost.fixed:,.0f} µs and {cost.row:.0f} µs a row"


def main() -> int:
    """Read the command line, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__)
    defaults = Assumed()
    for name in ("round_trip_ms", "flush_ms", "core_share", "log_bytes_per_second", "gateway_share"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    for name in ("cores", "connections"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    parser.add_argument("--publish", action="store_true", help="write the tables into docs/scaling.md")
    given = vars(parser.parse_args())
    publish = given.pop("publish")
    text = markdown(Measured.read(json.loads(RESULT.read_text())), Assumed(**given))
    print(text)  # noqa: T201 - that is what it is for
    if publish:
        SECTION.rewrite(PAGE, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
