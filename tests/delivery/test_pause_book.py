"""Pauses between a real spool and a real target: kept, ended, and considerate afterwards."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trio

from gateway.core import pausing
from gateway.core.breaker import BreakerPolicy
from gateway.core.pausing import Pause, Pauses
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.pause_book import PauseBook
from gateway.delivery.view import TargetState
from gateway.errors import UsageError
from gateway.spool.memory import open_memory_spool
from gateway.spool.memory_state import MemoryState
from tests.delivery.dispatching import BODY, Rig, a_target, asked, emptied, unix_ms
from tests.delivery.rig import FakeTarget, Received, answer, notification, serving


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def state(dispatcher: Dispatcher) -> TargetState:
    return dispatcher.views()["support"].state


def shown(rig: Rig, state: str) -> float | None:
    labels = {"target": "support", "state": state}
    return rig.metrics.registry.get_sample_value("meta_gateway_target_state", labels)


async def until_asked_no_more(target: FakeTarget, seconds: float = 0.2) -> int:
    await trio.sleep(seconds)
    return len(target.requests)


async def test_a_paused_target_gets_nothing_over_restarts_until_it_is_resumed(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(answer(200)) as target:
        targets = {"support": a_target(target.url)}
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, targets)
            await nursery.start(dispatcher.run)
            await dispatcher.pause("support", seconds=None, reason="deploy")
            for number in range(5):
                await spool.append(notification(BODY + b" " * number, "support", number=number))
            assert await until_asked_no_more(target) == 0
            assert state(dispatcher) is TargetState.PAUSED
            assert (shown(rig, "paused"), shown(rig, "delivering")) == (1.0, 0.0)
            await dispatcher.drain(0)
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, targets)
            await nursery.start(dispatcher.run)
            assert await until_asked_no_more(target) == 0
            pause = dispatcher.views()["support"].pause
            assert pause is not None
            assert pause.reason == "deploy"
            await dispatcher.resume("support", rate_per_second=None)
            await emptied(spool)
            assert state(dispatcher) is TargetState.DELIVERING
            assert shown(rig, "delivering") == 1.0
            await dispatcher.drain(0)
    assert {request.headers["gateway-attempt"] for request in target.requests} == {"1"}
    log = "".join(capsys.readouterr())
    assert log.count("target_paused") == 2, "and once more after the restart"
    assert log.count("target_resumed") == 1


async def test_it_ends_by_itself_and_lets_attempts_under_way_end(rig: Rig) -> None:
    release = trio.Event()

    async def slow(received: Received, stream: trio.abc.Stream) -> bool:
        await release.wait()
        return await answer(200)(received, stream)

    async with (
        serving(slow) as target,
        rig.spool() as spool,
        trio.open_nursery() as nursery,
    ):
        dispatcher = rig.dispatcher(spool, {"support": a_target(target.url, concurrency=1)})
        await nursery.start(dispatcher.run)
        for number in range(3):
            await spool.append(notification(BODY + b" " * number, "support", number=number))
        await asked(target, 1)
        paused_at = trio.current_time()
        await dispatcher.pause("support", seconds=0.4, reason="")
        release.set()
        with trio.fail_after(5):
            while rig.counted("support", "delivered") < 1:  # noqa: ASYNC110 - a metric has no event
                await trio.sleep(0.01)
        assert len(target.requests) == 1
        await asked(target, 2)
        assert trio.current_time() - paused_at > 0.35
        await emptied(spool)
        await dispatcher.drain(0)


async def test_the_give_up_clock_stands_still_over_restarts(rig: Rig) -> None:
    async with serving(answer(503)) as target:
        targets = {
            "support": a_target(
                target.url,
                schedule=(0.05,),
                give_up_after=0.6,
                breaker=BreakerPolicy(failures=2, probe_every_seconds=60),
            )
        }
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, targets)
            await nursery.start(dispatcher.run)
            await dispatcher.pause("support", seconds=None, reason="")
            await spool.append(notification(BODY, "support", received_at_ms=unix_ms()))
            await dispatcher.drain(0)
        await trio.sleep(0.7)
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, targets)
            await nursery.start(dispatcher.run)
            (clock_ms,) = (await spool.oldest_clock_ms()).values()
            left_ms = dispatcher.next_give_ups_ms({"support": clock_ms})["support"] - unix_ms()
            assert 400 < left_ms <= 600
            await trio.sleep(0.2)
            assert spool.pending() == {"support": 1}
            resumed_at = trio.current_time()
            await dispatcher.resume("support", rate_per_second=None)
            await emptied(spool)
            assert 0.35 < trio.current_time() - resumed_at < 3
            await dispatcher.drain(0)
    (letter,) = rig.letters()
    assert len(letter.attempts) == len(target.requests) == 2


async def test_what_has_gathered_goes_out_at_a_rate_until_it_is_caught_up(rig: Rig) -> None:
    at: list[float] = []

    async def script(received: Received, stream: trio.abc.Stream) -> bool:
        at.append(trio.current_time())
        return await answer(200)(received, stream)

    async with serving(script) as target:
        targets = {"support": a_target(target.url, concurrency=8)}
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, targets, processes=2)
            await nursery.start(dispatcher.run)
            await dispatcher.pause("support", seconds=None, reason="")
            for number in range(30):
                await spool.append(notification(BODY + b" " * number, "support", number=number))
            await dispatcher.resume("support", rate_per_second=100)
            assert dispatcher.views()["support"].rate_per_second == 100, "of both"
            await emptied(spool)
            with trio.fail_after(5):
                while dispatcher.views()["support"].rate_per_second is not None:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            assert await spool.pauses() == {}
            await dispatcher.drain(0)
    assert 0.4 < at[-1] - at[0] < 2
    assert max(sum(1 for other in at if 0 <= other - one < 0.1) for one in at) <= 5 + 6


async def test_pausing_stops_the_probes_of_an_open_breaker(rig: Rig) -> None:
    breaker = BreakerPolicy(failures=1, probe_every_seconds=0.05)
    async with (
        serving(answer(503)) as target,
        rig.spool() as spool,
        trio.open_nursery() as nursery,
    ):
        dispatcher = rig.dispatcher(spool, {"support": a_target(target.url, breaker=breaker)})
        await nursery.start(dispatcher.run)
        await spool.append(notification(BODY, "support", received_at_ms=unix_ms()))
        await asked(target, 3)
        await dispatcher.pause("support", seconds=None, reason="")
        await trio.sleep(0.05)
        known = len(target.requests)
        assert await until_asked_no_more(target) == known
        await dispatcher.resume("support", rate_per_second=None)
        await asked(target, known + 1)
        await dispatcher.drain(0)


async def test_new_settings_keep_a_pause_and_so_does_a_target_that_comes_back(rig: Rig) -> None:
    async with (
        serving(answer(200)) as target,
        rig.spool() as spool,
        trio.open_nursery() as nursery,
    ):
        dispatcher = rig.dispatcher(spool, {"support": a_target(target.url)})
        await nursery.start(dispatcher.run)
        await dispatcher.pause("support", seconds=None, reason="")
        dispatcher.adopt({"support": a_target(target.url, concurrency=3)})
        assert state(dispatcher) is TargetState.PAUSED
        dispatcher.adopt({})
        dispatcher.adopt({"support": a_target(target.url)})
        await spool.append(notification(BODY, "support"))
        assert await until_asked_no_more(target) == 0
        assert state(dispatcher) is TargetState.PAUSED
        await dispatcher.drain(0)


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(0.0, ""), (-1.0, ""), (1e12, ""), (float("nan"), ""), (None, "a\nb"), (None, "x" * 201)],
)
async def test_what_makes_no_pause_is_refused(rig: Rig, seconds: float | None, reason: str) -> None:
    async with rig.spool() as spool:
        dispatcher = rig.dispatcher(spool, {})
        with pytest.raises(UsageError):
            await dispatcher.pause("support", seconds=seconds, reason=reason)
        with pytest.raises(UsageError):
            await dispatcher.resume("support", rate_per_second=seconds or 0.0)
        assert await spool.pauses() == {}


async def test_to_resume_a_target_makes_due_what_would_be_tried_in_hours(rig: Rig) -> None:
    """After an outage: what came in since is delivered at once, what is from before waits for its time."""
    behaviour = [500, 500]

    async def script(received: Received, stream: trio.abc.Stream) -> bool:
        return await answer(behaviour.pop() if behaviour else 200)(received, stream)

    async with serving(script) as target:
        targets = {"support": a_target(target.url, schedule=(6 * 3600.0,))}
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            dispatcher = rig.dispatcher(spool, targets)
            await nursery.start(dispatcher.run)
            for number in range(2):
                await spool.append(notification(BODY + b" " * number, "support", number=number))
            await asked(target, 2)
            with trio.fail_after(5):
                while (due_ms := await spool.next_due_ms("support") or 0) == 0:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            assert due_ms > unix_ms() + 4 * 3_600_000
            await spool.append(notification(BODY + b"   ", "support", number=3))
            await asked(target, 3)
            with trio.fail_after(5):
                while spool.pending() != {"support": 2}:  # noqa: ASYNC110 - it is settled by then
                    await trio.sleep(0.01)
            await dispatcher.resume("support", rate_per_second=None)
            await emptied(spool)
            assert len(target.requests) == 5
            await dispatcher.drain(0)


async def test_what_another_gateway_has_paused_on_the_same_spool_is_followed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(answer(200)) as target:
        targets = {"support": a_target(target.url)}
        async with rig.spool() as spool, trio.open_nursery() as nursery:
            told: list[Callable[[Mapping[str, Pauses]], None]] = []
            monkeypatch.setattr(spool, "on_pauses", told.append)
            dispatcher = rig.dispatcher(spool, targets)
            await nursery.start(dispatcher.run)
            [tell] = told
            tell({"support": (Pause(from_ms=unix_ms(), until_ms=None, reason="deploy"),)})
            assert state(dispatcher) is TargetState.PAUSED
            await spool.append(notification(BODY, "support"))
            assert await until_asked_no_more(target) == 0
            tell({})
            await emptied(spool)
            nursery.cancel_scope.cancel()
        assert len(target.requests) == 1


async def test_who_has_not_seen_what_another_process_has_just_paused_does_not_undo_it() -> None:
    state = MemoryState()
    async with open_memory_spool(state) as spool:
        one, other = PauseBook(spool, unix_ms), PauseBook(spool, unix_ms)
        await other.load()
        await one.resume("support", rate_per_second=5)
        await other.load()
        await one.pause("support", seconds=None, reason="deploy")
        await other.catch_up("support")
        assert other.of("support") == one.of("support") == (await spool.pauses())["support"]
        assert pausing.current(other.of("support"), unix_ms()) is not None

        await one.resume("support", rate_per_second=None)
        await other.pause("support", seconds=None, reason="again")
        going_on = pausing.current((await spool.pauses())["support"], unix_ms())
        assert going_on is not None
        assert going_on.reason == "again"
