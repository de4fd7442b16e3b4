"""What was delivered, kept for another sending (promises 26 and 27), inside the transaction of a batch."""

from collections.abc import Sequence
from typing import Any, Final

from gateway.spool.contract import KeptStates
from gateway.spool.postgresql.session import Place, Session, damaged, places
from gateway.spool.requests import AskKept, GetKept
from gateway.spool.stored_forms import kept_of

FORGET_SLICE: Final = 512
"""Kept deliveries forgotten at once, besides as many as came: some milliseconds."""
PAGE_BYTES: Final = 4 * 1024**2
"""Bodies of one page: more would hold up the thread, and memory."""


class Keeping:
    """Keeps what has been delivered, gives it out, and forgets it in time."""

    def __init__(self, *, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self.has_work = True
        """Whether something may be there."""

    def keep(self, delivered: Sequence[Place], session: Session) -> bool:
        """Keep deliveries that are about to be removed; called before they are. Whether they are kept."""
        if not delivered or not self._keep_ms:
            return False
        session.rows("keep_deliveries", clock_ms=session.clock_ms, **places(delivered))
        self._forget(session, FORGET_SLICE + len(delivered))
        return True

    def tidy(self, session: Session) -> bool:
        """Forget a slice of it; whether there was any."""
        return self._forget(session, FORGET_SLICE) > 0

    def wants_tidy(self, session: Session) -> bool:
        """Whether something is kept that is past its time."""
        [(oldest_ms,)] = session.rows("oldest_kept")
        self.has_work = self._keep_ms > 0 or oldest_ms is not None
        return oldest_ms is not None and oldest_ms <= session.clock_ms - self._keep_ms

    def oldest_ms(self, session: Session) -> int | None:
        """Return when the oldest of what is kept was delivered."""
        [(oldest_ms,)] = session.rows("oldest_kept")
        return None if oldest_ms is None else session.ours(oldest_ms)

    def get(self, request: GetKept, session: Session) -> None:
        """Give out a page (27)."""
        after_ms, after_seq = request.after or (request.since_ms - 1, 2**62)
        found = session.rows(
            "kept_page",
            after_ms=after_ms,
            after_seq=after_seq,
            until_ms=request.until_ms,
            number=request.limit,
        )
        rows: list[Any] = []
        size_bytes = 0
        for row in found:
            if row[2] is None:
                raise damaged("a delivery that is kept has lost its notification")
            size_bytes += row[5]
            if rows and size_bytes > PAGE_BYTES:
                break
            rows.append(row)
        bodies = dict(session.rows("bodies", seqs=[row[1] for row in rows])) if rows else {}
        request.result = tuple(kept_of(row, bodies.get(row[1])) for row in rows)

    def ask(self, request: AskKept, session: Session) -> None:
        """Say which of some ids wait, and which are kept."""
        ids = list(request.ids)
        request.result = KeptStates(
            waiting=frozenset(row[0] for row in session.rows("pending_ids", ids=ids)),
            kept=frozenset(row[0] for row in session.rows("kept_ids", ids=ids)),
        )

    def _forget(self, session: Session, number: int) -> int:
        [(forgotten,)] = session.rows("forget_kept", until_ms=session.clock_ms - self._keep_ms, number=number)
        return int(forgotten)
