"""Dead letters as rows: a table on a terminal, tab-separated cells in a pipe, JSON for scripts."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from gateway.cli.output import err, json_text, out
from gateway.errors import DeadLetterError

if TYPE_CHECKING:
    from gateway.delivery.dead_letter_place import Found
    from gateway.delivery.dead_letter_record import DeadLetter

PAGE_ROWS: Final = 500
"""Rows of a table on a terminal that are laid out at a time."""

Row = dict[str, object]
SEVERAL: Final = "several"
"""Of a row: whether letters may be with several gateways."""

_COLUMNS: Final = ("id", "target", "reason", "fields", "received_at", "died_at", "last")
_HOLDER: Final = "gateway"
_TERMINAL_COLUMNS: Final = ("id", "reason", "fields", "received_at", "last")
"""Narrower: the id names the target, `show` has the rest, and `last` is left out where nothing was tried."""


def row_of(found: "Found", letter: "DeadLetter | DeadLetterError") -> Row:
    """What a list tells of one letter: nothing of its body."""
    from gateway.delivery.message import rfc3339

    if isinstance(letter, DeadLetterError):
        return {"id": found.id, "target": found.target, "problem": str(letter)}
    last = letter.attempts[-1] if letter.attempts else None
    return {
        "id": letter.id,
        "target": letter.target,
        "reason": str(letter.reason),
        "app": letter.app,
        "object": letter.summary.object,
        "fields": list(letter.summary.fields),
        "kinds": list(letter.summary.kinds),
        "waba": letter.summary.waba,
        "phone_number_id": letter.summary.phone_number_id,
        "received_at": rfc3339(letter.received_at_ms),
        "died_at": rfc3339(letter.died_at_ms),
        "attempts": len(letter.attempts),
        "last_status": last.status if last else None,
        "last_error": last.error if last else "",
        "body_bytes": len(letter.body),
    }


def cells_of(row: Row) -> list[str]:
    """The cells of a line in a pipe, in the order of the columns."""
    from gateway.telemetry.redaction import visible

    if "problem" in row:
        problem = visible(str(row["problem"]))
        return [str(row["id"]), str(row["target"]), "unreadable", "", "", "", problem, *_holder(row)]
    fields = row["fields"]
    shown = {
        **row,
        "fields": ",".join(fields) if isinstance(fields, list) else "",
        "last": row["last_status"] or row["last_error"],
    }
    return [*(visible(str(shown[column])) for column in _COLUMNS), *_holder(row)]


def _holder(row: Row) -> list[str]:
    """Where gateways share a spool: the one that has the letter."""
    from gateway.telemetry.redaction import visible

    return [visible(str(row["gateway"]))] if "gateway" in row else []


def stream_json(rows: Iterable[Row]) -> None:
    """Print a JSON array, row by row: there may be more than memory should hold."""
    separator = "["
    for row in rows:
        out(separator + json_text({key: value for key, value in row.items() if key != SEVERAL}))
        separator = ","
    out("]" if separator == "," else "[]")


def print_tables(rows: Iterator[Row]) -> None:
    """Print a table for a terminal, a page at a time."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gateway.telemetry.redaction import visible

    console = Console()
    empty = True
    holders: dict[tuple[str, str], int] = {}
    """Told below, by number: their names are long."""
    while page := list(islice(rows, PAGE_ROWS)):
        empty = False
        several = any(row.get(SEVERAL) for row in page)
        # The column more is paid for with the gaps: at 80 columns an id and `messages` stay in one piece.
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0) if several else (0, 1))
        # (Without the last, where there is no holder to tell.)
        rows_shown = [dict(zip((*_COLUMNS, _HOLDER), cells_of(row), strict=False)) for row in page]
        columns = [
            one for one in _TERMINAL_COLUMNS if one != "last" or any(cells["last"] for cells in rows_shown)
        ]
        if several:
            columns.append(_HOLDER)
            for row, cells in zip(page, rows_shown, strict=True):
                holder = (str(row["gateway"]), str(row["directory"]))
                cells[_HOLDER] = str(holders.setdefault(holder, len(holders) + 1))
        for column in columns:
            # An id is there to be copied, a time to be read: they stay in one piece, the others make room.
            whole = column in {"id", "received_at"}
            heading = "on" if column == _HOLDER else column.removesuffix("_at")
            table.add_column(heading, overflow="fold", no_wrap=whole)
        for cells in rows_shown:
            cells["received_at"] = cells["received_at"][5:16].replace("T", " ")
            table.add_row(*(Text(cells[column]) for column in columns))
        console.print(table)
    for (gateway, directory), number in holders.items():
        console.print(Text(f"on {number}: {visible(gateway) or 'unknown'}, {visible(directory)}"))
    if not empty:
        err("gateway dead-letters show ID says why, replay sends again (--dry-run first), discard removes")
