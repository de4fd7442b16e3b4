"""Attempts that failed or were interrupted: rows beside the deliveries (promises 9 and 11)."""

from collections.abc import Sequence

from gateway.spool.history import AttemptRecord
from gateway.spool.postgresql.link import arrays
from gateway.spool.postgresql.session import Place, Session, places


def attempts_of(found: Sequence[Place], session: Session) -> dict[Place, list[AttemptRecord]]:
    """Return the attempts on record, in order, of those that have any."""
    attempts: dict[Place, list[AttemptRecord]] = {}
    for seq, position, number, at_ms, status, error, duration_ms, excerpt in (
        session.rows("attempts", **places(found)) if found else ()
    ):
        attempts.setdefault((seq, position), []).append(
            AttemptRecord(
                number=number,
                at_ms=at_ms,
                status=status,
                error=error.decode(),
                duration_ms=duration_ms,
                response_excerpt=excerpt.decode(),
            )
        )
    return attempts


def record(records: Sequence[tuple[Place, AttemptRecord]], session: Session) -> None:
    """Put attempts that have failed on record."""
    if not records:
        return
    rows = [
        (
            *place,
            one.number,
            one.at_ms,
            one.status,
            one.duration_ms,
            one.error.encode("utf-8", "replace"),
            one.response_excerpt.encode("utf-8", "replace"),
        )
        for place, one in records
    ]
    names = ("seq", "position", "number", "at_ms", "status", "duration_ms", "error", "response_excerpt")
    session.rows("record_attempts", **arrays(rows, *names))
