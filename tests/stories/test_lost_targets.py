"""A target leaves the configuration while deliveries wait for it: nothing is dropped by that."""

import json
import os
import signal

import trio

from tests.stories.rig import Config, Rig, free_port, message, message_id, open_target, unique_id, until


async def test_a_lost_target_is_shown_and_given_up_by_a_command_and_its_dead_letters_can_be_replayed(
    rig: Rig,
) -> None:
    def down(config: Config) -> None:
        config["targets"]["support"]["url"] = f"http://127.0.0.1:{free_port()}/"

    async with open_target("support") as support, open_target("audit") as audit:
        rig.write(targets={"support": support.url, "audit": audit.url}, change=down)
        wanted = [unique_id() for _ in range(3)]
        async with rig.running() as gateway:
            for identity in wanted:
                assert (await rig.post(message(identity))).status == 200
            rig.write(targets={"audit": audit.url})
            os.kill(gateway.pid, signal.SIGHUP)
            await until(lambda: "target_unknown_pending" in rig.log)
            status = (await rig.admin_get("/api/status")).json()["targets"]["support"]
            assert (status["state"], status["pending"]) == ("unknown", 3)
            assert await rig.metric('meta_gateway_target_state{state="unknown",target="support"}') == 1
            refused = await rig.command("targets", "discard", "audit", "--yes", check=False)
            assert refused.returncode == 2
            rehearsed = await rig.command("targets", "discard", "support", "--dry-run", "--json")
            assert json.loads(rehearsed.stdout) == {"support": {"would_discard": 3, "left": 3}}
            assert rig.dead_letters == []
            with trio.fail_after(20):  # an attempt may be under way still
                while (await rig.command("targets", "discard", "support", "--yes", check=False)).returncode:
                    await trio.lowlevel.checkpoint()
            assert {letter["reason"] for letter in rig.dead_letters} == {"discarded_target"}
            assert len(rig.dead_letters) == 3
            assert await rig.metric('meta_gateway_target_state{state="unknown",target="support"}') == 0
            assert await rig.metric('meta_gateway_spool_pending{target="support"}') == 0
            rig.write(targets={"support": support.url, "audit": audit.url})
            os.kill(gateway.pid, signal.SIGHUP)
            await until(lambda: rig.log.count('"reloaded"') == 2)
            await rig.command("dead-letters", "replay", "--target", "support")
            await until(lambda: len(support.received) == 3)
            assert {message_id(one.body) for one in support.received} == set(wanted)
            assert {message_id(one.body) for one in audit.received} == set(wanted)
