"""Deliveries that wait go out together, and what has gone out together stays together."""

import json
import os
import signal

import trio

from gateway.simulator.target import Behaviour, Received, Target
from tests.stories.rig import APP_SECRET, PATH, Config, Rig, free_port, message, open_target, unique_id, until


def ids(received: Received) -> list[str]:
    """Return the identities of the messages in a POST, in order."""
    return [
        change["value"]["messages"][0]["id"]
        for entry in json.loads(received.body)["entry"]
        for change in entry["changes"]
    ]


def merge(config: Config) -> None:
    """Let one lane merge, and let it try soon again."""
    config["targets"]["support"] |= {
        "max_changes": 100,
        "concurrency": 1,
        "retry": {"schedule": ["1s"]},
    }


async def accept(rig: Rig, count: int) -> list[str]:
    """Have so many messages accepted, one after the other; returns their identities."""
    accepted = [unique_id() for _ in range(count)]
    async with rig.meta() as meta:
        for identity in accepted:
            assert (await meta.post(PATH, message(identity))).status == 200
    return accepted


def merged(target: Target) -> list[Received]:
    return [received for received in target.received if len(ids(received)) > 1]


async def test_kill_9_between_attempts_of_a_merged_post_keeps_its_key_and_its_members(rig: Rig) -> None:
    """The first message keeps the only lane busy while the others gather."""
    port = free_port()
    rig.write(targets={"support": f"http://127.0.0.1:{port}/support"}, change=merge)
    async with open_target(behaviour=Behaviour(delay_seconds=1.5, status=503), port=port) as target:
        async with rig.running() as gateway:
            wanted = await accept(rig, 10)
            await until(lambda: '"members"' in rig.log)  # its failure is on record, and the next is to come
            os.kill(gateway.pid, signal.SIGKILL)
            await gateway.wait()
        (before,) = merged(target)
        target.behaviour = Behaviour()
        async with rig.running():
            newer = await accept(rig, 1)
            await until(lambda: {one for got in target.received if got.status == 200 for one in ids(got)}
                        == {*wanted, *newer})  # fmt: skip
    (after,) = [received for received in merged(target) if received.status == 200]
    assert (after.key, ids(after), after.body) == (before.key, ids(before), before.body)
    assert ids(before) == wanted[1:]
    assert after.attempt == before.attempt + 1
    assert after.headers["gateway-notification-count"] == "9"
    assert after.notification_id == before.notification_id
    assert len(after.notification_id.split(", ")) == 9
    assert all(received.signature_fits for received in target.received)
    assert rig.dead_letters == []


async def test_a_poisonous_message_among_many_is_the_only_dead_letter(rig: Rig) -> None:
    poison: list[str] = []

    class Picky(Target):
        """Refuses what holds the poison."""

        def _record(self, scope: dict[str, object], body: bytes) -> Received:
            bad = any(one.encode() in body for one in poison)
            self.behaviour = Behaviour(delay_seconds=0.3, status=422 if bad else 200)
            return super()._record(scope, body)

    target = Picky("support", secret=APP_SECRET, behaviour=Behaviour(delay_seconds=0.3))
    async with trio.open_nursery() as nursery:
        await nursery.start(target.serve)
        rig.write(targets={"support": target.url}, change=merge)
        async with rig.running():
            poison.append(unique_id())
            wanted = await accept(rig, 6)
            async with rig.meta() as meta:
                assert (await meta.post(PATH, message(poison[0]))).status == 200
            wanted += await accept(rig, 6)
            await until(lambda: len(rig.dead_letters) == 1)
            taken = [one for got in target.received if got.status == 200 for one in ids(got)]
            await until(lambda: sorted(
                one for got in target.received if got.status == 200 for one in ids(got)
            ) == sorted(wanted))  # fmt: skip
            assert len(set(taken)) == len(taken)
        nursery.cancel_scope.cancel()
    (letter,) = rig.dead_letters
    assert letter["reason"] == "refused"
    assert poison[0] in letter["body"]
