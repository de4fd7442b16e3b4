"""Dead letters where gateways share a spool: files of the one, listed for all (promises 33 to 35).

A burial is a commit in two phases, with the database as its judge. The letter is written under the number of
its lease (`undecided`); the settlement lists it as the delivery goes; then the file comes to its place. Who
was late is refused, and removes what it has written. A replay goes the other way: out of its place under a
number of its own, off the list as the deliveries come back, and then the file goes.

    what a crash leaves                      what the database says         and so
    written, not settled                     held: it may be settled yet    it stays
    ... and another has leased it since      fenced                         it goes
    settled, not in its place                listed                         it comes to its place
    taken out for a replay, nothing stored   listed under another number    it comes back to its place, listed
                                                                            under its own: none stores it then
    ... and stored                           fenced                         it goes
    any of these, and the database has       unknown                        it comes to its place,
    forgotten (restored, made anew)                                         and is listed

The law above all: no copy is removed but where the database says that the delivery went on after it. Doubt
makes a dead letter too many, never one too few. So too for files in their places: they are nobody's to remove
but by replay, discard and prune. What is not listed there (of times before, copied, restored) is read and
listed; where another gateway has the same letter, that one stays listed, and the copy stays where it is. What
is listed here and has no file any more is taken off the list, and told of.

`look_after` does all that: at the start, and with the hourly upkeep.
"""

import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import trio

from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DELIVERY_ID, TARGET_NAME, DeadLetter
from gateway.delivery.message import rfc3339
from gateway.delivery.undecided import Undecided, UndecidedLetters, identify, number_of
from gateway.errors import DeadLetterError, SpoolUnavailableError
from gateway.spool.letters import LetterIndex, LetterState, ListedLetter
from gateway.telemetry.log import get_logger

DOUBT_MS: Final = 120_000
"""What nothing is known of is left alone for so long: somebody may be about to store it, with several tries
of 20 s."""
AT_ONCE: Final = 500
"""Files asked for together: a statement of milliseconds."""
CONCLUDE_SECONDS: Final = 5.0
"""For bringing files to their places, also while the gateway ends: a rename, and a disk that hangs is not
waited for."""
LAST_STATUS: Final = 2**31 - 1
"""That a list holds: a file may have been edited, and a status can be any number there."""
FIRST_TOKEN: Final = 2**61
"""Of those under which files are taken out; they are random. Leases count from 1; a bigint ends at 2^63."""

_log = get_logger("dead_letter")

Parts = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Written:
    file: Undecided
    parts: Parts


def line_of(letter: DeadLetter, *, place: str, token: int) -> ListedLetter:
    """Return what a list tells of a letter."""
    last = letter.attempts[-1] if letter.attempts else None
    return ListedLetter(
        id=letter.id,
        place=place,
        token=token,
        received_at_ms=letter.received_at_ms,
        died_at_ms=letter.died_at_ms,
        target=letter.target,
        reason=str(letter.reason),
        app=letter.app,
        object=letter.summary.object,
        fields=letter.summary.fields,
        kinds=letter.summary.kinds,
        waba=letter.summary.waba,
        phone_number_id=letter.summary.phone_number_id,
        attempts=len(letter.attempts),
        last_status=last.status if last and -LAST_STATUS <= (last.status or 0) <= LAST_STATUS else None,
        last_error=last.error if last else "",
        body_bytes=len(letter.body),
    )


def _line_of_unreadable(found: Found, problem: str, *, place: str) -> ListedLetter:
    return ListedLetter(
        id=found.id,
        place=place,
        token=0,
        received_at_ms=_hour_ms(found),
        died_at_ms=found.written_ms,
        target=found.target,
        reason="",
        app="",
        object=None,
        fields=(),
        kinds=(),
        waba=None,
        phone_number_id=None,
        attempts=0,
        last_status=None,
        last_error="",
        body_bytes=0,
        problem=problem,
    )


