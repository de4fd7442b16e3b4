"""What waits for a lost target becomes dead letters: whole, sealed, and repeatable at any point."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.merging import Merging
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import DeadLetter, Reason
from gateway.delivery.discarding import Discarder
from gateway.errors import DeadLetterError
from gateway.spool.contract import RetryLater
from gateway.spool.history import AttemptRecord
from gateway.spool.memory import MemorySpool, open_memory_spool
from gateway.spool.memory_state import MemoryState
from gateway.telemetry.metrics import Metrics
from tests.delivery.rig import EPOCH_MS, notification

NOW_MS = EPOCH_MS + 10**9


class Full(DeadLetterStore):
    """A directory in which there is room for so many."""

    room = 0

    def write(self, letter: DeadLetter) -> None:
        if not self.room:
            raise DeadLetterError("no room")
        self.room -= 1
        super().write(letter)


class Rig:
    def __init__(self, directory: Path) -> None:
        self.state = MemoryState()
        self.metrics = Metrics()
        self.store = DeadLetterStore(directory / "dead", b"k" * 32)
        self.full = Full(directory / "dead", b"k" * 32)

    @asynccontextmanager
    async def open(
        self, store: DeadLetterStore | None = None
    ) -> AsyncIterator[tuple[Discarder, MemorySpool]]:
        async with open_memory_spool(self.state) as spool:
            dead = store or self.store
            yield (
                Discarder(spool=spool, dead_letters=dead, metrics=self.metrics, now_ms=lambda: NOW_MS),
                spool,
            )

    def letters(self) -> list[DeadLetter]:
        return [self.store.read(found) for found in self.store.iterate()]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_everything_becomes_a_dead_letter_and_nothing_of_another_target(rig: Rig) -> None:
    async with rig.open() as (discarder, spool):
        for number in range(20):
            await spool.append(notification(b'{"n":%d}' % number, "former", "support", number=number))
        assert await discarder.discard("former", limit=7) == 7
        assert await discarder.discard("former", limit=100) == 13
        assert await discarder.discard("former", limit=100) == 0
        assert spool.pending() == {"support": 20}
    letters = rig.letters()
    assert {letter.body for letter in letters} == {b'{"n":%d}' % number for number in range(20)}
    assert {(letter.reason, letter.target, letter.url, letter.died_at_ms) for letter in letters} == {
        (Reason.DISCARDED_TARGET, "former", None, NOW_MS)
    }
    counted = rig.metrics.registry.get_sample_value(
        "meta_gateway_dead_letters_total", {"target": "former", "reason": "discarded_target"}
    )
    assert counted == 20


async def test_what_is_not_due_goes_too_with_the_record_of_its_attempts(rig: Rig) -> None:
    record = AttemptRecord(
        number=1, at_ms=EPOCH_MS, status=503, error="", duration_ms=5, response_excerpt="later"
    )
    async with rig.open() as (discarder, spool):
        await spool.append(notification(b"{}", "former"))
        (lease,) = await spool.lease("former", now_ms=EPOCH_MS, limit=1, next_due_ms=lambda _: NOW_MS * 2)
        await spool.settle(lease, RetryLater(at_ms=NOW_MS * 2, record=record))
        assert await discarder.discard("former", limit=1) == 1
    (letter,) = rig.letters()
    assert letter.attempts == (record,)


async def test_what_is_under_way_is_left_to_its_attempt(rig: Rig) -> None:
    async with rig.open() as (discarder, spool):
        await spool.append(notification(b"{}", "former"))
        await spool.lease("former", now_ms=EPOCH_MS, limit=1, next_due_ms=lambda _: NOW_MS)
        assert await discarder.discard("former", limit=1) == 0
        assert spool.pending() == {"former": 1}
    assert rig.letters() == []


async def test_what_cannot_be_written_stays_and_is_there_for_the_next_time(rig: Rig) -> None:
    async with rig.open(rig.full) as (discarder, spool):
        for number in range(5):
            await spool.append(notification(b"{%d}" % number, "former", number=number))
        rig.full.room = 2
        with pytest.raises(DeadLetterError):
            await discarder.discard("former", limit=100)
        assert spool.pending() == {"former": 3}
        rig.full.room = 3
        assert await discarder.discard("former", limit=100) == 3
        assert spool.pending() == {}
    assert len(rig.letters()) == 5


async def test_a_group_that_loses_members_goes_on_singly(rig: Rig) -> None:
    async with rig.open(rig.full) as (discarder, spool):
        for number in range(3):
            await spool.append(notification(b"{%d}" % number, "former", number=number))
        group = await spool.lease(
            "former", now_ms=EPOCH_MS, limit=1, next_due_ms=lambda _: NOW_MS, merging=Merging(max_changes=10)
        )
        assert len(group) in (1, 3)
    async with rig.open(rig.full) as (discarder, spool):
        rig.full.room = 1
        with pytest.raises(DeadLetterError):
            await discarder.discard("former", limit=100)
        left = await spool.lease("former", now_ms=NOW_MS, limit=10, next_due_ms=lambda _: NOW_MS)
        assert len(left) == 2
        assert {lease.group for lease in left} == {None}
