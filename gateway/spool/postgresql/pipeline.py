"""A transaction in one round trip: begin, two statements, commit, sent together and answered together.

libpq's pipeline mode, by psycopg's own binding of it. (psycopg's `Connection.pipeline` tidies up after an
error by waiting for what will not come, and takes what was given up for prepared.)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)([sb])")
_FORMATS: Final = {"s": Format.TEXT, "b": Format.BINARY}
Rows = list[tuple[int | None, ...]]


@dataclass(frozen=True, slots=True)
class Statement:
    """One of psycopg's style, as the server knows it."""

    text: bytes
    names: tuple[str, ...]
    formats: tuple[Format, ...]

    @classmethod
    def of(cls, text: str) -> "Statement":
        """Number the placeholders: the same name, the same number."""
        kinds = dict(_PLACEHOLDER.findall(text))
        names = tuple(kinds)
        numbered = _PLACEHOLDER.sub(lambda found: f"${names.index(found[1]) + 1}", text)
        return cls(numbered.encode(), names, tuple(_FORMATS[kind] for kind in kinds.values()))

    def values(self, bindings: Mapping[str, Any]) -> list[bytes | None]:
        """Return what is bound: numbers and texts as text; what is binary brings its bytes."""
        return [_bytes_of(bindings[name]) for name in self.names]


def _bytes_of(value: Any) -> bytes | None:
    if value is None:
        return None
    return value.data if hasattr(value, "data") else str(value).encode()


@dataclass(slots=True)
class Pipeline:
    """What of one connection's statements the server has prepared."""

    pgconn: PGconn
    prepared: set[str] = field(default_factory=set)
    """Names."""

    def transaction(
        self, first: bytes, name: str, statement: Statement, values: list[bytes | None]
    ) -> PQGen[Rows]:
        """Do it; the rows of the second statement, which are of integers. For `Connection.wait`.

        Raises:
            psycopg.Error: something of it failed; the connection is of no use any more.
        """
        pgconn = self.pgconn
        pgconn.enter_pipeline_mode()
        pgconn.send_query_params(b"BEGIN", None)
        pgconn.send_query_params(first, None)
        if name not in self.prepared:
            pgconn.send_close_prepared(name.encode())  # no error where there is none
            pgconn.send_prepare(name.encode(), statement.text)
            self.prepared.add(name)
        pgconn.send_query_prepared(name.encode(), values, param_formats=statement.formats)
        pgconn.send_query_params(b"COMMIT", None)
        pgconn.pipeline_sync()
        yield from _send(pgconn)
        results = yield from _receive(pgconn)
        pgconn.exit_pipeline_mode()
        return _rows(results[-2])


def _send(pgconn: PGconn) -> PQGen[None]:
    """Send what was queued, and read meanwhile: a server whose answers nobody reads takes no more."""
    while True:
        ready = yield Wait.RW
        if ready & Ready.R:
            pgconn.consume_input()
        if ready & Ready.W and not pgconn.flush():
            return


def _receive(pgconn: PGconn) -> PQGen[list[PGresult]]:
    """Return what was answered, up to the mark at the end. Raises `psycopg.Error`: the first that failed."""
    results: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            if (yield Wait.R):
                pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # the end of one answer, or of the connection
            if pgconn.status == ConnStatus.BAD:
                raise psycopg.OperationalError("the connection was lost")
        elif result.status == ExecStatus.PIPELINE_SYNC:
            return results
        elif result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, encoding="utf-8")
        else:
            results.append(result)


def _rows(result: PGresult) -> Rows:
    return [
        tuple(_integer(result.get_value(row, column)) for column in range(result.nfields))
        for row in range(result.ntuples)
    ]


def _integer(value: bytes | None) -> int | None:
    return None if value is None else int(value)
