"""Dead letters that another gateway holds: shown, replayed and discarded there, where their files are.

What was asked is first done here; what lies elsewhere comes back as `elsewhere`. For that all others are
asked, and whoever holds one answers. Each puts on its own audit log what it does itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from gateway.admin.actions import ActionResult, Actions
from gateway.admin.requests import DiscardRequest, LetterRequest, ReplayRequest
from gateway.delivery.dead_letter_record import decode
from gateway.delivery.replay import Word
from gateway.errors import DeadLetterError
from gateway.listing import FOUND
from gateway.process.correspondence import Correspondence, Desk

LETTERS_SECONDS: Final = 45.0
"""For what is done to a hundred dead letters, durably; the command waits a minute."""
UNHEARD: Final = (
    "start that gateway; where it is gone for good, bring its directory, hidden files and all, to another one"
)


class _ToldLetter(msgspec.Struct):
    """An answer to `read_letter`: `listing.shown_letter`."""

    result: str
    detail: str = ""
    file: str = ""
    letter: dict[str, Any] = {}


def letter_desks(own: Actions) -> dict[str, Desk]:
    """Return how others are answered."""

    async def held(ids: Sequence[str]) -> tuple[list[str], dict[str, ActionResult]]:
        """Divide them into those that are held here, and the rest; that is on no audit log."""
        said = await own.rehearse(ids, accept_edited=True)
        rest = {id_: one for id_, one in said.items() if one.result == Word.ELSEWHERE}
        return [id_ for id_ in ids if id_ not in rest], rest

    async def replay(asked: ReplayRequest) -> Mapping[str, ActionResult]:
        here, rest = await held(asked.ids)
        return {**rest, **(await own.replay(here, accept_edited=asked.accept_edited) if here else {})}

    async def discard(asked: DiscardRequest) -> Mapping[str, ActionResult]:
        here, rest = await held(asked.ids)
        return {**rest, **(await own.discard(here) if here else {})}

    async def rehearse(asked: ReplayRequest) -> Mapping[str, ActionResult]:
        return await own.rehearse(asked.ids, accept_edited=asked.accept_edited)

    async def read_letter(asked: LetterRequest) -> Mapping[str, object]:
        return await own.read_letter(asked.id)

    return {
        "replay_letters": Desk(arguments=ReplayRequest, answer=replay),
        "discard_letters": Desk(arguments=DiscardRequest, answer=discard),
        "rehearse_letters": Desk(arguments=ReplayRequest, answer=rehearse),
        "read_letter": Desk(arguments=LetterRequest, answer=read_letter),
    }


async def results_of_all(
    others: Correspondence, action: str, own: Mapping[str, ActionResult], **arguments: object
) -> Mapping[str, ActionResult]:
    """Have those do it to dead letters who hold them, where `own` results say that others do. Each of the
    others is asked for all of these; whoever does not hold one says so."""
    ids = [id_ for id_, one in own.items() if one.result == Word.ELSEWHERE]
    results = dict(own)
    if not ids:
        return results
    replies = await others.ask_all(
        f"{action}_letters", dict[str, ActionResult], within_seconds=LETTERS_SECONDS, ids=ids, **arguments
    )
    for said in replies.said.values():
        for id_ in ids:
            if (one := said.get(id_)) is not None and one.result != Word.ELSEWHERE:
                results[id_] = one
    return {id_: _unheard(one) if one.result == Word.ELSEWHERE else one for id_, one in results.items()}


async def letter_of_all(
    others: Correspondence, identifier: str, own: Mapping[str, object]
) -> Mapping[str, object]:
    """Return a dead letter from whoever holds it, where `own` result says that another does."""
    if own["result"] != Word.ELSEWHERE:
        return own
    replies = await others.ask_all("read_letter", _ToldLetter, within_seconds=LETTERS_SECONDS, id=identifier)
    names = {one.id: one.name for one in replies.others}
    for id_, said in replies.said.items():
        if said.result != Word.ELSEWHERE and _is_whole(said, identifier):
            return {**msgspec.structs.asdict(said), "gateway": names.get(id_, "")}
    return {**own, "detail": _unheard(ActionResult(result="", detail=str(own["detail"]))).detail}


def _is_whole(said: _ToldLetter, identifier: str) -> bool:
    """Whether that is the letter, where it is one: it may be of another version, or forged."""
    if said.result != FOUND:
        return True
    try:
        return decode(json.dumps(said.letter).encode(), name="").id == identifier
    except DeadLetterError:
        return False


def _unheard(one: ActionResult) -> ActionResult:
    """Say what to do about a letter whose holder does not answer."""
    return replace(one, detail=f"{one.detail}; it does not answer: {UNHEARD}")
