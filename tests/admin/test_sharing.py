"""One making of an answer for all who wait for it."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.admin.sharing import PAUSE_SECONDS, PAUSES, Shared


class Maker:
    """Numbers its answers; each takes a while."""

    def __init__(self, *, seconds: float = 0.01) -> None:
        self.seconds = seconds
        self.begun: list[float] = []
        self.fails = False

    async def make(self) -> int:
        self.begun.append(trio.current_time())
        number = len(self.begun)
        await trio.sleep(self.seconds)
        if self.fails:
            raise ZeroDivisionError
        return number


async def ask(shared: Shared[int], answers: list[int]) -> None:
    answers.append(await shared())


async def test_those_who_come_while_one_is_made_share_the_next(autojump_clock: MockClock) -> None:
    maker, answers = Maker(), list[int]()
    shared = Shared(maker.make)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, shared, answers)
        await wait_all_tasks_blocked()
        for _ in range(50):
            nursery.start_soon(ask, shared, answers)
    assert answers == [1] + [2] * 50


async def test_who_asks_again_gets_what_is_new_after_a_pause(autojump_clock: MockClock) -> None:
    maker = Maker(seconds=0.01)
    shared = Shared(maker.make)
    assert [await shared(), await shared()] == [1, 2]
    first, second = maker.begun
    assert second - first == pytest.approx(0.01 * (1 + PAUSES))


async def test_no_pause_is_longer_than_a_scraper_bears(autojump_clock: MockClock) -> None:
    maker = Maker(seconds=8)
    shared = Shared(maker.make)
    await shared()
    await shared()
    first, second = maker.begun
    assert second - first == pytest.approx(8 + PAUSE_SECONDS)


async def test_a_failure_is_told_to_who_had_it_made_and_the_next_tries_again(
    autojump_clock: MockClock,
) -> None:
    maker = Maker()
    shared = Shared(maker.make)
    maker.fails = True
    with pytest.raises(ZeroDivisionError):
        await shared()
    maker.fails = False
    assert await shared() == 2


async def test_who_goes_away_leaves_the_turn_to_the_others(autojump_clock: MockClock) -> None:
    maker, answers = Maker(), list[int]()
    shared = Shared(maker.make)
    await shared()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as impatient:
            nursery.start_soon(ask, shared, answers)
            impatient.cancel()
            await shared()
    assert answers == [2]
