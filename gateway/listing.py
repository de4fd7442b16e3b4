"""Dead letters that gateways share, as they are told: on the admin port, on the pages, by the command."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.admin.requests import LettersRequest
from gateway.core.globs import compile_globs
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DeadLetter, Reason, encode
from gateway.delivery.message import rfc3339
from gateway.delivery.replay import Result
from gateway.errors import UsageError
from gateway.spool.letters import LetterIndex, LetterPlace, LetterQuery, ListedLetter

LOOKED_AT: Final = 5000
"""Lines that are read for one answer: some tenths of a second, where a filter takes few of many."""
_PAGE: Final = 500
FOUND: Final = "found"
_NOBODY: Final = LetterPlace(id="", gateway="", directory="", silent_ms=0)


async def ask_letters(index: LetterIndex, asked: LettersRequest) -> dict[str, Any]:
    """Return at most `asked.limit` letters, fit for JSON:

        {"letters": [ROW, ...], "after": [UNIX_MS, ID] | null, "looked_at": 123, "gateways": 2}

    A ROW is as `gateway dead-letters list --json` prints it, with `gateway` and `directory`: who holds it.
    Where `after` is null, that was all; `gateways` are the directories that letters may be in.

    Raises:
        UsageError: there is no such reason.
        SpoolUnavailableError: the database cannot be asked.
    """
    if asked.reason is not None and asked.reason not in set(Reason):
        raise UsageError(f"{asked.reason!r:.40} is no reason", remedy=f"one of {', '.join(Reason)}")
    places = await index.places()
    if asked.begin is not None:
        named = await index.named(await index.beginning(asked.begin, limit=2))
        return _answer([shown_line(one, places) for one in named.values()], None, len(named), places)
    takes = _filter(asked.reason, asked.field)
    rows: list[dict[str, Any]] = []
    looked_at, after = 0, asked.after
    while True:
        page = await index.page(_query(asked, after))
        for one in page:
            after = (one.received_at_ms, one.id)
            looked_at += 1
            if takes(one):
                rows.append(shown_line(one, places))
            if len(rows) >= asked.limit or looked_at >= LOOKED_AT:
                return _answer(rows, after, looked_at, places)
        if len(page) < _PAGE:
            return _answer(rows, None, looked_at, places)


def _query(asked: LettersRequest, after: tuple[int, str] | None) -> LetterQuery:
    return LetterQuery(
        target=asked.target,
        since_ms=asked.since_ms,
        until_ms=asked.until_ms,
        newest_first=asked.newest_first,
        after=after,
        limit=_PAGE,
    )


def _answer(
    rows: list[dict[str, Any]],
    after: tuple[int, str] | None,
    looked_at: int,
    places: Mapping[str, LetterPlace],
) -> dict[str, Any]:
    return {"letters": rows, "after": after, "looked_at": looked_at, "gateways": len(places)}


def _filter(reason: str | None, field: str | None) -> Callable[[ListedLetter], bool]:
    """What cannot be read is always shown."""
    matches = None if field is None else compile_globs([field])

    def takes(one: ListedLetter) -> bool:
        return bool(one.problem) or (
            (reason is None or one.reason == reason) and (matches is None or any(map(matches, one.fields)))
        )

    return takes


def shown_line(one: ListedLetter, places: Mapping[str, LetterPlace]) -> dict[str, Any]:
    """Return a line fit for JSON."""
    place = places.get(one.place, _NOBODY)
    holder = {"gateway": place.gateway, "directory": place.directory}
    if one.problem:
        return {"id": one.id, "target": one.target, "problem": one.problem, **holder}
    return {
        "id": one.id,
        "target": one.target,
        "reason": one.reason,
        "app": one.app,
        "object": one.object,
        "fields": list(one.fields),
        "kinds": list(one.kinds),
        "waba": one.waba,
        "phone_number_id": one.phone_number_id,
        "received_at": rfc3339(one.received_at_ms),
        "died_at": rfc3339(one.died_at_ms),
        "attempts": one.attempts,
        "last_status": one.last_status,
        "last_error": one.last_error,
        "body_bytes": one.body_bytes,
        **holder,
    }


def shown_letter(opened: tuple[Found, DeadLetter] | Result, *, directory: Path) -> dict[str, Any]:
    """Return what was opened (`delivery.replay.Replayer.open`): see `admin.actions.Actions.read_letter`."""
    if isinstance(opened, Result):
        return {"result": opened.word.value, "detail": opened.detail}
    found, letter = opened
    return {"result": FOUND, "detail": "", "file": str(directory / found.name), "letter": content_of(letter)}


def content_of(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as its file has it, its own seal included."""
    return {**json.loads(encode(letter, seal_key=b"unused")), "integrity": letter.integrity}
