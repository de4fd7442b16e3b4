"""What was delivered is sent again: to a consumer that lost it, and to a target that is new."""

import json
import os
import random
import signal
from functools import partial

import trio

from tests.stories.accounts import CONNECTIONS, Books
from tests.stories.rig import PATH, Config, Rig, message, message_id, open_target, unique_id, until


def keeping(config: Config) -> None:
    config["spool"]["keep_delivered"] = "1h"


async def test_a_consumer_that_lost_it_and_a_new_target_get_what_was_delivered(rig: Rig) -> None:
    async with open_target("support") as support, open_target("crm") as crm:
        rig.write(targets={"support": support.url}, change=keeping)
        wanted = [unique_id() for _ in range(30)]
        async with rig.running(), rig.meta() as meta:
            for identity in wanted:
                assert (await meta.post(PATH, message(identity))).status == 200
            await until(lambda: len(support.received) == 30)
        keys = [one.headers["idempotency-key"] for one in support.received]
        async with rig.running() as gateway:
            again = ("replay", "--target", "support", "--since", "1h", "--include-delivered", "--json")
            rehearsed = await rig.command(*again, "--dry-run")
            assert json.loads(rehearsed.stdout)["counts"] == {"would_replay": 30}
            assert len(support.received) == 30
            done = await rig.command(*again)
            assert json.loads(done.stdout)["counts"] == {"replayed": 30}
            await until(lambda: len(support.received) == 60)
            assert {message_id(one.body) for one in support.received[30:]} == set(wanted)
            assert sorted(one.headers["idempotency-key"] for one in support.received[30:]) == sorted(keys)
            assert await rig.metric("meta_gateway_spool_kept_oldest_seconds") > 0
            rig.write(targets={"support": support.url, "crm": crm.url}, change=keeping)
            os.kill(gateway.pid, signal.SIGHUP)
            await until(lambda: '"reloaded"' in rig.log)
            await rig.command("replay", "--target", "crm", "--since", "1h", "--field", "messages")
            await until(lambda: len(crm.received) == 30)
            assert {message_id(one.body) for one in crm.received} == set(wanted)
            assert len(support.received) == 60
        actions = [
            json.loads(line)["action"]
            for line in (rig.directory / "state" / "audit.log").read_text().splitlines()
        ]
        assert actions.count("replay_kept") >= 2


async def test_kill_9_while_what_was_delivered_is_kept_and_sent_again_loses_nothing_of_either(
    rig: Rig,
) -> None:
    """What was answered 200 arrives; all of it is kept, and arrives once more when it is asked for."""
    again = ("replay", "--target", "support", "--since", "1h", "--include-delivered", "--json")
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 -- shown when the test fails, so that the moments can be had again
    moments = random.Random(seed)
    books = Books()
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=keeping)
        for number in range(2):
            async with rig.running() as gateway:
                before = len(books.acknowledged)
                with trio.fail_after(20):
                    async with trio.open_nursery() as nursery:
                        for _ in range(CONNECTIONS):
                            nursery.start_soon(partial(books.post_until_gone, rig))
                        await until(partial(books.has_more_than, before + 20))
                        if number:
                            # Killed in the middle of it, or before, or behind.
                            nursery.start_soon(partial(rig.command, *again, check=False))
                        await trio.sleep(moments.uniform(0, 1.0 if number else 0.3))
                        os.kill(gateway.pid, signal.SIGKILL)
                        await gateway.wait()
        async with rig.running():
            await books.balance(rig, target)
            await emptied(rig)
            arrived = dict(books.arrived(target))
            counts = json.loads((await rig.command(*again)).stdout)["counts"]
            # What was stored, but killed before its 200, is kept, too.
            assert counts == {"replayed": len(arrived)}
            await until(
                lambda: all(books.arrived(target)[one] > times for one, times in arrived.items()), seconds=30
            )
    assert set(books.acknowledged) <= arrived.keys()
    assert rig.dead_letters == []


async def emptied(rig: Rig) -> None:
    """Return when nothing waits any more; what is sent again waits, too."""
    with trio.fail_after(30):
        while await rig.metric('meta_gateway_spool_pending{target="support"}'):  # noqa: ASYNC110
            await trio.sleep(0.1)
