"""The index of dead letters in the database (promises 33 to 35): rows in, rows out.

Names and texts of a letter come from Meta and from targets. Text of PostgreSQL's holds no NUL, and an array
is handed over with line breaks between its items: what a list shows of such a name has a replacement there.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec

from gateway.spool.letters import (
    FENCED_KEPT_MS,
    GONE_MS,
    LetterPlace,
    LetterQuery,
    LetterState,
    ListedLetter,
)
from gateway.spool.postgresql.link import arrays
from gateway.spool.postgresql.session import damaged

_COLUMNS: Final = tuple(field.name for field in msgspec.structs.fields(ListedLetter))
_UNFIT: Final = str.maketrans({"\0": "\ufffd", "\n": " "})

Result = TypeVar("Result")


class Rows(Protocol):
    """Runs a named statement: a session's, or a link's."""

    def __call__(self, name: str, /, **bindings: object) -> list[Any]: ...


def put(letters: Sequence[ListedLetter], rows: Rows, *, found: bool) -> frozenset[str]:
    """List letters, `found` ones where nothing speaks against it; return the ids of those that were."""
    each = {one.id: _columns(one) for one in letters}
    columns = arrays(list(each.values()), *_COLUMNS)
    return frozenset(row[0] for row in rows("list_letters", found=found, gone_ms=GONE_MS, **columns))


def _columns(one: ListedLetter) -> tuple[object, ...]:
    return tuple(
        "\n".join(map(_fit, value)) if isinstance(value, tuple) else _fit(value)
        for value in msgspec.structs.astuple(one)
    )


def _fit(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "replace").decode().translate(_UNFIT)


def take_off(ids: Sequence[str], rows: Rows, *, place: str | None = None) -> frozenset[str]:
    """Take letters off the list, of one place or of any; return which were on it."""
    return frozenset(row[0] for row in rows("unlist_letters", ids=list(ids), place=place))


def fence(files: Sequence[tuple[str, int]], rows: Rows) -> None:
    """Note of files, by id and token, that nobody needs them."""
    if files:
        rows("fence", ids=[id_ for id_, _ in files], tokens=[token for _, token in files])


def is_back(identifier: str, token: int, rows: Rows) -> bool:
    """Whether a letter that was taken out under this number has been brought back."""
    return [row[0] for row in rows("token_of_letter", id=identifier)] == [token]


class Letters:
    """A `LetterIndex`: asked through a gateway's writer, or by a command on a connection of its own."""

    def __init__(self, ask: Callable[[Callable[[Rows], Any], bool], Awaitable[Any]]) -> None:
        """`ask` has a question answered in a transaction, and is told whether it writes."""
        self._do = ask

    async def _ask(self, question: Callable[[Rows], Result], *, writes: bool = False) -> Result:
        answer: Result = await self._do(question, writes)
        return answer

    async def page(self, query: LetterQuery) -> tuple[ListedLetter, ...]:
        """See `LetterIndex.page`."""
        return await self._ask(partial(_page, query))

    async def named(self, ids: Sequence[str]) -> Mapping[str, ListedLetter]:
        """See `LetterIndex.named`."""
        return await self._ask(
            lambda rows: {one.id: one for one in _listed(rows("letters_named", ids=list(ids)))}
        )

    async def beginning(self, begin: str, *, limit: int) -> tuple[str, ...]:
        """See `LetterIndex.beginning`."""
        return await self._ask(
            lambda rows: tuple(row[0] for row in rows("letters_beginning", begin=begin, number=limit))
        )

    async def counts(self) -> Mapping[str, int]:
        """See `LetterIndex.counts`."""
        return await self._ask(lambda rows: dict(rows("count_letters")))

    async def states(self, files: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], LetterState]:
        """See `LetterIndex.states`."""
        ids, tokens = [id_ for id_, _ in files], [token for _, token in files]
        return await self._ask(
            lambda rows: {
                (id_, token): LetterState(state)
                for id_, token, state in rows("letter_states", ids=ids, tokens=tokens)
            }
        )

    async def bring_back(self, identifier: str, token: int, *, place: str) -> bool:
        """See `LetterIndex.bring_back`."""
        return await self._ask(
            lambda rows: bool(rows("bring_back", id=identifier, token=token, place=place)), writes=True
        )

    async def unlisted(self, place: str, ids: Sequence[str]) -> frozenset[str]:
        """See `LetterIndex.unlisted`."""
        return await self._ask(
            lambda rows: frozenset(
                row[0] for row in rows("unlisted_letters", place=place, ids=list(ids), gone_ms=GONE_MS)
            )
        )

    async def add(self, letters: Sequence[ListedLetter]) -> frozenset[str]:
        """See `LetterIndex.add`."""
        return await self._ask(lambda rows: put(letters, rows, found=True), writes=True)

    async def remove(self, ids: Sequence[str], *, place: str) -> frozenset[str]:
        """See `LetterIndex.remove`."""
        return await self._ask(lambda rows: take_off(ids, rows, place=place), writes=True)

    async def at(self, place: str, *, after: str, limit: int) -> tuple[tuple[str, str, int], ...]:
        """See `LetterIndex.at`."""
        return await self._ask(
            lambda rows: tuple(
                (id_, target, received_at_ms)
                for id_, target, received_at_ms in rows("letters_at", place=place, after=after, number=limit)
            )
        )

    async def announce(self, place: str, *, gateway: str, directory: str) -> None:
        """See `LetterIndex.announce`."""

        def ask(rows: Rows) -> None:
            rows("announce_place", id=place, gateway=gateway, directory=directory)
            rows("forget_fenced", kept_ms=FENCED_KEPT_MS)
            rows("forget_places", kept_ms=FENCED_KEPT_MS)

        await self._ask(ask, writes=True)

    async def places(self) -> Mapping[str, LetterPlace]:
        """See `LetterIndex.places`."""
        return await self._ask(
            lambda rows: {
                id_: LetterPlace(id=id_, gateway=gateway, directory=directory, silent_ms=silent_ms)
                for id_, gateway, directory, silent_ms in rows("places")
            }
        )

    async def seal_key(self, own: bytes) -> bytes:
        """See `LetterIndex.seal_key`."""

        def ask(rows: Rows) -> bytes:
            rows("offer_seal_key", key=own)
            [(key,)] = rows("seal_key")
            return bytes(key)

        return await self._ask(ask, writes=True)


def _page(query: LetterQuery, rows: Rows) -> tuple[ListedLetter, ...]:
    of_target = "" if query.target is None else "_of_target"
    since, until, after = query.since_ms, query.until_ms, ""
    if query.newest_first:
        # What was accepted at the last moment is before the one after it.
        until, after = query.after or (query.until_ms + 1, "")
        name = f"letters_back{of_target}"
    else:
        since, after = query.after or (query.since_ms - 1, "\U0010ffff")
        name = f"letters_forward{of_target}"
    # What a page or a command asks for may be anything, and must not fail the batch that it is in.
    bindings: dict[str, object] = {} if query.target is None else {"target": _fit(query.target)}
    return _listed(
        rows(name, since_ms=since, until_ms=until, after=_fit(after), number=query.limit, **bindings)
    )


def _listed(found: Sequence[Any]) -> tuple[ListedLetter, ...]:
    try:
        return tuple(msgspec.convert(row, ListedLetter) for row in found)
    except msgspec.ValidationError as error:
        raise damaged(f"a dead letter is listed in no way of ours: {error}") from error
