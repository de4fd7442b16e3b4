"""The index of dead letters, as the contract has it (promises 33 to 35)."""

from contextlib import AsyncExitStack
from dataclasses import replace

import msgspec

from gateway.spool.contract import Buried, Done, Lease, Release, Spool
from gateway.spool.letters import (
    GONE_MS,
    LetterIndex,
    LetterQuery,
    LetterState,
    ListedLetter,
    TakenLetter,
)
from tests.contracts.conftest import Stand
from tests.spool.rig import NOW_MS, in_an_hour, note

HERE = "a" * 32
THERE = "b" * 32
LATER_MS = NOW_MS + 60_000
QUERY = LetterQuery(limit=5)


def line(identifier: str, *, place: str = HERE, received_at_ms: int = NOW_MS) -> ListedLetter:
    """A letter as it is listed; its names hold what the database has no room for."""
    return ListedLetter(
        id=identifier,
        place=place,
        token=0,
        received_at_ms=received_at_ms,
        died_at_ms=NOW_MS + 1,
        target=identifier.rpartition(".")[2],
        reason="refused",
        app="main",
        object=None,
        fields=("messages", "a\nb\0", "\ud800"),
        kinds=(),
        waba=None,
        phone_number_id="1",
        attempts=2,
        last_status=None,
        last_error='no "quoted", {braced} \\ answer',
        body_bytes=7,
    )


def index_of(spool: Spool) -> LetterIndex:
    assert spool.letters is not None
    return spool.letters


async def leased(spool: Spool, *, now_ms: int = NOW_MS) -> Lease:
    [lease] = await spool.lease("support", now_ms=now_ms, limit=1, next_due_ms=in_an_hour)
    return lease


async def buried(spool: Spool) -> Lease:
    """Store something and bury it, listed."""
    await spool.append(note())
    lease = await leased(spool)
    assert await spool.settle(lease, Buried(letter=line(lease.delivery_id)))
    return lease


async def test_33_a_letter_is_listed_when_its_delivery_goes(shared_stand: Stand) -> None:
    async with shared_stand.open() as spool:
        index = index_of(spool)
        await spool.append(note())
        lease = await leased(spool)
        assert await index.named([lease.delivery_id]) == {}
        assert await spool.settle(lease, Buried(letter=line(lease.delivery_id)))
        assert spool.pending() == {}
        assert await index.counts() == {"support": 1}
        [found] = await index.page(LetterQuery())
        assert found == msgspec.structs.replace(
            line(lease.delivery_id), token=lease.token, fields=("messages", "a b\ufffd", "?")
        )


async def test_33_what_spools_nobody_shares_bury_is_listed_nowhere(stand: Stand) -> None:
    async with stand.open() as spool:
        assert (spool.letters is None) is not stand.shared
        await spool.append(note())
        lease = await leased(spool)
        assert await spool.settle(lease, Buried(letter=line(lease.delivery_id)))
        assert spool.pending() == {}


async def test_33_a_settlement_that_comes_too_late_lists_nothing(shared_stand: Stand) -> None:
    async with AsyncExitStack() as openings:
        late = await openings.enter_async_context(shared_stand.open())
        await late.append(note())
        lease = await leased(late)
        other = await openings.enter_async_context(shared_stand.open(at_ms=LATER_MS))
        [again] = await other.lease("support", now_ms=NOW_MS + 2 * 3_600_000, limit=1, next_due_ms=in_an_hour)
        assert not await late.settle(lease, Buried(letter=line(lease.delivery_id)))
        index = index_of(other)
        assert await index.named([lease.delivery_id]) == {}
        assert await other.settle(again, Buried(letter=line(lease.delivery_id, place=THERE)))
        assert (await index.named([lease.delivery_id]))[lease.delivery_id].place == THERE
        assert await index.states([(lease.delivery_id, lease.token), (again.delivery_id, again.token)]) == {
            (lease.delivery_id, lease.token): LetterState.FENCED,
            (again.delivery_id, again.token): LetterState.LISTED,
        }


async def test_34_a_replay_takes_it_off_the_list_as_it_comes_back(shared_stand: Stand) -> None:
    again = note()
    [delivery] = again.deliveries
    async with shared_stand.open() as spool:
        index = index_of(spool)
        await index.add([line(delivery.id)])
        taken = TakenLetter(id=delivery.id, token=2**61 + 5)
        assert await spool.restore(again, clock_started_ms=NOW_MS, taken=taken) == {delivery.id}
        assert await index.named([delivery.id]) == {}
        assert await index.states([(delivery.id, taken.token)]) == {
            (delivery.id, taken.token): LetterState.FENCED
        }


async def test_34_where_nothing_comes_back_the_list_stays(shared_stand: Stand) -> None:
    again = note()
    [delivery] = again.deliveries
    async with shared_stand.open() as spool:
        index = index_of(spool)
        await spool.append(again)
        taken = TakenLetter(id=delivery.id, token=2**61 + 5)
        assert await spool.restore(again, clock_started_ms=NOW_MS, taken=taken) == frozenset()
        await spool.settle(await leased(spool), Done())
        assert (await index.states([(delivery.id, taken.token)]))[
            delivery.id, taken.token
        ] is LetterState.UNKNOWN


async def test_34_a_letter_that_was_routed_anew_goes_even_if_an_earlier_try_has_stored_it(
    shared_stand: Stand,
) -> None:
    again = note(targets=("support",))
    async with shared_stand.open() as spool:
        index = index_of(spool)
        await index.add([line("f.unrouted")])
        await spool.append(again)
        taken = TakenLetter(id="f.unrouted", token=2**61)
        assert await spool.restore(again, clock_started_ms=NOW_MS, taken=taken) == frozenset()
        assert await index.named(["f.unrouted"]) == {}


