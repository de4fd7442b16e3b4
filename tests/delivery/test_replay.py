"""Dead letters back into the spool: once, whole, and repeatable at any point."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.routing import UNROUTED, Route, RoutingTable
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DeadLetter, Reason
from gateway.delivery.replay import Known, Replayer, Result, Word, discard, homes, ids_again, rehearse
from gateway.errors import DeadLetterError
from gateway.spool.contract import Buried, Done, Lease
from gateway.spool.memory import MemorySpool, open_memory_spool
from gateway.spool.memory_state import MemoryState
from tests.delivery.rig import EPOCH_MS, a_letter

KEY = b"k" * 32
NOW_MS = EPOCH_MS + 10**9
MIXED = (
    b'{"object":"whatsapp_business_account","entry":[{"id":"1","changes":['
    b'{"field":"security","value":1},{"field":"flows","value":2},{"field":"new_field","value":3}]}]}'
)


def known(*routes: Route, targets: str = "support audit", drop: bool = False) -> Known:
    return Known(
        apps=frozenset({"main"}),
        targets=frozenset(targets.split()),
        table=RoutingTable(routes, payload_original=frozenset(), drop_unrouted=drop),
    )


class Rig:
    def __init__(self, directory: Path) -> None:
        self.store = DeadLetterStore(directory, KEY)
        self.state = MemoryState()

    @asynccontextmanager
    async def open(self, known_: Known | None = None) -> AsyncIterator[tuple[Replayer, MemorySpool]]:
        async with open_memory_spool(self.state) as spool:
            config = known_ or known()
            yield (
                Replayer(spool=spool, store=self.store, known=lambda: config, now_ms=lambda: NOW_MS),
                spool,
            )

    async def replay(
        self, *letters: DeadLetter, known_: Known | None = None, edited: bool = False
    ) -> list[Word]:
        async with self.open(known_) as (replayer, _):
            results = await replayer.replay([letter.id for letter in letters], accept_edited=edited)
        return [results[letter.id].word for letter in letters]

    async def leases(self, target: str = "support") -> list[Lease]:
        async with open_memory_spool(self.state) as spool:
            return list(
                await spool.lease(target, now_ms=NOW_MS, limit=100, next_due_ms=lambda attempt: NOW_MS)
            )


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_letter_goes_back_under_its_id_with_a_fresh_clock(rig: Rig) -> None:
    letter = a_letter(body=b"\xff\x00 exactly these bytes")
    rig.store.write(letter)
    assert await rig.replay(letter) == [Word.REPLAYED]
    (lease,) = await rig.leases()
    assert lease.delivery_id == letter.id
    assert lease.notification_id == letter.notification_id
    assert lease.raw == letter.body
    assert lease.selection is None
    assert lease.received_at_ms == EPOCH_MS
    assert lease.clock_started_ms == NOW_MS
    assert lease.attempt == 1
    assert rig.store.find(letter.id) is None


async def test_doing_it_again_does_nothing(rig: Rig) -> None:
    letter = a_letter()
    rig.store.write(letter)
    assert await rig.replay(letter) == [Word.REPLAYED]
    assert await rig.replay(letter) == [Word.NOT_FOUND]
    assert len(await rig.leases()) == 1


async def test_an_id_that_is_pending_is_not_added_and_keeps_its_file(rig: Rig) -> None:
    """So it is between the file of a burial and its settlement, and after a replay that crashed in the
    middle.
    """
    letter = a_letter()
    rig.store.write(letter)
    await rig.replay(letter)
    rig.store.write(letter)
    assert await rig.replay(letter) == [Word.PENDING]
    assert rig.store.find(letter.id) is not None
    assert len(await rig.leases()) == 1


class DyingStore(DeadLetterStore):
    """The process ends when it comes to removing."""

    def remove(self, found: Found) -> bool:
        raise KeyboardInterrupt(found.id)


async def test_a_crash_between_storing_and_removing_loses_and_doubles_nothing(rig: Rig) -> None:
    letter = a_letter()
    rig.store.write(letter)
    sane, rig.store = rig.store, DyingStore(rig.store.directory, KEY)
    with pytest.raises(KeyboardInterrupt):
        await rig.replay(letter)
    rig.store = sane
    assert await rig.replay(letter) == [Word.PENDING]
    assert len(await rig.leases()) == 1


async def test_a_letter_that_dies_again_during_its_replay_is_kept(rig: Rig) -> None:
    """Refused at once by the target: the new file takes the old one's name before the replay removes it."""
    letter = a_letter()
    rig.store.write(letter)
    again = a_letter(body=b"dead again")

    class RacingStore(DeadLetterStore):
        def remove(self, found: Found) -> bool:
            self.write(again)
            return super().remove(found)

    rig.store = RacingStore(rig.store.directory, KEY)
    assert await rig.replay(letter) == [Word.REPLAYED]
    (found,) = rig.store.iterate()
    assert rig.store.read(found).body == b"dead again"


