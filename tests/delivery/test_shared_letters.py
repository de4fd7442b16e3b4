"""Dead letters over several gateways: each listed once, held once, and never lost, whoever dies when."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.replay import Replayer, Word, prepare
from gateway.delivery.replay import Result as Answer
from gateway.delivery.shared_letters import DOUBT_MS
from gateway.delivery.undecided import ID_FILE, NAME, identify
from gateway.errors import DeadLetterError
from gateway.spool.contract import Buried, Notification, Spool
from gateway.spool.history import AttemptRecord
from gateway.spool.letters import GONE_MS, ListedLetter, TakenLetter
from gateway.spool.postgresql.link import Link
from tests.delivery.rig import EPOCH_MS, a_letter, notification
from tests.delivery.sharing import HOLD_MS, KNOWN, Gateway, letter_of
from tests.postgresql.rig import Database

KEYS = (b"1" * 32, b"2" * 32)
BODIES = (b'{"entry": 1}', b'{"entry": 2}')


@pytest.fixture
def links(database: Database) -> Iterator[list[Link]]:
    made = [Link(database.dsn), Link(database.dsn)]
    yield made
    for link in made:
        link.close()


class Time:
    """One clock for the gateways and the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._at_ms = EPOCH_MS
        self.pass_ms(0)

    def now_ms(self) -> int:
        return self._at_ms

    def pass_ms(self, number: int) -> None:
        self._at_ms += number
        self._database.set_clock(self._at_ms)


class Site:
    """Two gateways on one database, with a directory each or one for both."""

    def __init__(
        self, database: Database, links: Sequence[Link], directory: Path, *, one_directory: bool
    ) -> None:
        self.database = database
        self.time = Time(database)
        names = ("both", "both") if one_directory else ("one", "two")
        self.gateways = [
            Gateway(link, directory / name, key, self.time.now_ms)
            for link, name, key in zip(links, names, KEYS, strict=True)
        ]
        self.ids: dict[str, bytes] = {}

    async def start(self, *bodies: bytes) -> None:
        """Start both, and have one accept something."""
        for gateway in self.gateways:
            await gateway.start()
        for number, raw in enumerate(bodies, 1):
            new = notification(raw, "support", number=number)
            self.gateways[0].spool.append(new)
            self.ids[new.deliveries[0].id] = raw

    def files(self) -> dict[str, list[Path]]:
        """By delivery, all files that hold the whole letter, in their places or not yet."""
        found: dict[str, list[Path]] = {id_: [] for id_ in self.ids}
        for directory in {gateway.directory for gateway in self.gateways}:
            for path in directory.rglob("*"):
                if path.is_file() and path.name != ID_FILE and path.suffix != ".tmp":
                    letter = json.loads(path.read_bytes())
                    assert letter["body"].encode() == self.ids[letter["id"]]
                    found[letter["id"]].append(path)
        return found

    def waiting(self) -> set[object]:
        return {row[0] for row in self.database.sql("SELECT id FROM delivery")}

    def listed(self) -> dict[object, object]:
        return {row[0]: row[1] for row in self.database.sql("SELECT id, place FROM letter")}

    def delivered(self) -> set[str]:
        return {id_ for gateway in self.gateways for id_ in gateway.delivered}

    def check(self) -> None:
        """What holds at every moment."""
        waiting, listed, files = self.waiting(), self.listed(), self.files()
        assert not waiting & listed.keys(), "listed while it waits"
        discarded = {id_ for gateway in self.gateways for id_ in gateway.discarded}
        for id_ in self.ids.keys() - self.delivered() - discarded:
            assert id_ in waiting or files[id_], "lost"

    async def settle_down(self) -> None:
        """All start anew, deliver what waits, and look after what is left."""
        for gateway in self.gateways:
            await gateway.kill()
        self.time.pass_ms(10 * HOLD_MS)
        while self.waiting():
            await self.gateways[0].step("deliver")
            self.time.pass_ms(10 * HOLD_MS)
        for gateway in self.gateways:
            await gateway.letters.look_after()

    def check_at_rest(self) -> None:
        """What holds when all is done: a letter has one file, in its place, where the list says."""
        self.check()
        assert not self.waiting()
        listed, files = self.listed(), self.files()
        assert not self.delivered() & listed.keys(), "listed though it was delivered"
        assert not {id_ for one in self.gateways for id_ in one.discarded} & listed.keys(), "back again"
        places = {gateway.letters.place(): gateway.directory for gateway in self.gateways}
        for id_ in self.ids:
            if id_ in listed:
                [path] = files[id_]
                assert path.suffix == ".json"
                assert path.is_relative_to(places[str(listed[id_])])
            else:
                assert files[id_] == []