async def test_34_what_was_brought_back_is_not_stored_and_what_was_stored_is_not_brought_back(
    shared_stand: Stand,
) -> None:
    again = note()
    [delivery] = again.deliveries
    async with shared_stand.open() as spool:
        index = index_of(spool)
        await index.add([line(delivery.id)])
        first, second = (TakenLetter(id=delivery.id, token=2**61 + number) for number in range(2))
        assert not await index.bring_back(delivery.id, first.token, place=THERE)
        assert await index.bring_back(delivery.id, first.token, place=HERE)
        assert await spool.restore(again, clock_started_ms=NOW_MS, taken=first) == frozenset()
        file = (delivery.id, first.token)
        assert await index.states([file]) == {file: LetterState.LISTED}
        assert await spool.restore(again, clock_started_ms=NOW_MS, taken=second) == {delivery.id}
        assert not await index.bring_back(delivery.id, second.token, place=HERE)


async def test_35_what_is_known_of_a_file_is_what_is_certain(shared_stand: Stand) -> None:
    async with shared_stand.open() as spool:
        index = index_of(spool)
        await spool.append(note())
        lease = await leased(spool)
        file = (lease.delivery_id, lease.token)
        other = (lease.delivery_id, 2**61)
        assert await index.states([file, other]) == {file: LetterState.HELD, other: LetterState.FENCED}
        await spool.settle(lease, Release())
        assert await index.states([file]) == {file: LetterState.FENCED}
        await spool.settle(await leased(spool), Done())
        assert await index.states([file]) == {file: LetterState.UNKNOWN}


async def test_35_found_letters_are_listed_where_nothing_speaks_against_it(shared_stand: Stand) -> None:
    waiting = note()
    async with shared_stand.open() as spool:
        index = index_of(spool)
        await index.announce(HERE, gateway="one:1", directory="/one")
        await index.announce(THERE, gateway="two:2", directory="/two")
        await spool.append(waiting)
        ids = ["1.support", waiting.deliveries[0].id]
        assert await index.unlisted(HERE, ids) == {"1.support"}
        assert await index.add([line(id_) for id_ in ids]) == {"1.support"}
        assert await index.unlisted(HERE, ids) == frozenset()
        # A copy elsewhere changes nothing, while somebody has the first.
        assert await index.unlisted(THERE, ids) == frozenset()
        assert await index.add([line("1.support", place=THERE)]) == frozenset()
        assert await index.remove(["1.support"], place=THERE) == frozenset()
        assert await index.at(HERE, after="", limit=10) == (("1.support", "support", NOW_MS),)
    async with shared_stand.open(at_ms=NOW_MS + GONE_MS + 1) as spool:
        index = index_of(spool)
        await index.announce(THERE, gateway="two:3", directory="/two")
        assert (await index.places())[HERE].silent_ms > GONE_MS
        assert await index.unlisted(THERE, ids) == {"1.support"}
        assert await index.add([line("1.support", place=THERE)]) == {"1.support"}
        assert await index.at(HERE, after="", limit=10) == ()


async def test_35_what_cannot_be_read_is_read_again(shared_stand: Stand) -> None:
    async with shared_stand.open() as spool:
        index = index_of(spool)
        broken = msgspec.structs.replace(line("1.support"), reason="", problem="not a dead letter")
        assert await index.add([broken]) == {"1.support"}
        assert await index.unlisted(HERE, ["1.support"]) == {"1.support"}
        assert await index.add([line("1.support")]) == {"1.support"}
        assert (await index.named(["1.support"]))["1.support"].problem == ""


async def test_the_list_is_paged_in_both_directions_and_by_target(shared_stand: Stand) -> None:
    async with shared_stand.open() as spool:
        index = index_of(spool)
        lines = [
            line(f"{number}.{target}", received_at_ms=NOW_MS + number // 2)
            for number in range(6)
            for target in ("support", "audit")
        ]
        await index.add(lines)
        oldest = sorted((one.received_at_ms, one.id) for one in lines)

        async def walk(query: LetterQuery = QUERY) -> list[tuple[int, str]]:
            found: list[tuple[int, str]] = []
            while page := await index.page(query):
                found += [(one.received_at_ms, one.id) for one in page]
                query = replace(query, after=found[-1])
            return found

        assert await walk() == oldest
        assert await walk(replace(QUERY, newest_first=True)) == oldest[::-1]
        of_support = [one for one in oldest if one[1].endswith("support")]
        assert await walk(replace(QUERY, target="support")) == of_support
        assert await walk(replace(QUERY, target="support", newest_first=True)) == of_support[::-1]
        middle = [one for one in oldest if one[0] == NOW_MS + 1]
        moment = replace(QUERY, since_ms=NOW_MS + 1, until_ms=NOW_MS + 1)
        assert await walk(moment) == middle
        assert await walk(replace(moment, newest_first=True)) == middle[::-1]
        assert await index.beginning("1", limit=1) == ("1.audit",)
        for nothing in ("\0", "\ud800", "'; --"):
            assert await walk(replace(QUERY, target=nothing)) == []
            assert await walk(replace(QUERY, after=(NOW_MS + 9, nothing))) == []


async def test_all_have_the_key_of_the_first(shared_stand: Stand) -> None:
    async with shared_stand.open() as spool:
        index = index_of(spool)
        assert await index.seal_key(b"1" * 32) == b"1" * 32
        assert await index.seal_key(b"2" * 32) == b"1" * 32
