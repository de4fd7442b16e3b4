"""What there is no room for: the oldest go, others do not notice."""

from pathlib import Path

import pytest
import trio

from gateway.core.breaker import BreakerPolicy
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_record import DeadLetter, Reason
from gateway.errors import DeadLetterError
from gateway.spool.sqlite import SqliteSpool
from tests.delivery.dispatching import BODY, Rig, a_target, asked, emptied, unix_ms
from tests.delivery.rig import answer, hang, notification, serving
from tests.delivery.test_attempts import a_message, numbers

ONCE = BreakerPolicy(failures=1, probe_every_seconds=60)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def until_pending(spool: SqliteSpool, target: str, count: int) -> None:
    with trio.fail_after(10):
        while spool.pending().get(target, 0) != count:  # noqa: ASYNC110 - the spool has no event for it
            await trio.sleep(0.01)


@pytest.mark.parametrize("drops", [False, True], ids=["dead letter", "drop"])
async def test_beyond_max_pending_the_oldest_are_given_up(rig: Rig, drops: bool) -> None:
    start_ms = unix_ms()
    async with serving(answer(503)) as dead, serving(answer(200)) as alive:
        targets = {
            "dead": a_target(dead.url, max_pending=10_000, drops=drops, breaker=ONCE, schedule=(60.0,)),
            "alive": a_target(alive.url),
        }
        async with rig.running(targets) as spool:
            for number in range(100):
                body = b"%-500d" % number
                await spool.append(
                    notification(body, "dead", "alive", number=number, received_at_ms=start_ms + number)
                )
            await asked(alive, 100)
            await until_pending(spool, "dead", 20)
            assert spool.pending_bytes()["dead"] == 10_000
    assert len(dead.requests) <= 2
    letters = [letter for letter in rig.letters() if letter.target == "dead"]
    assert len(letters) == (0 if drops else 80)
    assert rig.counted("dead", "gave_up") == 80
    if not drops:
        assert {letter.reason for letter in letters} == {Reason.GAVE_UP}
        assert max(letter.received_at_ms for letter in letters) == start_ms + 79, "the oldest"


async def test_what_is_under_way_is_left_to_its_attempt(rig: Rig) -> None:
    async with serving(hang) as target:
        targets = {"support": a_target(target.url, max_pending=100, concurrency=1, timeout=30)}
        async with rig.running(targets) as spool:
            await spool.append(notification(b"%-500d" % 1, "support", received_at_ms=unix_ms()))
            await asked(target, 1)
            await spool.append(notification(b"%-500d" % 2, "support", number=1, received_at_ms=unix_ms()))
            await until_pending(spool, "support", 1)
            await trio.sleep(1.2)
            assert spool.pending() == {"support": 1}
    assert len(list(rig.letters())) == 1


async def test_of_a_group_that_loses_a_member_the_rest_goes_singly(rig: Rig) -> None:
    async with rig.spool() as spool:
        for number in range(5):
            await spool.append(a_message(number))
        size = spool.pending_bytes()["support"]
    async with serving(answer(503), answer(200)) as target:
        patient = a_target(target.url, schedule=(3.0,), max_changes=100)
        async with rig.running({"support": patient}):
            await asked(target, 1)
            await trio.sleep(0.1)
        narrow = a_target(target.url, schedule=(3.0,), max_changes=100, max_pending=size - 1)
        async with rig.running({"support": narrow}) as spool:
            await emptied(spool)
    assert numbers(target.requests[0]) == [0, 1, 2, 3, 4]
    assert sorted(map(numbers, target.requests[1:])) == [[1], [2], [3], [4]]
    (letter,) = rig.letters()
    assert len(letter.attempts) == 1


async def test_where_no_dead_letter_can_be_written_nothing_is_lost(rig: Rig) -> None:
    class FullStore(DeadLetterStore):
        def write(self, letter: DeadLetter) -> None:
            raise DeadLetterError("no space left on device")

    store = FullStore(rig.directory / "dead", b"k" * 32)
    async with serving(answer(503)) as target:
        targets = {"support": a_target(target.url, max_pending=1, breaker=ONCE, schedule=(60.0,))}
        async with rig.running(targets, store) as spool:
            for number in range(5):
                await spool.append(notification(BODY + b" " * number, "support", number=number))
            await trio.sleep(1.5)
            assert spool.pending() == {"support": 5}
    assert list(rig.letters()) == []