ACTIONS = ("bury", "bury", "bury", "deliver", "replay", "replay", "discard", "kill", "time", "look")


@pytest.mark.parametrize("one_directory", [False, True], ids=["own", "shared"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(steps=[*[("bury", 0)] * 4, ("replay", 0), ("look", 0), ("replay", 0)])
@given(steps=st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from([0, 1])), min_size=10, max_size=50))
def test_whoever_dies_when_no_letter_is_lost_and_none_is_there_twice(
    database: Database, links: Sequence[Link], one_directory: bool, steps: list[tuple[str, int]]
) -> None:
    async def play(directory: Path) -> None:
        site = Site(database, links, directory, one_directory=one_directory)
        await site.start(*BODIES)
        for what, number in steps:
            gateway = site.gateways[number]
            if what == "kill":
                await gateway.kill()
            elif what == "time":
                site.time.pass_ms(2 * HOLD_MS)
            elif what == "look":
                await gateway.letters.look_after()
            else:
                await gateway.step(what)
            site.check()
        await site.settle_down()
        site.check_at_rest()

    database.clear()
    with TemporaryDirectory() as directory:
        trio.run(play, Path(directory))


@pytest.fixture
async def site(database: Database, links: Sequence[Link], tmp_path: Path) -> Site:
    made = Site(database, links, tmp_path, one_directory=False)
    await made.start(*BODIES)
    return made


async def bury(gateway: Gateway) -> str:
    """Bury one; return its id."""
    lease = gateway.spool.lease()
    assert lease is not None
    line = gateway.letters.write(letter_of(lease, died_at_ms=EPOCH_MS), lease.token)
    settled = gateway.spool.settle(lease, Buried(letter=line))
    await gateway.letters.conclude([lease.token], settled=settled)
    assert settled
    return lease.delivery_id


async def test_a_letter_that_is_settled_is_where_every_letter_is(site: Site) -> None:
    one, two = site.gateways
    identifier = await bury(one)
    found = await two.letters.find(identifier)
    assert isinstance(found, ListedLetter)
    assert await two.letters.holder(found) == f"gateway {one_name()} holds it, in {one.directory}"
    here = await one.letters.find(identifier)
    assert isinstance(here, Found)
    assert one.store.counts() == {"support": 1}
    assert list((one.directory / NAME).iterdir()) == []


def one_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


async def test_what_was_settled_before_a_crash_comes_to_its_place(site: Site) -> None:
    one, two = site.gateways
    lease = one.spool.lease()
    assert lease is not None
    line = one.letters.write(letter_of(lease, died_at_ms=EPOCH_MS), lease.token)
    assert one.spool.settle(lease, Buried(letter=line))
    await one.kill()
    assert one.store.find(lease.delivery_id) is None
    # Whoever asks for it has it brought there; and so has every look at the directory.
    assert isinstance(await one.letters.find(lease.delivery_id), Found)
    assert site.files()[lease.delivery_id][0].suffix == ".json"
    assert isinstance(await two.letters.find(lease.delivery_id), ListedLetter)


async def test_what_was_written_and_not_settled_stays_until_another_goes_on(site: Site) -> None:
    one, two = site.gateways
    lease = one.spool.lease()
    assert lease is not None
    one.letters.write(letter_of(lease, died_at_ms=EPOCH_MS), lease.token)
    await one.kill()
    await one.letters.look_after()
    assert len(site.files()[lease.delivery_id]) == 1
    site.time.pass_ms(2 * HOLD_MS)
    for _ in range(4):
        await two.step("deliver")
    await one.letters.look_after()
    assert site.files()[lease.delivery_id] == []
    assert site.listed() == {}


