"""What was delivered is sent again: to a consumer that lost it, and to a target that is new."""

import json
import os
import signal

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
