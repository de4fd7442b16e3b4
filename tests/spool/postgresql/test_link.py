"""Columns of a batch, as PostgreSQL reads them."""

import pytest

from gateway.spool.postgresql.link import array
from tests.postgresql.rig import Database

AWKWARD = [
    "",
    "NULL",
    "null",
    "{",
    "}",
    "{}",
    ",",
    '"',
    "\\",
    '\\"',
    '","',
    " a ",
    "\n\t",
    "é\u2028😀",
    "'",
    "%s",
]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["a", "b-c"]),
        ("text", AWKWARD),
        *(("text", [text]) for text in AWKWARD),
        ("text", [None, *AWKWARD, None]),
        ("text", [None]),
        ("text", []),
        ("bigint", [0, -1, 2**62]),
        ("bigint", [5, None]),
        ("boolean", [True, False]),
        ("double precision", [0.5, None, 1e-9]),
        ("bytea", [b"", b"\x00\xff", b"{"]),
    ],
)
def test_a_column_comes_out_as_it_went_in(database: Database, kind: str, values: list[object]) -> None:
    database.link.open()
    form = "b" if kind == "bytea" else "s"
    found = database.link.execute(f"SELECT unnest(%(given){form}::{kind}[])", {"given": array(values)})
    assert [row[0] for row in found] == values
