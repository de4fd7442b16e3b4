"""Dead letters for the dashboard: a page of a list, and one by its id; read in threads, and bounded."""

from collections.abc import Callable
from typing import Final

import trio

from gateway.admin.dashboard.letters import Attempt, Letter, Page, Row, Wanted
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import DELIVERY_ID, DeadLetter, Reason
from gateway.delivery.selection import Selection, parse_moment
from gateway.errors import DeadLetterError, UsageError

ROWS: Final = 50
"""Of one page."""
READ: Final = 500
"""Files that are read for one page: a tenth of a second, where a filter takes few of many."""
PLACES: Final = 1
"""Pages made at a time: more wait, so that nobody keeps threads or the disk from delivery."""


class Browser:
    """Reads dead letters (`admin.dashboard.letters.Letters`)."""

    def __init__(self, store: DeadLetterStore, *, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._places = trio.CapacityLimiter(PLACES)

    def reasons(self) -> tuple[str, ...]:
        """Return every word that a reason may be."""
        return tuple(Reason)

    async def page(self, wanted: Wanted) -> Page:
        """List some; see `Letters`."""
        selection = self._selection(wanted)
        return await trio.to_thread.run_sync(
            self._page, selection, wanted.after, limiter=self._places, abandon_on_cancel=True
        )

    async def find(self, identifier: str) -> Letter | None:
        """Return one; see `Letters`."""
        if not DELIVERY_ID.fullmatch(identifier):
            return None
        return await trio.to_thread.run_sync(
            self._find, identifier, limiter=self._places, abandon_on_cancel=True
        )

    def _selection(self, wanted: Wanted) -> Selection:
        now_ms = self._now_ms()
        if wanted.reason and wanted.reason not in set(Reason):
            raise UsageError(f"{wanted.reason!r:.40} is no reason", remedy=f"one of {', '.join(Reason)}")
        return Selection(
            target=wanted.target or None,
            field=wanted.field or None,
            reason=Reason(wanted.reason) if wanted.reason else None,
            since_ms=parse_moment(wanted.since, now_ms=now_ms, option="since") if wanted.since else None,
            until_ms=parse_moment(wanted.until, now_ms=now_ms, option="until") if wanted.until else None,
        )

    def _page(self, selection: Selection, after: str) -> Page:
        rows: list[Row] = []
        looked_at, last = 0, ""
        before = tuple(after.split("/")) if after else ()
        # By order, not by being there: the letter that was last on the page before may be gone.
        for found in self._store.iterate_back(
            target=selection.target, before=before, may_hold=selection.may_hold
        ):
            if len(rows) >= ROWS or looked_at >= READ:
                return Page(rows=tuple(rows), after=last, looked_at=looked_at)
            looked_at, last = looked_at + 1, "/".join(found.place)
            try:
                letter = self._store.read(found)
            except DeadLetterError as error:
                rows.append(Row(id=found.id, target=found.target, reason="", problem=str(error)))
            else:
                if selection.takes(letter):
                    rows.append(_row(letter))
        return Page(rows=tuple(rows), after="", looked_at=looked_at)

    def _find(self, identifier: str) -> Letter | None:
        found = self._store.find(identifier)
        if found is None:
            return None
        letter = self._store.read(found)
        summary = letter.summary
        return Letter(
            row=_row(letter),
            notification_id=letter.notification_id,
            url=letter.url or "",
            object=summary.object or "",
            waba=summary.waba or "",
            phone_number_id=summary.phone_number_id or "",
            file=str(self._store.directory / found.name),
            attempts=tuple(
                Attempt(
                    at_ms=one.at_ms,
                    outcome=_outcome(one.status, one.error),
                    duration_ms=one.duration_ms,
                    excerpt=one.response_excerpt,
                )
                for one in letter.attempts
            ),
            headers=letter.headers,
            body=letter.body,
        )


def _row(letter: DeadLetter) -> Row:
    last = letter.attempts[-1] if letter.attempts else None
    return Row(
        id=letter.id,
        target=letter.target,
        reason=str(letter.reason),
        app=letter.app,
        fields=letter.summary.fields,
        kinds=letter.summary.kinds,
        received_ms=letter.received_at_ms,
        died_ms=letter.died_at_ms,
        attempts=len(letter.attempts),
        last=_outcome(last.status, last.error) if last else "",
        body_bytes=len(letter.body),
    )


def _outcome(status: int | None, error: str) -> str:
    return f"status {status}" if status is not None else error