async def test_an_edited_letter_is_replayed_only_when_told(rig: Rig) -> None:
    letter = a_letter(body=b"original")
    rig.store.write(letter)
    (found,) = rig.store.iterate()
    path = rig.store.directory / found.name
    path.write_text(path.read_text().replace("original", "edited"))
    assert await rig.replay(letter) == [Word.EDITED]
    assert rig.store.find(letter.id) is not None
    assert await rig.replay(letter, edited=True) == [Word.REPLAYED]
    assert [lease.raw for lease in await rig.leases()] == [b"edited"]


async def test_a_damaged_letter_is_replayed_only_when_told(rig: Rig) -> None:
    letter = a_letter(body=b"what is left", reason=Reason.DAMAGED)
    rig.store.write(letter)
    assert await rig.replay(letter) == [Word.EDITED]
    assert await rig.replay(letter, edited=True) == [Word.REPLAYED]


async def test_a_letter_sealed_by_another_gateway_counts_as_edited(rig: Rig) -> None:
    letter = a_letter()
    DeadLetterStore(rig.store.directory, b"x" * 32).write(letter)
    assert await rig.replay(letter) == [Word.EDITED]


async def test_what_has_nowhere_to_go_stays(rig: Rig) -> None:
    former = a_letter(target="former", number=1)
    rig.store.write(former)
    stranger = DeadLetter(**{**{n: getattr(a_letter(), n) for n in DeadLetter.__slots__}, "app": "gone"})
    rig.store.write(stranger)
    assert await rig.replay(former, stranger) == [Word.UNKNOWN_TARGET, Word.UNKNOWN_APP]
    assert len(list(rig.store.iterate())) == 2


async def test_a_full_spool_takes_none_and_loses_none(rig: Rig) -> None:
    letter = a_letter()
    rig.store.write(letter)
    rig.state.full = True
    assert await rig.replay(letter) == [Word.UNAVAILABLE]
    rig.state.full = False
    assert await rig.replay(letter) == [Word.REPLAYED]


async def test_a_damaged_file_is_told_and_stops_no_other(rig: Rig) -> None:
    first, second = a_letter(number=1), a_letter(number=2)
    rig.store.write(first)
    rig.store.write(second)
    found, _ = rig.store.iterate()
    (rig.store.directory / found.name).write_text("{}")
    assert await rig.replay(first, second) == [Word.UNREADABLE, Word.REPLAYED]


async def test_a_file_that_cannot_be_removed_is_told(rig: Rig) -> None:
    letter = a_letter()
    rig.store.write(letter)

    class StuckStore(DeadLetterStore):
        def remove(self, found: Found) -> bool:
            raise DeadLetterError("read-only file system")

    rig.store = StuckStore(rig.store.directory, KEY)
    async with rig.open() as (replayer, _):
        result = (await replayer.replay([letter.id], accept_edited=False))[letter.id]
    assert result == Result(word=Word.REPLAYED, detail="to support; but read-only file system")


def unrouted(body: bytes = MIXED) -> DeadLetter:
    return a_letter(target=UNROUTED, body=body, reason=Reason.UNROUTED)


async def test_unrouted_letters_go_through_the_routes_again(rig: Rig) -> None:
    letter = unrouted()
    rig.store.write(letter)
    routes = (Route(field=("security",), to=("support",)), Route(field=("*",), to=("audit",)))
    assert await rig.replay(letter, known_=known(*routes)) == [Word.REPLAYED]
    (support,) = await rig.leases("support")
    (audit,) = await rig.leases("audit")
    assert (support.delivery_id, support.selection) == (f"{letter.id}-support", (0,))
    assert (audit.delivery_id, audit.selection) == (f"{letter.id}-audit", None)
    assert list(rig.store.iterate()) == []


@pytest.mark.parametrize("drop", [False, True])
async def test_what_still_no_route_takes_is_not_lost(rig: Rig, drop: bool) -> None:
    """Also under `unrouted: drop`: that is about what comes from Meta, not about what was kept."""
    letter = unrouted()
    rig.store.write(letter)
    config = known(Route(field=("security",), to=("support",)), drop=drop)
    assert await rig.replay(letter, known_=config) == [Word.REPLAYED]
    (rest,) = await rig.leases(UNROUTED)
    assert (rest.delivery_id, rest.selection) == (f"{letter.id}-{UNROUTED}", (1, 2))


