"""Whatever a target does: nothing is lost, nobody waits for it, and it gets everything once it is well."""

from contextlib import AsyncExitStack
from email.utils import formatdate
from functools import partial
from time import time

import trio

from tests.stories.accounts import Books
from tests.stories.faults import Faults, Names
from tests.stories.rig import Config, Rig, open_target, until
from tests.stories.trouble import RawTarget, Trouble, answer, go_on, hang, raw_target, reset, say

NOTIFICATIONS = 3
PATIENCE_SECONDS = 1
OK = b"HTTP/1.1 200 OK\r\n"
FAILED = b"HTTP/1.1 500 Failed\r\n"

TROUBLES: dict[str, Trouble] = {
    "hanging": hang,
    "slow": go_on(FAILED, b"X", pause_seconds=0.3),
    "resetting": reset,
    "closing": say(b""),
    "failing": answer(500, body=b"<h1>oh dear</h1>"),
    "busy": answer(429, "Retry-After: 2"),
    "away": answer(503, "Retry-After: " + formatdate(time() + 3600, usegmt=True)),
    "moved": answer(301, "Location: /elsewhere"),
    "babbling": say(b"\x16\x03\x01\x00\x00 what HTTP? \r\n\r\n\0\xff"),
    "cut-short": say(OK[:-2]),
    "shouting-heads": go_on(FAILED, b"X-More: and more\r\n"),
    "shouting": go_on(FAILED + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "informing": go_on(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
}


def patient(config: Config) -> None:
    """Short time-outs, retries that go on, and no breaker in the way."""
    for target in config["targets"].values():
        target |= {
            "timeout": f"{PATIENCE_SECONDS}s",
            "retry": {"schedule": ["100ms", "200ms", "2s"]},
            "breaker": {"failures": 1000, "probe_every": "200ms"},
        }


def is_tried(target: RawTarget, times: int) -> bool:
    """Whether each notification has been tried so often."""
    ids = [tried.id for tried in target.tried]
    return len(set(ids)) == NOTIFICATIONS and all(ids.count(one) >= times for one in ids)


def is_served(target: RawTarget) -> bool:
    """Whether as many have been taken as there are."""
    return len(target.taken) >= NOTIFICATIONS


async def test_whatever_a_target_does_to_an_attempt_it_gets_everything_once_it_is_well(rig: Rig) -> None:
    books = Books()
    async with AsyncExitStack() as stack:
        well = await stack.enter_async_context(open_target("well"))
        ill = {
            name: await stack.enter_async_context(raw_target(trouble)) for name, trouble in TROUBLES.items()
        }
        urls = {"well": well.url, **{name: target.url for name, target in ill.items()}}
        rig.write(targets=urls, change=patient)
        async with rig.running():
            await books.post(rig, NOTIFICATIONS)
            await books.balance(rig, well, seconds=10)
            for name, target in ill.items():
                with trio.move_on_after(20):
                    await until(partial(is_tried, target, 2))
                assert is_tried(target, 2), (name, target.tried)
                assert target.taken == []
            for target in ill.values():
                target.trouble = None
            for name, target in ill.items():
                with trio.move_on_after(20):
                    await until(partial(is_served, target))
                assert sorted(target.taken) == sorted(books.acknowledged), name
            assert (await rig.admin_get("/readyz")).status_code == 200
    assert len(books.acknowledged) == NOTIFICATIONS
    assert rig.dead_letters == []
    for name in ("busy", "away"):  # neither said one second: 2 s, and the longest step of the schedule
        for one in books.acknowledged:
            first, second = (
                tried.at_seconds for tried in ill[name].tried if tried.id == one and tried.number < 3
            )
            assert 1.5 <= second - first < 5, name
    assert {received.path for received in well.received} == {"/well"}
    assert "Traceback" not in rig.log


async def test_an_endless_answer_is_judged_by_its_status_and_not_awaited(rig: Rig) -> None:
    endless = go_on(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n")
    async with raw_target(endless) as target:
        rig.write(targets={"support": target.url}, change=patient)
        async with rig.running():
            books = Books()
            await books.post(rig, NOTIFICATIONS)
            await until(lambda: len(target.tried) == NOTIFICATIONS)
            with trio.fail_after(10):
                while await rig.metric('meta_gateway_spool_pending{target="support"}'):  # noqa: ASYNC110
                    await trio.sleep(0.05)
    assert sorted(tried.id for tried in target.tried) == sorted(books.acknowledged)


async def test_a_name_that_is_not_found_or_hangs_holds_up_nobody_and_all_arrives_when_it_is_back(
    rig: Rig, faults: Faults
) -> None:
    books = Books()
    async with open_target("well") as well, open_target() as target:
        named = target.url.replace("127.0.0.1", "support.test")
        rig.write(targets={"well": well.url, "support": named}, change=patient)
        faults.names(Names.FAIL)
        async with rig.running():
            await books.post(rig, NOTIFICATIONS)
            await books.balance(rig, well, seconds=10)
            await until(lambda: "host name not resolved" in rig.log)
            faults.names(Names.HANG)
            await books.post(rig, NOTIFICATIONS)
            await books.balance(rig, well, seconds=10)
            await until(lambda: "no answer within" in rig.log)
            assert target.received == []
            faults.names(Names.KNOWN)
            await books.balance(rig, well, target)
    assert len(books.acknowledged) == 2 * NOTIFICATIONS
    assert rig.dead_letters == []