class SharedLetters:
    """The dead letters of one directory, of which all gateways know."""

    def __init__(self, store: DeadLetterStore, index: LetterIndex, *, now_ms: Callable[[], int]) -> None:
        self.store = store
        self.index = index
        self._files = UndecidedLetters(store)
        self._now_ms = now_ms
        self._written: dict[int, _Written] = {}
        """By token: what is to come to its place when the lease is settled."""
        self._places: dict[Path, str] = {}

    async def open(self) -> None:
        """Take the one key of the seals, accept our own besides, and say where we keep letters.

        Raises:
            SpoolUnavailableError: the database cannot be asked.
            DeadLetterError: the directory cannot be used.
        """
        await self.take_key()
        place = await trio.to_thread.run_sync(self.place)
        await self._announce(place)

    async def take_key(self) -> None:
        """Take the one key of the seals, and accept our own besides. Raises SpoolUnavailableError."""
        self.store.take_key(await self.index.seal_key(self.store.seal_key))

    def place(self, directory: Path | None = None) -> str:
        """Return the number of the directory, or of a former one; it is given one if need be. Blocks.

        Raises:
            DeadLetterError: it cannot be used.
        """
        directory = directory or self.store.directory
        if directory not in self._places:
            self.store.prepare()
            self._places[directory] = identify(directory)
        return self._places[directory]

    async def _announce(self, place: str) -> None:
        gateway = f"{socket.gethostname()}:{os.getpid()}"
        await self.index.announce(place, gateway=gateway, directory=str(self.store.directory))

    # -- where a letter is

    async def find(self, identifier: str) -> Found | ListedLetter | None:
        """Find a letter of this id in its place here; or return what is listed, where it is elsewhere.

        Raises:
            DeadLetterError: it is no id, or the directory cannot be read.
            SpoolUnavailableError: the list cannot be asked.
        """
        if not DELIVERY_ID.fullmatch(identifier):
            raise DeadLetterError(f"{identifier!r:.80} is not the id of a dead letter")
        listed = (await self.index.named([identifier])).get(identifier)
        place = await trio.to_thread.run_sync(self.place)
        if listed is not None and listed.place != place:
            return listed
        found = await trio.to_thread.run_sync(self._look, identifier, listed)
        if found is None:
            await self.decide_all(identifier)
            found = await trio.to_thread.run_sync(self._look, identifier, listed)
        return found

    def _look(self, identifier: str, listed: ListedLetter | None) -> Found | None:
        there = listed and self.store.look_at(_parts(listed.target, listed.received_at_ms), identifier)
        return there or self.store.find(identifier)

    async def holder(self, letter: ListedLetter) -> str:
        """Say who has a letter that is elsewhere, and where. Raises SpoolUnavailableError."""
        place = (await self.index.places()).get(letter.place)
        if place is None:
            return "a gateway that nothing is known of any more holds it"
        return f"gateway {place.gateway} holds it, in {place.directory}"

    # -- burial

    def write(self, letter: DeadLetter, token: int) -> ListedLetter:
        """Write a letter under the number of its lease, durable on return; what is to be listed. Blocks.

        Raises:
            DeadLetterError: it could not be written.
        """
        if not DELIVERY_ID.fullmatch(letter.id) or not TARGET_NAME.fullmatch(letter.target):
            raise DeadLetterError("a dead letter's id or target is not fit for a file name")
        self.place()  # where that fails, nothing is written
        file = self._files.write(letter, token)
        self._written[token] = _Written(file, letter.directory)
        return line_of(letter, place=self.place(file.directory), token=token)

    async def conclude(self, tokens: Sequence[int], *, settled: bool) -> None:
        """Bring what was written to its place, where all leases were `settled`; else see what became of each.

        What cannot be done now is done by `look_after`.
        """
        written = [one for token in tokens if (one := self._written.pop(token, None)) is not None]
        if not written:
            return
        with trio.move_on_after(CONCLUDE_SECONDS, shield=True):
            try:
                if settled:
                    await trio.to_thread.run_sync(self._publish, written, abandon_on_cancel=True)
                else:
                    await self._decide([one.file for one in written])
            except (DeadLetterError, SpoolUnavailableError) as error:
                _log.warning("dead_letter_undecided", delivery=written[0].file.id, error=error.message)

    def _publish(self, written: Sequence[_Written]) -> None:
        for one in written:
            self._files.publish(one.file, one.parts, replace=True)

    # -- replay

    def take_out(self, found: Found) -> Undecided | None:
        """Take a letter out of its place to replay it; None where it is not that one any more. Blocks.

        Raises:
            DeadLetterError: it cannot be taken out.
        """
        return self._files.take_out(found, FIRST_TOKEN + secrets.randbits(60))

    async def is_back(self, taken: Undecided) -> bool:
        """Whether somebody who tidied up has brought it back. Raises SpoolUnavailableError."""
        states = await self.index.states([(taken.id, taken.token)])
        return states[taken.id, taken.token] is LetterState.LISTED

    def put_back(self, taken: Undecided, parts: Parts) -> None:
        """Bring it back: nothing was stored. Blocks. Raises DeadLetterError."""
        self._files.publish(taken, parts, replace=False)

    def withdraw(self, taken: Undecided, parts: Parts) -> None:
        """Remove it: its deliveries are stored. Blocks. Raises DeadLetterError."""
        self._files.withdraw(taken, parts)

    # -- discard

    async def unlist(self, ids: Sequence[str]) -> None:
        """Take off the list what was removed here. Raises SpoolUnavailableError: `look_after` will."""
        place = await trio.to_thread.run_sync(self.place)
        for start in range(0, len(ids), AT_ONCE):
            await self.index.remove(ids[start : start + AT_ONCE], place=place)

    # -- looking after

    async def look_after(self) -> None:
        """Make files and list agree; see the text of the module.

        Raises:
            SpoolUnavailableError: the database cannot be asked.
            DeadLetterError: the directory cannot be read, or is another one than before.
        """
        place = await trio.to_thread.run_sync(self.place)
        if not await trio.to_thread.run_sync(self._is_still, place):
            return
        await self._announce(place)
        await self.decide_all()
        await self._list_unlisted(place)
        await self._unlist_missing(place)
        sweep_before_ms = self._now_ms() - DOUBT_MS
        await trio.to_thread.run_sync(self._files.sweep, sweep_before_ms, abandon_on_cancel=True)

    def _is_still(self, place: str) -> bool:
        """Whether the directory is the one that bears this number; False where a reload has put another in
        its stead. It must bear its own: a disk may be gone from under it."""
        if self.place() != place:
            return False
        if number_of(self.store.directory) != place:
            raise DeadLetterError(
                f"{self.store.directory} is not the directory any more that it was at the start",
                remedy="see whether its disk is mounted; then restart the gateway",
            )
        return True

    async def decide_all(self, identifier: str | None = None) -> bool:
        """See what became of the files that are neither in their places nor gone; of one letter, or all.

        One that is asked for comes back at once where it was taken out; of all, what is old: the others may
        be replayed at this moment.

        Returns whether all are decided. Raises as `look_after`.
        """
        files = await trio.to_thread.run_sync(self._files.here, identifier, abandon_on_cancel=True)
        decided = True
        for start in range(0, len(files), AT_ONCE):
            chunk = files[start : start + AT_ONCE]
            decided = await self._decide(chunk, asked_for=identifier is not None) and decided
        return decided

    async def _decide(self, files: Sequence[Undecided], *, asked_for: bool = False) -> bool:
        states = await self.index.states([(one.id, one.token) for one in files])
        unknown = [one.id for one in files if states[one.id, one.token] is LetterState.UNKNOWN]
        listed = await self.index.named(unknown) if unknown else {}
        decided = True
        for one in files:
            state = states[one.id, one.token]
            if state is LetterState.FENCED:
                await trio.to_thread.run_sync(self._files.withdraw, one)
            elif state is LetterState.LISTED:
                decided = await self._bring(one, replace=one.token < FIRST_TOKEN) and decided
            elif state is LetterState.UNKNOWN and (
                self._is_old(one) or (asked_for and await self._is_of(one, listed))
            ):
                decided = await self._claim(one) and await self._bring(one, replace=False) and decided
            else:
                decided = False
        return decided

    async def _claim(self, one: Undecided) -> bool:
        """Have the list say that what was taken out is the file of its letter again: a replay that is under
        way stores nothing then. False where it has stored it."""
        if one.token < FIRST_TOKEN:
            return True
        place = await trio.to_thread.run_sync(self.place, one.directory)
        if await self.index.bring_back(one.id, one.token, place=place):
            return True
        with suppress(DeadLetterError):  # who brings it tells
            letter = await trio.to_thread.run_sync(self._files.read, one)
            await self.index.add([line_of(letter, place=place, token=one.token)])
        states = await self.index.states([(one.id, one.token)])
        return states[one.id, one.token] is not LetterState.FENCED

    async def _is_of(self, one: Undecided, listed: Mapping[str, ListedLetter]) -> bool:
        """Whether it is the file of what is listed, taken out for a replay."""
        line = listed.get(one.id)
        return line is not None and line.place == await trio.to_thread.run_sync(self.place, one.directory)

    def _is_old(self, one: Undecided) -> bool:
        # A clock that was set back makes files of the future: those are not waited for.
        return abs(self._now_ms() - one.changed_ms) > DOUBT_MS

    async def _bring(self, one: Undecided, *, replace: bool) -> bool:
        """Bring it to its place, and list it if it is not."""
        try:
            letter = await trio.to_thread.run_sync(self._files.read, one)
            brought = await trio.to_thread.run_sync(
                partial(self._files.publish, one, letter.directory, replace=replace)
            )
        except DeadLetterError as error:
            _log.error("dead_letter_undecided", delivery=one.id, error=error.message)
            return False
        if not replace:
            place = await trio.to_thread.run_sync(self.place, one.directory)
            if await self.index.unlisted(place, [one.id]):
                await self.index.add([line_of(letter, place=place, token=0)])
        return brought

    async def _list_unlisted(self, place: str) -> None:
        files = self.store.iterate()
        added = 0
        while chunk := await trio.to_thread.run_sync(_some, files, abandon_on_cancel=True):
            found = {one.id: one for one in chunk}
            unlisted = await self.index.unlisted(place, list(found))
            if unlisted:
                read = partial(self._read, [found[id_] for id_ in sorted(unlisted)], place)
                letters = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
                if not await trio.to_thread.run_sync(self._is_still, place):
                    return
                added += len(await self.index.add(letters)) if letters else 0
        if added:
            _log.info("dead_letters_listed", letters=added)

    def _read(self, files: Sequence[Found], place: str) -> list[ListedLetter]:
        lines = []
        for found in files:
            try:
                lines.append(line_of(self.store.read(found), place=place, token=0))
            except DeadLetterError as error:
                if self.store.is_there(found):
                    lines.append(_line_of_unreadable(found, str(error), place=place))
        return lines

    async def _unlist_missing(self, place: str) -> None:
        after, gone = "", list[str]()
        while rows := await self.index.at(place, after=after, limit=AT_ONCE):
            after = rows[-1][0]
            missing = await trio.to_thread.run_sync(self._missing, rows, abandon_on_cancel=True)
            if missing:
                if not await trio.to_thread.run_sync(self._is_still, place):
                    return
                gone += await self.index.remove(missing, place=place)
        if gone:
            _log.warning("dead_letters_gone", letters=len(gone), delivery=gone[0])

    def _missing(self, rows: Sequence[tuple[str, str, int]]) -> list[str]:
        """Return which of the letters listed here have no file, neither in a place nor on the way."""
        missing = {id_ for id_, target, at_ms in rows if not self._is_at_its_place(id_, target, at_ms)}
        if missing:
            missing -= {one.id for one in self._files.here()}
        if missing:  # moved by hand, or brought to its place since
            missing -= {found.id for found in self.store.iterate() if found.id in missing}
        return sorted(missing)

    def _is_at_its_place(self, identifier: str, target: str, received_at_ms: int) -> bool:
        return self.store.look_at(_parts(target, received_at_ms), identifier) is not None


def _parts(target: str, received_at_ms: int) -> Parts:
    moment = rfc3339(received_at_ms)
    return target, moment[:10], moment[11:13]


def _hour_ms(found: Found) -> int:
    """Return the hour that a file lies in; where that is none, when it was written."""
    try:
        return round(datetime.fromisoformat(f"{found.day}T{found.hour}:00:00+00:00").timestamp() * 1000)
    except ValueError:
        return found.written_ms


def _some(files: Iterator[Found]) -> list[Found]:
    return list(islice(files, AT_ONCE))
