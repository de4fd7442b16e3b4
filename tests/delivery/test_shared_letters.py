"""Dead letters over several gateways: each listed once, held once, and never lost, whoever dies when."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.delivery.undecided import ID_FILE
from gateway.spool.postgresql.link import Link
from tests.delivery.rig import EPOCH_MS, notification
from tests.delivery.sharing import HOLD_MS, Gateway
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
