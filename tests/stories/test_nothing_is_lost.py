"""What was answered 200 arrives: through kill -9, SIGTERM, restarts, targets that are down."""

import os
import random
import signal
from functools import partial

import pytest
import trio

from gateway.simulator.target import Behaviour
from tests.stories.accounts import CONNECTIONS, Books, line_of_account, messages_alone
from tests.stories.rig import Config, Rig, free_port, message, message_id, open_target, unique_id, until

KILLED_AT_START = 0.3
"""How often the one that takes over is killed, too, while it starts or empties the spool."""


@pytest.mark.slow
async def test_kill_9_at_random_moments_under_load_loses_nothing_that_was_answered_200(
    rig: Rig, rounds: int
) -> None:
    """A quarter has no route: what is answered 200 arrives, or is a dead letter."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 -- shown when the test fails, so that the moments can be had again
    moments = random.Random(seed)
    books = Books()
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=messages_alone)
        for number in range(1, rounds + 1):
            if number > 1 and moments.random() < KILLED_AT_START:
                async with rig.running(ready=None) as gateway:
                    await trio.sleep(moments.uniform(0.2, 1.2))
                    os.kill(gateway.pid, signal.SIGKILL)
                    await gateway.wait()
            async with rig.running() as gateway:
                # What the process before this one left behind, while this one has not been asked for more.
                await books.balance(rig, target)
                before = len(books.acknowledged)
                with trio.fail_after(20):
                    async with trio.open_nursery() as nursery:
                        for _ in range(CONNECTIONS):
                            nursery.start_soon(partial(books.post_until_gone, rig, one_in=4))
                        # a kill before the first 200 proves nothing
                        await until(partial(books.has_more_than, before))
                        await trio.sleep(moments.uniform(0, 0.5))
                        os.kill(gateway.pid, signal.SIGKILL)
                        await gateway.wait()
            print(line_of_account(number, books, rig, target))  # noqa: T201 -- as above
        async with rig.running():
            await books.balance(rig, target)
        print(line_of_account(rounds, books, rig, target))  # noqa: T201 -- as above
        assert books.dead
        assert {letter["reason"] for letter in rig.dead_letters} == {"unrouted"}
        assert not books.arrived(target).keys() & books.dead
        assert all(received.signature_fits for received in target.received)


async def test_sigterm_under_load_loses_nothing_and_delivers_nothing_twice(rig: Rig) -> None:
    books = Books()
    async with open_target(behaviour=Behaviour(delay_seconds=0.05)) as target:
        rig.write(targets={"support": target.url}, change=messages_alone)
        for _ in range(3):
            async with rig.running() as gateway, trio.open_nursery() as nursery:
                for _ in range(CONNECTIONS):
                    nursery.start_soon(partial(books.post_until_gone, rig, one_in=4))
                await trio.sleep(0.5)
                assert await gateway.stop() == 0
        async with rig.running():
            await books.balance(rig, target, seconds=60)
        assert books.acknowledged
        assert books.dead
        assert set(books.arrived(target).values()) == {1}, "a clean restart delivers nothing twice"


async def test_a_target_that_is_down_gets_everything_when_it_comes_back(rig: Rig) -> None:
    books = Books()
    port = free_port()

    def impatient(config: Config) -> None:
        config["targets"]["support"]["breaker"] = {"probe_every": "500ms"}

    rig.write(targets={"support": f"http://127.0.0.1:{port}/support"}, change=impatient)
    async with rig.running():
        await books.post(rig, 10)
        assert len(books.acknowledged) == 10
        async with open_target(port=port) as target:
            await books.balance(rig, target)
    assert set(books.arrived(target).values()) == {1}


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
            books = Books()
            await books.post(rig, 1)
            await books.balance(rig, target)
        assert books.arrived(target)[message_id(body)] == 1


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
