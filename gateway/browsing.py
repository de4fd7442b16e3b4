"""Dead letters for the dashboard: a page of a list, and one by its id; bounded.

Files are read in threads. Where gateways share a spool, what all of them have is asked for.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec
import trio

from gateway.admin.actions import Actions
from gateway.admin.dashboard.letters import Attempt, Letter, Page, Row, Wanted
from gateway.admin.requests import LettersRequest
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import DELIVERY_ID, DeadLetter, Reason, decode
from gateway.delivery.replay import Word
from gateway.delivery.selection import Selection, parse_moment
from gateway.errors import DeadLetterError, UsageError
from gateway.listing import FOUND

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
        return selection_of(wanted, self._now_ms())

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
        return _shown(self._store.read(found), file=str(self._store.directory / found.name))


class SharedBrowser:
    """Asks for the dead letters of all gateways that share a spool (`admin.dashboard.letters.Letters`)."""

    def __init__(self, actions: Actions, *, now_ms: Callable[[], int]) -> None:
        self._actions = actions
        self._now_ms = now_ms

    def reasons(self) -> tuple[str, ...]:
        """Return every word that a reason may be."""
        return tuple(Reason)

    async def page(self, wanted: Wanted) -> Page:
        """List some; see `Letters`."""
        selection = selection_of(wanted, self._now_ms())
        asked = LettersRequest(
            target=selection.target,
            field=selection.field,
            reason=selection.reason,
            since_ms=selection.since_ms or 0,
            after=_after(wanted.after),
            newest_first=True,
            limit=ROWS,
        )
        if selection.until_ms is not None:
            asked = msgspec.structs.replace(asked, until_ms=selection.until_ms)
        said: Any = await self._actions.list_letters(asked)
        several = said["gateways"] > 1
        return Page(
            rows=tuple(
                _listed_row(row, gateway=row["gateway"] if several else "") for row in said["letters"]
            ),
            after="" if said["after"] is None else "{}/{}".format(*said["after"]),
            looked_at=said["looked_at"],
        )

    async def find(self, identifier: str) -> Letter | None:
        """Return one; see `Letters`."""
        if not DELIVERY_ID.fullmatch(identifier):
            return None
        said: Any = await self._actions.read_letter(identifier)
        if said["result"] == Word.NOT_FOUND:
            return None
        if said["result"] != FOUND:
            raise DeadLetterError(str(said["detail"]) or str(said["result"]).replace("_", " "))
        letter = decode(json.dumps(said["letter"]).encode(), name=str(said["file"]))
        shown = _shown(letter, file=str(said["file"]))
        return replace(shown, row=replace(shown.row, gateway=str(said.get("gateway", ""))))


def _after(text: str) -> tuple[int, str] | None:
    """Read where the page before ended; what is none begins anew."""
    at_ms, _, identifier = text.partition("/")
    return (int(at_ms), identifier) if at_ms.isascii() and at_ms.isdigit() and len(at_ms) < 16 else None


def _listed_row(row: dict[str, Any], *, gateway: str) -> Row:
    if "problem" in row:
        return Row(id=row["id"], target=row["target"], reason="", problem=row["problem"], gateway=gateway)
    return Row(
        id=row["id"],
        target=row["target"],
        reason=row["reason"],
        app=row["app"],
        fields=tuple(row["fields"]),
        kinds=tuple(row["kinds"]),
        received_ms=_unix_ms(row["received_at"]),
        died_ms=_unix_ms(row["died_at"]),
        attempts=row["attempts"],
        last=_outcome(row["last_status"], row["last_error"]) if row["attempts"] else "",
        body_bytes=row["body_bytes"],
        gateway=gateway,
    )


def _unix_ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def selection_of(wanted: Wanted, now_ms: int) -> Selection:
    """Read a filter as it was typed. Raises UsageError: it says nothing."""
    if wanted.reason and wanted.reason not in set(Reason):
        raise UsageError(f"{wanted.reason!r:.40} is no reason", remedy=f"one of {', '.join(Reason)}")
    return Selection(
        target=wanted.target or None,
        field=wanted.field or None,
        reason=Reason(wanted.reason) if wanted.reason else None,
        since_ms=parse_moment(wanted.since, now_ms=now_ms, option="since") if wanted.since else None,
        until_ms=parse_moment(wanted.until, now_ms=now_ms, option="until") if wanted.until else None,
    )


def _shown(letter: DeadLetter, *, file: str) -> Letter:
    summary = letter.summary
    return Letter(
        row=_row(letter),
        notification_id=letter.notification_id,
        url=letter.url or "",
        object=summary.object or "",
        waba=summary.waba or "",
        phone_number_id=summary.phone_number_id or "",
        file=file,
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
