"""The breaker between a real spool and real targets: probes, recovery, and nothing lost on the way."""

from pathlib import Path

import pytest
import trio

from gateway.core.breaker import REFUSALS, BreakerPolicy
from gateway.delivery.dead_letter_record import Reason
from gateway.delivery.view import shown_view
from tests.delivery.dispatching import BODY, Rig, a_target, asked, emptied, unix_ms
from tests.delivery.rig import Received, Script, answer, notification, serving
from tests.delivery.test_attempts import a_message, key, numbers

BREAKER = BreakerPolicy(failures=5, probe_every_seconds=0.15)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def store(rig: Rig, count: int, *, start: int = 0, received_at_ms: int | None = None) -> None:
    """Let so many deliveries wait before anything is sent."""
    async with rig.spool() as spool:
        for number in range(start, start + count):
            new = notification(
                BODY + b" " * number,
                "support",
                number=number,
                received_at_ms=received_at_ms or unix_ms(),
            )
            await spool.append(new)


def shown(rig: Rig) -> tuple[float | None, str]:
    value = rig.metrics.registry.get_sample_value
    states = ("delivering", "recovering", "open")
    (state,) = (
        state
        for state in states
        if value("meta_gateway_target_state", {"target": "support", "state": state}) == 1
    )
    return value("meta_gateway_breaker_open", {"target": "support"}), state


async def opened(rig: Rig) -> None:
    with trio.fail_after(10):
        while shown(rig) != (1.0, "open"):  # noqa: ASYNC110 - a metric has no event
            await trio.sleep(0.01)


def attempts(requests: list[Received]) -> list[str]:
    return [request.headers["gateway-attempt"] for request in requests]


