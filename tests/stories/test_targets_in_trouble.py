"""Targets that fail, refuse everything, or come back: against the real process."""

import json
import time

import trio

from gateway.simulator.target import ACCEPT, FAIL_FOR_EVER, REFUSE
from tests.stories.rig import PATH, Config, Rig, message, message_id, open_target, unique_id, until


async def state_of(rig: Rig, target: str) -> str:
    status = (await rig.admin_get("/api/status")).json()
    return str(status["targets"][target]["state"])


async def is_open(rig: Rig, target: str) -> bool:
    return await rig.metric(f'meta_gateway_breaker_open{{target="{target}"}}') == 1


async def wait_open(rig: Rig, target: str) -> None:
    with trio.fail_after(15):
        while not await is_open(rig, target):  # noqa: ASYNC110 - another process
            await trio.sleep(0.05)


def with_breaker(config: Config) -> None:
    config["targets"]["support"]["breaker"] = {"failures": 5, "probe_every": "500ms"}
    config["targets"]["support"]["retry"] = {"schedule": ["3s"]}


async def test_a_dead_target_is_probed_and_gets_everything_when_it_is_back(rig: Rig) -> None:
    async with open_target(behaviour=FAIL_FOR_EVER) as target:
        rig.write(targets={"support": target.url}, change=with_breaker)
        wanted = [unique_id() for _ in range(40)]
        async with rig.running(), rig.meta() as meta:
            started = time.time()
            for identity in wanted:
                assert (await meta.post(PATH, message(identity))).status == 200
            await wait_open(rig, "support")
            assert await state_of(rig, "support") == "open"
            asked = len(target.received)
            assert asked < len(wanted)
            await trio.sleep(1)
            assert len(target.received) - asked <= 4, "probes alone"
            give_up = await rig.metric('meta_gateway_next_give_up_timestamp_seconds{target="support"}')
            assert started - 1 <= give_up - 7 * 86400 <= time.time()
            target.behaviour = ACCEPT
            await until(
                lambda: {message_id(one.body) for one in target.received if one.status == 200} == set(wanted),
                seconds=30,
            )
            assert await state_of(rig, "support") == "delivering"
            assert not await is_open(rig, "support")
        waited = [one for one in target.received if one.status == 200]
        first_attempts = [one for one in waited if one.headers["gateway-attempt"] == "1"]
        assert len(first_attempts) >= len(wanted) - asked - 4, "waiting used up no attempt"
    assert rig.dead_letters == []


async def test_a_bad_deploy_that_refuses_everything_costs_twenty_dead_letters(rig: Rig) -> None:
    def impatient(config: Config) -> None:
        with_breaker(config)
        config["targets"]["support"]["retry"] = {"schedule": ["100ms"]}

    async with open_target(behaviour=REFUSE) as target:
        rig.write(targets={"support": target.url}, change=impatient)
        wanted = {unique_id() for _ in range(60)}
        async with rig.running(), rig.meta() as meta:
            for identity in wanted:
                assert (await meta.post(PATH, message(identity))).status == 200
            await wait_open(rig, "support")
            await trio.sleep(1.5)  # probes are refused, and nothing dies of it
            assert len(rig.dead_letters) == 20
            target.behaviour = ACCEPT
            await until(lambda: sum(one.status == 200 for one in target.received) == 40, seconds=30)
        dead = {message_id(letter["body"].encode()) for letter in rig.dead_letters}
        taken = {message_id(one.body) for one in target.received if one.status == 200}
        assert len(dead) == 20
        assert dead | taken == wanted


async def test_a_paused_target_gets_nothing_until_it_is_resumed_and_a_restart_changes_nothing(
    rig: Rig,
) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            done = await rig.command("targets", "pause", "support", "--reason", "deploy", "--json")
            assert json.loads(done.stdout)["support"]["pause"]["reason"] == "deploy"
            first = unique_id()
            assert (await rig.post(message(first))).status == 200
            assert await rig.metric('meta_gateway_target_state{state="paused",target="support"}') == 1
            unknown = await rig.command("targets", "pause", "nobody", check=False)
            assert unknown.returncode == 2
        await rig.command("targets", "pause", "support", "--reason", "still")  # on the spool itself
        async with rig.running():
            await trio.sleep(0.5)
            listed = (await rig.command("targets", "list")).stdout.decode()
            assert listed.startswith("support\tpaused\t1\t")
            assert "still" in listed
            assert target.received == []
            await rig.command("targets", "resume", "support", "--rate", "100/s")
            with trio.fail_after(10):
                await target.wait_received(1)
            await until(lambda: [message_id(one.body) for one in target.received] == [first])
        audit = (rig.spool_directory.parent / "audit.log").read_text()
        assert [json.loads(line)["action"] for line in audit.splitlines()] == ["pause", "pause", "resume"]


async def test_with_order_by_sender_a_failure_holds_up_its_sender_and_nobody_else(rig: Rig) -> None:
    def ordered(config: Config) -> None:
        config["targets"]["support"] |= {"order": "sender", "retry": {"schedule": ["1s"]}}

    def body(sender: str, identity: str) -> bytes:
        return message(identity).replace(b"4915560017342", sender.encode())

    async with open_target(behaviour=FAIL_FOR_EVER) as target:
        rig.write(targets={"support": target.url}, change=ordered)
        first = [unique_id() for _ in range(4)]
        async with rig.running(), rig.meta() as meta:
            for identity in first:
                assert (await meta.post(PATH, body("49151", identity))).status == 200
            await until(lambda: len(target.received) == 1)
            target.behaviour = ACCEPT
            other = unique_id()
            assert (await meta.post(PATH, body("49152", other))).status == 200
            with trio.fail_after(15):
                await target.wait_received(6)
        arrived = [message_id(one.body) for one in target.received]
        assert arrived[:2] == [first[0], other]
        assert arrived[2:] == first
