"""Where dead letters are looked up: in the files of this gateway, or in the list that gateways share."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gateway.cli.dead_letters.rows import SEVERAL, Row, row_of
from gateway.errors import DeadLetterError

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.delivery.selection import Selection
    from gateway.settings.model import Settings
    from gateway.spool.letters import LetterIndex

PATH = "/api/dead-letters"

Result = TypeVar("Result")

Tell = Callable[[str], None]


class Source(Protocol):
    """Says which letters there are."""

    def rows(self, selection: "Selection") -> Iterator[Row]:
        """Go through those that match, oldest first, and those that cannot be read."""
        ...

    def ids(self, selection: "Selection", *, before_ms: int, tell: Tell) -> Iterator[str]:
        """Go through the ids of those that match, and died before then; `tell` hears of what is left out."""
        ...

    def there(self, ids: Iterable[str]) -> frozenset[str]:
        """Return which of these there are."""
        ...

    def at_most(self, selection: "Selection") -> int | None:
        """Return how many may match, where that can be told at little cost."""
        ...

    def beginning(self, begin: str) -> list[str]:
        """Return up to two ids that begin so."""
        ...


class Files:
    """The files of this gateway, which nobody shares a spool with."""

    def __init__(self, store: "DeadLetterStore") -> None:
        self.store = store

    def rows(self, selection: "Selection") -> Iterator[Row]:
        """See `Source.rows`."""
        from gateway.delivery.selection import select

        return (row_of(found, letter) for found, letter in select(self.store, selection))

    def ids(self, selection: "Selection", *, before_ms: int, tell: Tell) -> Iterator[str]:
        """See `Source.ids`."""
        from gateway.delivery.selection import select

        for found, letter in select(self.store, selection):
            if isinstance(letter, DeadLetterError):
                tell(f"left out: {letter}")
            elif found.written_ms < before_ms:
                yield found.id

    def there(self, ids: Iterable[str]) -> frozenset[str]:
        """See `Source.there`."""
        from gateway.delivery.dead_letter_record import DELIVERY_ID

        return frozenset(id_ for id_ in ids if DELIVERY_ID.fullmatch(id_) and self.store.find(id_))

    def at_most(self, selection: "Selection") -> int:
        """See `Source.at_most`: judged by the names of the files alone."""
        found = self.store.iterate(target=selection.target, may_hold=selection.may_hold)
        return sum(1 for _ in found)

    def read(self, identifier: str) -> tuple[str, dict[str, Any]]:
        """Return the path of a letter, and what is in it, its own seal included."""
        from gateway.listing import content_of

        found = self.store.find(identifier)
        if found is None:
            raise DeadLetterError(f"there is no dead letter {identifier}", remedy="gateway dead-letters list")
        letter = self.store.read(found)
        return str(self.store.directory / found.name), content_of(letter)

    def beginning(self, begin: str) -> list[str]:
        """See `Source.beginning`; of one that is written out, the name of its file is looked for."""
        if self.there([begin]):
            return [begin]
        found: list[str] = []
        for one in self.store.iterate():
            if one.id.startswith(begin):
                found.append(one.id)
            if len(found) > 1:
                break
        return found


Ask = Callable[[Mapping[str, object]], dict[str, Any]]
"""Asks for a page of the list: `admin.requests.LettersRequest` -> `listing.ask_letters`."""


class Listed:
    """The list that gateways share: by the running gateway, or from the database."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def rows(self, selection: "Selection") -> Iterator[Row]:
        """See `Source.rows`."""
        asked: dict[str, object] = {
            "target": selection.target,
            "field": selection.field,
            "reason": selection.reason,
            "since_ms": selection.since_ms or 0,
            "limit": 500,
        }
        if selection.until_ms is not None:
            asked["until_ms"] = selection.until_ms
        while True:
            page = self._ask(asked)
            for row in page["letters"]:
                yield {**row, SEVERAL: page["gateways"] > 1}
            if page["after"] is None:
                return
            asked["after"] = page["after"]

    def ids(self, selection: "Selection", *, before_ms: int, tell: Tell) -> Iterator[str]:
        """See `Source.ids`."""
        from datetime import datetime

        for row in self.rows(selection):
            if "problem" in row:
                tell(f"left out: {row['problem']}")
            elif datetime.fromisoformat(str(row["died_at"])).timestamp() * 1000 < before_ms:
                yield str(row["id"])

    def there(self, ids: Iterable[str]) -> frozenset[str]:
        """See `Source.there`: what is on no list may lie in the directory all the same; who acts looks."""
        return frozenset(ids)

    def at_most(self, selection: "Selection") -> None:
        """See `Source.at_most`."""

    def beginning(self, begin: str) -> list[str]:
        """See `Source.beginning`."""
        return [str(row["id"]) for row in self._ask({"begin": begin})["letters"]]


@contextmanager
def source_of(
    settings: "Settings", gateway: "AdminClient | None", store: "DeadLetterStore"
) -> Iterator[Source]:
    """Give the source of a configuration; `gateway`: the one that runs with it."""
    from gateway.spool.opening import is_shared

    if not is_shared(settings.spool):
        yield Files(store)
    elif gateway is not None:
        yield Listed(partial(gateway.post, f"{PATH}/list"))
    else:
        with _letters_of(settings) as letters:
            yield Listed(partial(_ask_alone, letters))


@contextmanager
def _letters_of(settings: "Settings") -> Iterator["LetterIndex"]:
    """Open the list in the database, to read it. Raises SpoolUnavailableError."""
    from gateway.cli.stopped_spool import spool_with_dsn
    from gateway.spool.opening import open_letters

    with open_letters(spool_with_dsn(settings.spool)) as letters:
        yield letters


def _ask_alone(letters: "LetterIndex", asked: Mapping[str, object]) -> dict[str, Any]:
    import msgspec

    from gateway.admin.requests import LettersRequest
    from gateway.errors import UsageError
    from gateway.listing import ask_letters

    try:
        request = msgspec.convert(dict(asked), LettersRequest)
    except msgspec.ValidationError as error:
        raise UsageError(f"that is no id: {error}") from error
    return _finished(ask_letters(letters, request))


def _finished(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what awaits nothing to its end: also in the middle of something that does."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError("a question to the list that waits for something")