@pytest.mark.parametrize("body", [MIXED, b"not json", b"{}"])
async def test_what_no_route_takes_at_all_stays_a_dead_letter(rig: Rig, body: bytes) -> None:
    letter = unrouted(body)
    rig.store.write(letter)
    assert await rig.replay(letter) == [Word.UNROUTED]
    assert rig.store.find(letter.id) is not None
    assert rig.state.deliveries == {}


async def test_an_unrouted_replay_that_crashed_is_finished_by_the_next(rig: Rig) -> None:
    letter = unrouted()
    rig.store.write(letter)
    config = known(Route(field=("*",), to=("support",)))
    await rig.replay(letter, known_=config)
    rig.store.write(letter)  # as if the file had never been removed
    assert await rig.replay(letter, known_=config) == [Word.REPLAYED]
    assert len(await rig.leases()) == 1
    assert list(rig.store.iterate()) == []


async def test_ids_do_not_grow_for_ever(rig: Rig) -> None:
    base = unrouted()
    letter = DeadLetter(**{**{n: getattr(base, n) for n in DeadLetter.__slots__}, "id": "x" * 195})
    rig.store.write(letter)
    assert await rig.replay(letter, known_=known(Route(to=("support",)))) == [Word.FAILED]


async def test_ids_that_are_none_are_results_and_no_errors(rig: Rig) -> None:
    async with rig.open() as (replayer, _):
        results = await replayer.replay(["../../etc/passwd", "absent"], accept_edited=False)
    assert [result.word for result in results.values()] == [Word.UNREADABLE, Word.NOT_FOUND]


def test_a_rehearsal_changes_nothing(rig: Rig) -> None:
    letters = [a_letter(), a_letter(target="former", number=1), unrouted()]
    for letter in letters:
        rig.store.write(letter)
    config = known(Route(field=("security",), to=("support",)))
    results = rehearse(rig.store, [one.id for one in letters], known=config, accept_edited=False)
    assert [results[one.id].word for one in letters] == [
        Word.WOULD_REPLAY,
        Word.UNKNOWN_TARGET,
        Word.WOULD_REPLAY,
    ]
    assert len(list(rig.store.iterate())) == 3


def test_discarding_takes_unreadable_files_too(rig: Rig) -> None:
    letter = a_letter()
    rig.store.write(letter)
    (found,) = rig.store.iterate()
    (rig.store.directory / found.name).write_text("{")
    results = discard(rig.store, [letter.id, "absent", "../x"])
    assert [result.word for result in results.values()] == [Word.DISCARDED, Word.NOT_FOUND, Word.FAILED]


@pytest.mark.parametrize("settlement", [Done(), Buried()])
async def test_after_it_has_ended_it_can_be_replayed_anew(rig: Rig, settlement: Done | Buried) -> None:
    letter = a_letter()
    rig.store.write(letter)
    async with rig.open() as (replayer, spool):
        await replayer.replay([letter.id], accept_edited=False)
        (lease,) = await spool.lease("support", now_ms=NOW_MS, limit=1, next_due_ms=lambda _: NOW_MS)
        assert await spool.settle(lease, settlement)
        rig.store.write(letter)
        results = await replayer.replay([letter.id], accept_edited=False)
    assert results[letter.id].word is Word.REPLAYED


async def test_what_is_replayed_to_a_target_with_order_goes_in_order_again(rig: Rig) -> None:
    table = RoutingTable(
        [], payload_original=frozenset(), drop_unrouted=False, ordered=frozenset({"support"})
    )
    ordered = Known(apps=frozenset({"main"}), targets=frozenset({"support"}), table=table)
    letters = [
        a_letter(number=number, body=MIXED.replace(b'"value":1', b'"value":{"from":"4917"}'))
        for number in range(2)
    ]
    for letter in letters:
        rig.store.write(letter)
    assert await rig.replay(*letters, known_=ordered) == [Word.REPLAYED, Word.REPLAYED]
    assert [lease.delivery_id for lease in await rig.leases()] == [letters[0].id]


def test_a_letter_goes_where_a_delivery_of_it_waits_else_to_the_first() -> None:
    """An `_unrouted` one, too, of which one delivery waits and another does not."""
    again = ids_again(["a-support", "b-crm", "c-_unrouted"], ["support", "crm"])
    assert again == {
        "a-support": "a-support",
        "b-crm": "b-crm",
        "c-_unrouted-support": "c-_unrouted",
        "c-_unrouted-crm": "c-_unrouted",
    }
    assert homes(again, {0: [], 1: ["b-crm"], 2: ["c-_unrouted-crm"]}, first=0) == {
        0: ["a-support"],
        1: ["b-crm"],
        2: ["c-_unrouted"],
    }
