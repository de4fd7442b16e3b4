"""The figures of PostgreSQL on the screen, as JSON, and on the page."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.markdown import Markdown

from bench.ground import BENCH
from bench.page import Section, store
from bench.postgresql.gateways import SHARED
from bench.report import PAGE

RESULT: Final = BENCH / "results" / "postgresql.json"
SECTION: Final = Section(
    begin="<!-- postgresql: written by python -m bench.postgresql -->", end="<!-- end of postgresql -->"
)
TITLES: Final = {
    "sqlite": "one gateway, SQLite",
    "postgresql": "one gateway, PostgreSQL",
    "workers": "one gateway of two workers, PostgreSQL",
    "two": "two gateways, the same PostgreSQL",
}
DEPTH_ENOUGH: Final = 1.5
ACCEPT_ENOUGH: Final = 0.5
"""The ratios that the project asked of itself."""

Row = Mapping[str, Any]


def publish(found: Mapping[str, Any]) -> None:
    """Write the JSON and the page."""
    store(RESULT, found)
    SECTION.rewrite(PAGE, markdown(found))


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print them."""
    console.print(Markdown(markdown(found)))


def markdown(found: Mapping[str, Any]) -> str:
    """Render what was measured."""
    machine = found["machine"]
    parts = [
        f"Measured {machine['measured_at'][:10]}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['file_system']}; PostgreSQL {machine['postgresql']}."
    ]
    if appends := found.get("appends"):
        parts += [
            "**The spool alone: durable appends, by tasks that each wait for the last commit**",
            _appends(appends),
        ]
    if gateways := found.get("gateways"):
        parts += ["**Whole gateways: 64 connections, accepted and delivered**", _gateways(gateways)]
    if shares := found.get("shares"):
        parts += ["**Gateways on the same PostgreSQL that have 0.15 of a core each**", _shares(shares)]
    if paced := found.get("paced"):
        parts += ["**One gateway on PostgreSQL under paced load**", _paced(paced)]
    if batches := found.get("batches"):
        parts += ["**CPU µs of a transaction by its size, gateway + PostgreSQL**", _batches(batches)]
    if depth := found.get("depth"):
        parts += [
            f"**CPU µs a row, with {depth['shallow']:,} and with {depth['deep']:,} deliveries pending, "
            "gateway + PostgreSQL**",
            _depth(depth["compared"]),
        ]
    return "\n\n".join(parts)


def _table(head: str, rows: Sequence[str]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, f"| --- |{' ---: |' * (columns - 1)}", *rows])


def ratios(rows: Sequence[Row], of: str, key: str, one: str, other: str) -> list[float]:
    """Return, round by round, what `one` had divided by what `other` had."""
    by = {(row[key], row["round"]): row[of] for row in rows}
    numbers = sorted({row["round"] for row in rows})
    return [by[one, number] / by[other, number] for number in numbers]


def _range(values: Sequence[float]) -> str:
    return f"{median(values):.2f}x ({min(values):.2f}-{max(values):.2f})"


def _median(rows: Sequence[Row]) -> Callable[[str], float]:
    return lambda name: float(median(row[name] for row in rows))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _appends(rows: Sequence[Row]) -> str:
    lines = []
    for tasks in sorted({row["tasks"] for row in rows}):
        mine = [row for row in rows if row["tasks"] == tasks]
        for engine, title in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
            of = _median([row for row in mine if row["engine"] == engine])
            beside = ratios(mine, "per_second", "engine", engine, "sqlite") if engine != "sqlite" else []
            lines.append(
                _line(
                    f"{title}, {tasks} tasks",
                    f"{of('per_second'):,.0f}",
                    _range(beside) if beside else "",
                    f"{ACCEPT_ENOUGH:g}x" if beside else "",
                    f"{of('p50_ms'):.1f}",
                    f"{of('p99_ms'):.1f}",
                    f"{of('gateway_us'):.0f}",
                    f"{of('database_us'):.0f}" if beside else "",
                    f"{of('rows_a_commit'):.0f}",
                )
            )
    return _table(
        "|  | appends/s | ratio | asked | p50 ms | p99 ms | gateway µs | PostgreSQL µs | rows a commit |",
        lines,
    )