async def test_what_the_database_has_forgotten_becomes_a_dead_letter(site: Site) -> None:
    """It was restored from an older copy, or made anew: then the file may be all that is left."""
    one, _ = site.gateways
    lease = one.spool.lease()
    assert lease is not None
    one.letters.write(letter_of(lease, died_at_ms=EPOCH_MS), lease.token)
    site.database.sql("DELETE FROM delivery; DELETE FROM fenced")
    await one.kill()
    await one.letters.look_after()
    assert isinstance(await one.letters.find(lease.delivery_id), Found)
    assert set(site.listed()) == {lease.delivery_id}


async def test_what_is_unknown_is_left_alone_for_a_moment(site: Site) -> None:
    one, _ = site.gateways
    lease = one.spool.lease()
    assert lease is not None
    site.time.pass_ms(time.time_ns() // 1_000_000 - site.time.now_ms())
    one.letters.write(letter_of(lease, died_at_ms=EPOCH_MS), lease.token)
    site.database.sql("DELETE FROM delivery")
    assert await one.letters.decide_all() is False
    assert one.store.find(lease.delivery_id) is None
    site.time.pass_ms(DOUBT_MS + 1000)
    assert await one.letters.decide_all() is True
    assert one.store.find(lease.delivery_id) is not None


async def test_what_is_taken_out_at_this_moment_is_left_to_who_replays_it(site: Site) -> None:
    one, _ = site.gateways
    identifier = await bury(one)
    found = one.store.find(identifier)
    assert found is not None
    site.time.pass_ms(time.time_ns() // 1_000_000 - site.time.now_ms())
    taken = one.letters.take_out(found)
    assert taken is not None
    await one.letters.look_after()
    assert one.store.find(identifier) is None
    # Whoever asks for it gets it: then it is not stored by who took it out.
    assert isinstance(await one.letters.find(identifier), Found)
    again = notification(site.ids[identifier], "support", number=1)
    assert one.spool.restore(again, TakenLetter(id=identifier, token=taken.token)) == frozenset()
    assert await one.letters.is_back(taken)


async def test_letters_of_times_before_are_read_and_listed(site: Site) -> None:
    """Of a gateway with SQLite that has moved in, of an older version, of a disk that was restored."""
    one, two = site.gateways
    letters = [a_letter(number=number) for number in range(10, 13)]
    for letter in letters:
        one.store.write(letter)
    broken = one.directory / "support" / "2026-02-02" / "02" / "broken-support.json"
    broken.write_text("{")
    await one.letters.look_after()
    place = one.letters.place()
    assert site.listed() == dict.fromkeys([*(one.id for one in letters), "broken-support"], place)
    shown = await two.letters.index.named(["broken-support"])
    assert shown["broken-support"].problem.startswith(f"{broken}: not a dead letter")
    broken.unlink()
    await one.letters.look_after()
    assert set(site.listed()) == {one.id for one in letters}


async def test_what_waits_is_not_listed_though_a_file_of_it_is_there(site: Site) -> None:
    one, _ = site.gateways
    waiting = next(iter(site.ids))
    one.store.write(replace(a_letter(), id=waiting, body=site.ids[waiting]))
    await one.letters.look_after()
    assert site.listed() == {}
    assert one.store.find(waiting) is not None


async def test_a_copy_at_another_gateway_is_not_listed_until_the_first_is_gone(site: Site) -> None:
    one, two = site.gateways
    identifier = await bury(one)
    shutil.copytree(one.directory / "support", two.directory / "support")
    await two.letters.look_after()
    assert site.listed() == {identifier: one.letters.place()}
    site.time.pass_ms(GONE_MS + 1)
    await two.letters.look_after()
    assert site.listed() == {identifier: two.letters.place()}
    assert len(site.files()[identifier]) == 2


async def test_a_directory_bears_its_number_wherever_it_is_mounted(site: Site) -> None:
    one, _ = site.gateways
    identifier = await bury(one)
    one.directory.rename(one.directory.parent / "elsewhere")
    one.directory = one.directory.parent / "elsewhere"
    await one.kill()
    assert isinstance(await one.letters.find(identifier), Found)
    listed = (await one.letters.index.places())[one.letters.place()]
    assert listed.directory == str(one.directory)


async def test_where_the_disk_is_gone_nothing_is_taken_off_the_list(site: Site) -> None:
    one, _ = site.gateways
    identifier = await bury(one)
    one.directory.rename(one.directory.parent / "unmounted")
    one.directory.mkdir()
    with pytest.raises(DeadLetterError, match="not the directory any more"):
        await one.letters.look_after()
    assert set(site.listed()) == {identifier}
    # At the next start it is another directory: the letters of the first stay listed there.
    await one.kill()
    await one.letters.look_after()
    assert set(site.listed()) == {identifier}
    assert isinstance(await one.letters.find(identifier), ListedLetter)


def test_a_number_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / ID_FILE).write_text("one")
    with pytest.raises(DeadLetterError, match="holds no number"):
        identify(tmp_path)
    (tmp_path / ID_FILE).unlink()
    assert identify(tmp_path) == identify(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [ID_FILE]


async def test_two_files_under_one_name_are_both_kept_where_they_differ(site: Site) -> None:
    one, _ = site.gateways
    identifier = await bury(one)
    found = one.store.find(identifier)
    assert found is not None
    taken = one.letters.take_out(found)
    assert taken is not None
    one.store.write(replace(a_letter(), id=identifier, body=b"edited"))
    await one.letters.look_after()
    assert (one.directory / NAME / taken.name).is_file()
    one.store.write(replace(a_letter(), id=identifier, app="main", body=site.ids[identifier]))
    await one.letters.look_after()
    assert not (one.directory / NAME / taken.name).exists()


async def test_what_another_brought_back_meanwhile_goes_all_the_same(site: Site) -> None:
    """Somebody tidies up in the same directory while a replay is stored."""
    one, _ = site.gateways
    identifier = await bury(one)
    found = one.store.find(identifier)
    assert found is not None
    taken = one.letters.take_out(found)
    assert taken is not None
    await one.letters.look_after()
    assert one.store.find(identifier) is not None
    one.letters.withdraw(taken, found.parts)
    assert site.files()[identifier] == []


async def test_half_written_files_are_swept(site: Site) -> None:
    one, _ = site.gateways
    await bury(one)
    (one.directory / NAME / "x.tmp").write_text("half")
    site.time.pass_ms(10**12)
    await one.letters.look_after()
    assert list((one.directory / NAME).iterdir()) == []


def replayer_at(gateway: Gateway, site: Site) -> Replayer:
    return Replayer(
        spool=cast("Spool", gateway.spool),
        store=gateway.store,
        known=lambda: KNOWN,
        now_ms=site.time.now_ms,
        shared=gateway.letters,
    )


async def test_a_letter_of_another_gateway_is_not_replayed_or_discarded_here(site: Site) -> None:
    one, two = site.gateways
    identifier = await bury(one)
    replayer = replayer_at(two, site)
    said = f"gateway {one_name()} holds it, in {one.directory}"
    elsewhere = {identifier: Answer(word=Word.ELSEWHERE, detail=said)}
    assert await replayer.replay([identifier], accept_edited=False) == elsewhere
    assert await replayer.rehearse([identifier], accept_edited=False) == elsewhere
    assert await replayer.discard([identifier]) == elsewhere
    assert set(site.listed()) == {identifier}


async def test_a_discarded_letter_is_off_the_list_and_twice_is_once(site: Site) -> None:
    one, _ = site.gateways
    identifier = await bury(one)
    replayer = replayer_at(one, site)
    assert (await replayer.rehearse([identifier], accept_edited=False))[identifier].word is Word.WOULD_REPLAY
    assert (await replayer.discard([identifier]))[identifier].word is Word.DISCARDED
    assert site.listed() == {}
    assert site.files()[identifier] == []
    assert (await replayer.discard([identifier]))[identifier].word is Word.NOT_FOUND


async def test_what_each_had_sealed_alone_still_holds(site: Site) -> None:
    one, two = site.gateways
    assert one.store.seal_key == two.store.seal_key == KEYS[0]
    alone = DeadLetterStore(two.directory, KEYS[1])
    alone.write(a_letter())
    [found] = alone.iterate()
    letter = two.store.read(found)
    ready = prepare(letter, known=KNOWN, keys=two.store.keys, accept_edited=False)
    assert isinstance(ready, Notification)
    assert not isinstance(
        prepare(letter, known=KNOWN, keys=one.store.keys, accept_edited=False), Notification
    )


async def test_what_the_database_says_of_a_place_names_none_outside_the_directory(site: Site) -> None:
    """Whoever may write to the database must not have files of others read, moved or removed."""
    one, _ = site.gateways
    identifier = await bury(one)
    outside = one.directory.parent / "outside"
    shutil.move(one.directory / "support", outside)
    [kept] = outside.rglob("*.json")
    site.database.sql("UPDATE letter SET target = '../outside'")
    assert await one.letters.find(identifier) is None
    await one.letters.look_after()
    assert kept.is_file()


async def test_what_cannot_be_swept_ends_nothing(site: Site) -> None:
    one, _ = site.gateways
    await bury(one)
    (one.directory / NAME / "x.tmp").mkdir()
    site.time.pass_ms(10**12)
    await one.letters.look_after()


async def test_a_name_that_no_lease_can_have_given_is_left_alone(site: Site) -> None:
    one, _ = site.gateways
    identifier = await bury(one)
    strange = one.directory / NAME / f"{identifier}.{2**63}"
    strange.write_text("{}")
    await one.letters.look_after()
    assert strange.is_file()


async def test_a_letter_with_a_number_that_no_list_holds_is_listed_with_the_others(site: Site) -> None:
    one, _ = site.gateways
    attempt = AttemptRecord(
        number=1, at_ms=EPOCH_MS, status=10**12, error="", duration_ms=1, response_excerpt=""
    )
    one.store.write(replace(a_letter(number=10), attempts=(attempt,)))
    one.store.write(a_letter(number=11))
    await one.letters.look_after()
    assert set(site.listed()) == {a_letter(number=10).id, a_letter(number=11).id}


async def test_a_replay_leaves_no_empty_directories(site: Site) -> None:
    one, _ = site.gateways
    identifier = await bury(one)
    found = one.store.find(identifier)
    assert found is not None
    taken = one.letters.take_out(found)
    assert taken is not None
    one.letters.withdraw(taken, found.parts)
    assert list((one.directory / "support").iterdir()) == []


async def test_what_cannot_be_read_is_looked_for_where_it_lies(site: Site) -> None:
    """A directory with files of another user: each would be looked for in all of it, every hour."""
    one, _ = site.gateways
    one.store.write(a_letter())
    [found] = one.store.iterate()
    (one.directory / found.name).write_text("{")
    await one.letters.look_after()
    [(target, at_ms)] = site.database.sql("SELECT target, received_at_ms FROM letter")
    assert one.letters._is_at_its_place(found.id, str(target), cast("int", at_ms))


async def test_a_directory_that_changes_while_it_is_looked_after_takes_nothing_off_the_list(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload may come at any moment, and what lies in the former directory stays there."""
    one, _ = site.gateways
    identifier, elsewhere = await bury(one), one.directory.parent / "moved"
    look_for = one.letters._missing

    def move_and_look(rows: Sequence[tuple[str, str, int]]) -> list[str]:
        one.store.move(elsewhere)
        return look_for(rows)

    monkeypatch.setattr(one.letters, "_missing", move_and_look)
    with suppress(DeadLetterError):
        await one.letters.look_after()
    assert set(site.listed()) == {identifier}


async def test_files_are_listed_with_the_directory_they_lie_in_though_it_changes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = site.gateways
    elsewhere = one.directory.parent / "moved"
    DeadLetterStore(elsewhere, KEYS[0]).write(a_letter(number=10))
    decide_all = one.letters.decide_all

    async def decide_and_move(identifier: str | None = None) -> bool:
        one.store.move(elsewhere)
        return await decide_all(identifier)

    monkeypatch.setattr(one.letters, "decide_all", decide_and_move)
    with suppress(DeadLetterError):
        await one.letters.look_after()
    assert set(site.listed().values()) <= {identify(elsewhere)}


async def test_the_way_to_what_is_undecided_is_on_disk_whoever_made_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has made the directory and not yet come to its fsync, and is killed with the machine."""
    one, _ = site.gateways
    (one.directory / NAME).mkdir()
    synced: set[int] = set()
    fsync = os.fsync

    def note_and_sync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note_and_sync)
    lease = one.spool.lease()
    assert lease is not None
    one.letters.write(letter_of(lease, died_at_ms=EPOCH_MS), lease.token)
    assert one.directory.stat().st_ino in synced