async def test_a_target_that_fails_gets_probes_alone_and_waiting_uses_up_no_attempt(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    await store(rig, 40)
    async with serving(*[answer(503)] * 8, answer(200)) as target:
        targets = {"support": a_target(target.url, schedule=(30.0,), concurrency=2, breaker=BREAKER)}
        async with rig.running(targets) as spool:
            await asked(target, 5)
            await trio.sleep(0.05)
            opened_with = len(target.requests)
            assert 5 <= opened_with <= 6, "what was under way besides the fifth"
            assert shown(rig) == (1.0, "open")
            await asked(target, 8)
            assert rig.counted("support", "delivered") == 0
            with trio.fail_after(10):
                while spool.pending()["support"] > 8:  # noqa: ASYNC110 - no event for it
                    await trio.sleep(0.01)
            assert shown(rig) == (0.0, "delivering")
    # Each delivery was attempted once: the first eight failed and wait for their time, the rest was taken.
    assert set(attempts(target.requests)) == {"1"}
    log = "".join(capsys.readouterr())
    assert log.count("breaker_opened") == 1
    assert log.index("breaker_opened") < log.index("breaker_recovering") < log.index("breaker_closed")


async def test_a_backlog_is_no_herd(rig: Rig) -> None:
    """After the probe one at a time, then two, four, eight."""
    await store(rig, 60)
    at_once: list[int] = []
    busy = 0
    bad = True

    async def script(received: Received, stream: trio.abc.Stream) -> bool:
        nonlocal busy
        if bad:
            return await answer(500)(received, stream)
        busy += 1
        at_once.append(busy)
        await trio.sleep(0.03)
        busy -= 1
        return await answer(200)(received, stream)

    async with serving(script) as target:
        targets = {"support": a_target(target.url, schedule=(0.2,), concurrency=8, breaker=BREAKER)}
        async with rig.running(targets) as spool:
            await opened(rig)
            await trio.sleep(0.05)  # what was under way has its answer
            bad = False
            await emptied(spool)
    assert at_once[:2] == [1, 1], "the probe, and one"
    assert max(at_once[:4]) == 2
    assert max(at_once[:8]) <= 4
    assert max(at_once) == 8


async def test_a_deploy_that_refuses_everything_does_not_empty_the_backlog(rig: Rig) -> None:
    await store(rig, 200)
    bad = True

    async def deploy(received: Received, stream: trio.abc.Stream) -> bool:
        return await answer(422 if bad else 200)(received, stream)

    async with serving(deploy) as target:
        targets = {"support": a_target(target.url, schedule=(0.01,), concurrency=8, breaker=BREAKER)}
        async with rig.running(targets) as spool:
            await opened(rig)
            await asked(target, len(target.requests) + 3)
            assert len(list(rig.letters())) == REFUSALS
            assert spool.pending() == {"support": 200 - REFUSALS}
            bad = False
            await emptied(spool)
    assert len(list(rig.letters())) == REFUSALS
    assert {letter.reason for letter in rig.letters()} == {Reason.REFUSED}
    assert rig.counted("support", "delivered") == 200 - REFUSALS


async def test_a_merged_post_that_is_a_refused_probe_goes_on_whole(rig: Rig) -> None:
    await store(rig, 19)
    bad = True

    async def deploy(received: Received, stream: trio.abc.Stream) -> bool:
        return await answer(422 if bad else 200)(received, stream)

    async with serving(deploy) as target:
        targets = {
            "support": a_target(target.url, schedule=(0.01,), concurrency=1, max_changes=10, breaker=BREAKER)
        }
        async with rig.spool() as spool:
            for number in range(100, 140):
                await spool.append(a_message(number))
        async with rig.running(targets) as spool:
            await opened(rig)
            at_opening = len(target.requests)
            await asked(target, at_opening + 3)
            probes = target.requests[at_opening : at_opening + 3]
            bad = False
            await emptied(spool)
    assert len(list(rig.letters())) == REFUSALS
    merged = [key(request) for request in probes if "gateway-notification-count" in request.headers]
    later = {key(request) for request in target.requests[at_opening:]}
    assert set(merged) <= later
    assert rig.counted("support", "delivered") == 19 + 40 - REFUSALS


async def test_while_it_is_open_what_is_past_its_time_is_given_up_without_an_attempt(rig: Rig) -> None:
    await store(rig, 30)
    async with serving(answer(503)) as target:
        breaker = BreakerPolicy(failures=2, probe_every_seconds=60)
        targets = {
            "support": a_target(
                target.url, schedule=(0.01,), give_up_after=1.5, concurrency=1, breaker=breaker
            )
        }
        async with rig.running(targets) as spool:
            await asked(target, 2)
            await trio.sleep(0.3)
            assert spool.pending() == {"support": 30}
            await emptied(spool)
    assert len(target.requests) == 2
    letters = list(rig.letters())
    assert len(letters) == 30
    assert {letter.reason for letter in letters} == {Reason.GAVE_UP}
    assert sum(len(letter.attempts) for letter in letters) == 2
    assert {letter.url for letter in letters} == {target.url}
    assert rig.counted("support", "gave_up") == 30


async def test_a_group_of_which_some_are_past_their_time_goes_singly(rig: Rig) -> None:
    async with rig.spool() as spool:
        for number in range(3):
            await spool.append(a_message(number, received_at_ms=unix_ms() - 59_000))
        for number in range(3, 5):
            await spool.append(a_message(number))
    breaker = BreakerPolicy(failures=1, probe_every_seconds=2)
    async with serving(answer(503), answer(200)) as target:
        targets = {
            "support": a_target(
                target.url, schedule=(0.01,), give_up_after=60.0, max_changes=100, breaker=breaker
            )
        }
        async with rig.running(targets) as spool:
            await emptied(spool)
    assert numbers(target.requests[0]) == [0, 1, 2, 3, 4]
    assert sorted(map(numbers, target.requests[1:])) == [[3], [4]]
    assert len(list(rig.letters())) == 3


@pytest.mark.parametrize(("before", "expected"), [(0, 4), (1, 1)], ids=["new", "failed before"])
async def test_after_a_restart_it_is_careful_where_the_oldest_has_failed(
    rig: Rig, before: int, expected: int
) -> None:
    await store(rig, 10)
    breaker = BreakerPolicy(failures=4, probe_every_seconds=60)
    async with serving(answer(503)) as target:
        if before:
            patient = a_target(target.url, schedule=(0.01,), concurrency=1, breaker=BreakerPolicy(failures=1))
            async with rig.running({"support": patient}):
                await asked(target, before)
                await trio.sleep(0.05)
        impatient = a_target(target.url, schedule=(0.01,), concurrency=1, breaker=breaker)
        async with rig.running({"support": impatient}):
            await asked(target, before + expected)
            await trio.sleep(0.2)
            assert len(target.requests) == before + expected
            assert shown(rig) == (1.0, "open")


async def test_an_open_breaker_of_one_delays_no_other(rig: Rig) -> None:
    script: list[Script] = [answer(500)]
    async with serving(*script) as bad, serving(answer(200)) as good:
        targets = {
            "bad": a_target(bad.url, breaker=BreakerPolicy(failures=1, probe_every_seconds=60)),
            "good": a_target(good.url),
        }
        async with rig.running(targets) as spool:
            for number in range(30):
                await spool.append(notification(BODY + b" " * number, "bad", "good", number=number))
            await asked(good, 30)
            assert spool.pending()["bad"] == 30
    assert len(bad.requests) <= 2


async def test_a_missing_app_is_not_the_targets_fault(rig: Rig) -> None:
    async with rig.spool() as spool:
        for number in range(5):
            await spool.append(notification(BODY + b" " * number, "support", number=number, app="former"))
        await spool.append(notification(BODY, "support", number=9))
    async with serving(answer(200)) as target:
        breaker = BreakerPolicy(failures=1, probe_every_seconds=60)
        async with rig.running({"support": a_target(target.url, schedule=(30.0,), breaker=breaker)}):
            await asked(target, 1)
            assert shown(rig) == (0.0, "delivering")


async def test_what_came_of_the_last_attempt_that_was_not_taken_is_shown(rig: Rig) -> None:
    async with (
        serving(answer(503), answer(200)) as target,
        rig.spool() as spool,
        trio.open_nursery() as nursery,
    ):
        dispatcher = rig.dispatcher(spool, {"support": a_target(target.url, schedule=(0.05,))})
        await nursery.start(dispatcher.run)
        assert shown_view(dispatcher.views()["support"])["last_error"] is None
        before_ms = unix_ms()
        await spool.append(notification(BODY, "support", received_at_ms=before_ms))
        await asked(target, 2)
        error = shown_view(dispatcher.views()["support"])["last_error"]
        assert isinstance(error, dict)
        assert (error["status"], error["error"]) == (503, "")
        assert set(error) == {"at", "status", "error"}, "never what the target wrote"
        await dispatcher.drain(0)
        nursery.cancel_scope.cancel()


async def test_an_open_breaker_outlives_new_settings_and_is_shown_while_there_is_a_target(rig: Rig) -> None:
    breaker = BreakerPolicy(failures=1, probe_every_seconds=60)
    async with serving(answer(503)) as target, rig.spool() as spool, trio.open_nursery() as nursery:
        dispatcher = rig.dispatcher(spool, {"support": a_target(target.url, breaker=breaker)})
        await nursery.start(dispatcher.run)
        await spool.append(notification(BODY, "support", received_at_ms=unix_ms()))
        await opened(rig)
        dispatcher.adopt({"support": a_target(target.url, breaker=breaker, concurrency=5)})
        await trio.sleep(0.2)
        assert shown(rig) == (1.0, "open")
        assert len(target.requests) == 1
        # a shorter give-up time holds for what waits
        impatient = a_target(target.url, breaker=breaker, give_up_after=0.1)
        dispatcher.adopt({"support": impatient})
        assert dispatcher.next_give_ups_ms({"support": 7, "other": 7}) == {"support": 107}
        dispatcher.adopt({})
        assert dispatcher.views() == {}
        assert b'breaker_open{target="support"}' not in rig.metrics.render()
        await dispatcher.drain(0)