_RATES: Final = ("per_second", "delivered_per_second")
_BESIDE: Final = {
    "postgresql": ("sqlite", "0.5x SQLite"),
    "workers": ("postgresql", ""),
    "two": ("postgresql", "above 1x one"),
}


def _gateways(rows: Sequence[Row]) -> str:
    lines, sides = [], {row["side"] for row in rows}
    for side, title in TITLES.items():
        if side not in sides:
            continue
        of = _median([row for row in rows if row["side"] == side])
        other, asked = _BESIDE.get(side, ("", ""))
        beside = other if other in sides else ""
        lines.append(
            _line(
                title,
                f"{of('per_second'):,.0f}",
                _range(ratios(rows, "per_second", "side", side, beside)) if beside else "",
                f"{of('delivered_per_second'):,.0f}",
                _range(ratios(rows, "delivered_per_second", "side", side, beside)) if beside else "",
                asked,
                f"{of('p50_ms'):.0f}",
                f"{of('p99_ms'):.0f}",
                f"{of('gateway_us'):.0f}",
                f"{of('database_us'):.0f}" if side != "sqlite" else "",
                f"{of('wal_bytes'):,.0f}" if side != "sqlite" else "",
            )
        )
    head = ("", "accepted/s", "ratio", "delivered/s", "ratio", "asked", "p50 ms", "p99 ms", "gateway µs")
    return _table(_line(*head, "PostgreSQL µs", "log bytes"), lines)


def _shares(rows: Sequence[Row]) -> str:
    lines = []
    for side, (number, _) in SHARED.items():
        of = _median([row for row in rows if row["side"] == side])
        beside = [ratios(rows, name, "side", side, "one of a share") for name in _RATES] if number > 1 else []
        lines.append(
            _line(
                f"{number}",
                f"{of('per_second'):,.0f}",
                _range(beside[0]) if beside else "",
                f"{of('delivered_per_second'):,.0f}",
                _range(beside[1]) if beside else "",
                "above 1x" if beside else "",
                f"{of('gateway_us'):.0f}",
                f"{of('database_us'):.0f}",
                f"{of('gateway_cores'):.2f}",
                f"{of('database_cores'):.2f}",
            )
        )
    head = ("gateways", "accepted/s", "ratio", "delivered/s", "ratio", "asked", "gateway µs", "PostgreSQL µs")
    return _table(_line(*head, "gateways' cores", "PostgreSQL's cores"), lines)


def _paced(rows: Sequence[Row]) -> str:
    lines = []
    for rate in sorted({row["rate"] for row in rows}):
        of = _median([row for row in rows if row["rate"] == rate])
        lines.append(
            f"| {rate:,.0f}/s | {of('p50_ms'):.1f} | {of('p99_ms'):.0f} | {of('gateway_us'):.0f} "
            f"| {of('database_us'):.0f} |"
        )
    return _table("| asked for | p50 ms | p99 ms | gateway µs | PostgreSQL µs |", lines)


def _batches(rows: Sequence[Row]) -> str:
    sizes = sorted({row["size"] for row in rows})
    by = {(row["kind"], row["size"]): row for row in rows}
    lines = [
        f"| {kind} | "
        + " | ".join(
            f"{by[kind, size]['gateway_us']:,.0f} + {by[kind, size]['database_us']:,.0f}" for size in sizes
        )
        + " |"
        for kind in dict.fromkeys(row["kind"] for row in rows)
    ]
    return _table(f"|  | {' | '.join(f'{size} rows' if size > 1 else '1 row' for size in sizes)} |", lines)


def _depth(rows: Sequence[Row]) -> str:
    lines = [
        f"| {row['kind']} | {row['shallow_gateway_us']:.1f} + {row['shallow_database_us']:.1f} "
        f"| {row['deep_gateway_us']:.1f} + {row['deep_database_us']:.1f} | {row['ratio']:.2f}x "
        f"| {DEPTH_ENOUGH:g}x |"
        for row in rows
    ]
    return _table("|  | few | many | ratio | asked |", lines)
