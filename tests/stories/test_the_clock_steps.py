"""A wall clock that is set back: nothing is lost, and what comes in is delivered at once."""

import trio

from gateway.simulator.target import Behaviour
from tests.stories.accounts import Books
from tests.stories.faults import Faults
from tests.stories.rig import Config, Rig, open_target, until

DAY = 86_400
BACK = -20 * 60
"""A clock that was wrong by this; the test's certificates are an hour old at least."""


def often(config: Config) -> None:
    """Retry soon, and without a breaker in the way."""
    config["targets"]["support"] |= {
        "retry": {"schedule": ["300ms"]},
        "breaker": {"failures": 1000, "probe_every": "200ms"},
    }


async def test_a_clock_that_is_set_back_delays_only_what_was_waiting_for_its_next_attempt(
    rig: Rig, faults: Faults
) -> None:
    early, late = Books(), Books()
    async with open_target(behaviour=Behaviour(status=503)) as target:
        rig.write(targets={"support": target.url}, change=often)
        async with rig.running():
            await early.post(rig, 5)
            await until(lambda: len(target.received) >= 5)
            faults.step_clock(BACK)
            await trio.sleep(0.5)  # what was under way has failed, and waits by the clock as it is now or was
            target.behaviour = Behaviour()
            await late.post(rig, 5)
            await late.balance(rig, target, seconds=10)
            assert (await rig.admin_get("/readyz")).status_code == 200
        async with rig.running():  # the next process knows no better
            await late.post(rig, 5)
            await late.balance(rig, target, seconds=10)
            faults.step_clock(0)
            await late.post(rig, 1)  # a look at what is due
            await early.balance(rig, target, seconds=10)
    assert len(early.acknowledged) == 5
    assert len(late.acknowledged) == 11
    assert rig.dead_letters == []
    assert all(received.signature_fits for received in target.received)
    assert "Traceback" not in rig.log


async def test_a_clock_that_runs_ahead_for_a_moment_gives_nothing_up_that_arrives(
    rig: Rig, faults: Faults
) -> None:
    books = Books()
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=often)
        async with rig.running():
            await books.post(rig, 5)
            faults.step_clock(30)
            await books.post(rig, 5)
            faults.step_clock(0)
            await books.post(rig, 5)
            await books.balance(rig, target, seconds=10)
            # the same bytes are known, whatever time they were taken at
            assert await rig.metric('meta_gateway_deliveries_total{outcome="gave_up",target="support"}') == 0
    assert rig.dead_letters == []
