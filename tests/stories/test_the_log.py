"""The log: a message is followed through it, and nobody who fails to read it holds the gateway."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.simulator.target import REFUSE
from gateway.telemetry.events import EVENTS
from tests.stories.rig import PATH, Config, Rig, message, message_id, open_target, unique_id, until

PIPE_BYTES = 4096
"""The least that a pipe holds: ten lines."""

ALWAYS = {"event", "level", "timestamp", "component"}


def lines(rig: Rig) -> list[dict[str, Any]]:
    """Return what was logged, without what else stands on stdout and stderr."""
    return [json.loads(line) for line in rig.log.splitlines() if line.startswith("{")]


async def test_a_message_is_followed_from_its_connection_to_its_dead_letter(rig: Rig) -> None:
    """By one name for one thing: each line leads to the next."""

    def everything(config: Config) -> None:
        config["log"]["level"] = "debug"
        config["targets"]["failing"]["retry"] = {"schedule": ["100ms"], "give_up_after": "300ms"}

    async with open_target("refusing", REFUSE) as refusing, open_target("support") as support:
        targets = {"refusing": refusing.url, "support": support.url, "failing": "http://127.0.0.1:9/"}
        rig.write(targets=targets, change=everything)
        async with rig.running() as process:
            sought = unique_id()
            await rig.post(message(unique_id()))
            await rig.post(message(sought))
            await until(lambda: len(rig.dead_letters) == 4)
            assert await process.stop() == 0
    told = lines(rig)
    letters = {letter["id"]: letter for letter in rig.dead_letters if sought in json.dumps(letter["body"])}
    assert len(letters) == 2

    (notification,) = {letter["notification_id"] for letter in letters.values()}
    (accepted,) = [
        line
        for line in told
        if line["event"] == "notification_accepted" and line["notification"] == notification
    ]
    began, *_ = [line for line in told if line.get("connection") == accepted["connection"]]
    assert (began["event"], began["address"], began["clients"]) == (
        "connection_accepted",
        "127.0.0.1",
        ["meta"],
    )
    after = [line for line in told if line.get("notification") == notification]
    assert after[0] == accepted
    by_delivery = {line["delivery"]: line for line in after[1:]}
    assert by_delivery.keys() == {f"{notification}-{target}" for target in targets}
    ways = {
        target: [(line["event"], line.get("attempt")) for line in after if line.get("target") == target]
        for target in targets
    }
    assert ways["support"] == [("delivery_delivered", 1)]
    assert ways["refusing"] == [("delivery_refused", 1), ("dead_letter_written", None)]
    attempts = [attempt for event, attempt in ways["failing"] if event == "delivery_retried"]
    assert attempts == [*range(1, len(attempts) + 1)]
    assert ways["failing"][-2][0] == "delivery_gave_up"
    assert ways["failing"][-1] == ("dead_letter_written", None)
    assert {line["delivery"] for line in after if line["event"] == "dead_letter_written"} == letters.keys()
    got = [one.headers for one in support.received if message_id(one.body) == sought]
    assert [one["gateway-notification"] for one in got] == [notification]
    assert got[0]["idempotency-key"] == f"{notification}-support"


async def test_what_came_is_summed_up_and_nothing_carries_an_unknown_field(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=lambda config: config["log"].pop("notifications"))
        async with rig.running() as process, rig.meta() as meta:
            for _ in range(20):
                await meta.post(PATH, message(unique_id()))
            body = message(unique_id())
            await meta.post(PATH, body)
            await meta.post(PATH, body)
            await meta.post(PATH, body, signature="sha256=" + "0" * 64)
            assert await process.stop() == 0
    told = lines(rig)
    summaries = [line for line in told if line["event"] == "summary"]
    assert sum(line["accepted"] for line in summaries) == 21
    assert sum(line["duplicates"] for line in summaries) == 1
    assert sum(line["refused"].get("signature", 0) for line in summaries) == 1
    assert sum(line["bytes"] for line in summaries) == 22 * len(body)
    assert not {"notification_accepted", "duplicate"} & {line["event"] for line in told}
    surplus = {field for line in told for field in line.keys() - ALWAYS - {*EVENTS[line["event"]].fields}}
    assert surplus == set()


@contextmanager
def full_pipe(path: Path) -> Iterator[None]:
    """A reader that never reads."""
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield
    os.close(reading)


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    path.symlink_to("/dev/full")
    yield


@pytest.mark.parametrize("made", [full_pipe, full_disk])
async def test_a_log_that_nobody_takes_costs_no_notification_and_no_time(rig: Rig, made: Any) -> None:
    path = rig.directory / "stderr"
    rig.wrapper = ("sh", "-c", f'exec "$@" 2>{path}', "sh")
    with made(path):
        async with open_target() as target:
            rig.write(targets={"support": target.url})
            async with rig.running() as process, rig.meta() as meta:
                bodies = [message(unique_id()) for _ in range(100)]
                with trio.fail_after(15):
                    for body in bodies:
                        assert (await meta.post(PATH, body)).status == 200
                    await target.wait_received(len(bodies))
                assert (await rig.admin_get("/readyz")).status_code == 200
                os.kill(process.pid, signal.SIGTERM)
                with trio.fail_after(10):
                    assert await process.wait() == 0


async def test_a_reader_of_the_log_that_goes_away_is_not_missed(rig: Rig) -> None:
    path = rig.directory / "stderr"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    rig.wrapper = ("sh", "-c", f'exec "$@" 2>{path}', "sh")
    async with open_target() as target:
        rig.write(targets={"support": target.url})
        async with rig.running() as process, rig.meta() as meta:
            assert (await meta.post(PATH, message(unique_id()))).status == 200
            await target.wait_received(1)
            os.close(reading)
            for _ in range(20):
                assert (await meta.post(PATH, message(unique_id()))).status == 200
            await target.wait_received(21)
            os.kill(process.pid, signal.SIGTERM)
            with trio.fail_after(10):
                assert await process.wait() == 0
