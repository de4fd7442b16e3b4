"""What was answered 200 arrives: through kill -9, SIGTERM, restarts, targets that are down."""

import os
import random
import signal
from collections import Counter
from functools import partial

import trio

from gateway.errors import PeerError
from gateway.simulator.target import Behaviour, Target
from tests.stories.rig import PATH, Rig, free_port, message, message_id, open_target, unique_id, until

ROUNDS = 20
CONNECTIONS = 8


async def play_meta(rig: Rig, acknowledged: set[str]) -> None:
    """Post over one connection until the gateway is gone; write down what was answered 200."""
    try:
        async with rig.meta() as meta:
            while True:
                identity = unique_id()
                exchange = await meta.post(PATH, message(identity))
                if exchange.status == 200:
                    acknowledged.add(identity)
    except PeerError:
        return


def arrived(target: Target) -> Counter[str]:
    """Return how often each message was taken by the target."""
    return Counter(message_id(received.body) for received in target.received if received.status == 200)


async def wait_arrived(target: Target, wanted: set[str]) -> None:
    """Return when all of them have arrived; the test's time-out is the deadline."""
    count = 0
    while not wanted <= arrived(target).keys():
        count = max(count + 1, len(target.received) + 1)
        with trio.move_on_after(1):
            await target.wait_received(count)


async def test_kill_9_at_random_moments_under_load_loses_nothing_that_was_answered_200(rig: Rig) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 -- shown when the test fails, so that the moments can be had again
    moments = random.Random(seed)
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        for _ in range(ROUNDS):
            acknowledged: set[str] = set()
            async with rig.running() as gateway:
                with trio.move_on_after(20) as patience:
                    async with trio.open_nursery() as nursery:
                        for _ in range(CONNECTIONS):
                            nursery.start_soon(play_meta, rig, acknowledged)
                        await until(partial(bool, acknowledged))  # a kill before the first 200 proves nothing
                        await trio.sleep(moments.uniform(0, 0.5))
                        os.kill(gateway.pid, signal.SIGKILL)
                        await gateway.wait()
                assert not patience.cancelled_caught
            async with rig.running():
                with trio.fail_after(30):
                    await wait_arrived(target, acknowledged)
        assert rig.dead_letters == []
        assert all(received.signature_fits for received in target.received)


async def test_sigterm_under_load_loses_nothing_and_delivers_nothing_twice(rig: Rig) -> None:
    acknowledged: set[str] = set()
    async with open_target(behaviour=Behaviour(delay_seconds=0.05)) as target:
        rig.write(targets={"support": target.url})
        for _ in range(3):
            async with rig.running() as gateway, trio.open_nursery() as nursery:
                for _ in range(CONNECTIONS):
                    nursery.start_soon(play_meta, rig, acknowledged)
                await trio.sleep(0.5)
                assert await gateway.stop() == 0
        async with rig.running():
            with trio.fail_after(60):
                await wait_arrived(target, acknowledged)
        assert acknowledged
        assert set(arrived(target).values()) == {1}, "a clean restart delivers nothing twice"


async def test_a_target_that_is_down_gets_everything_when_it_comes_back(rig: Rig) -> None:
    wanted = {unique_id() for _ in range(10)}
    port = free_port()
    rig.write(targets={"support": f"http://127.0.0.1:{port}/support"})
    async with rig.running():
        async with rig.meta() as meta:
            for identity in wanted:
                assert (await meta.post(PATH, message(identity))).status == 200
        async with open_target(port=port) as target:
            with trio.fail_after(30):
                await wait_arrived(target, wanted)
    assert set(arrived(target).values()) == {1}


async def test_the_same_bytes_are_stored_and_delivered_once_across_a_restart(rig: Rig) -> None:
    body = message(unique_id())
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            assert (await rig.post(body)).status == 200
            assert (await rig.post(body)).status == 200
            with trio.fail_after(10):
                await target.wait_received(1)
            assert await rig.metric('meta_gateway_duplicates_total{app="main"}') == 1
        async with rig.running():
            assert (await rig.post(body)).status == 200
            marker = unique_id()
            assert (await rig.post(message(marker))).status == 200
            with trio.fail_after(10):
                await wait_arrived(target, {marker})
        assert arrived(target)[message_id(body)] == 1


async def test_a_second_process_on_the_same_spool_is_refused_and_harms_nothing(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running() as first:
            second = Rig(directory=rig.directory, pki=rig.pki)
            second.write(targets={"support": target.url})
            outcome = await second.command("run", check=False)
            assert outcome.returncode == 1
            assert str(first.pid) in outcome.stderr.decode()
            assert (await rig.post(message(unique_id()))).status == 200
