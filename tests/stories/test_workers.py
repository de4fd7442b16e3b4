"""Several worker processes under one supervisor: as one gateway, and nothing is lost when one dies."""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import trio

from gateway.errors import PeerError
from gateway.simulator.target import Behaviour, Target
from tests.stories.rig import PATH, Config, Rig, message, message_id, open_target, unique_id, until

CONNECTIONS = 8
DOWN = Behaviour(status=500)


def two_workers(config: Config) -> None:
    config["listen"]["workers"] = 2
    config["listen"]["drain"] = {"timeout": "3s"}
    quick_probes(config)


def quick_probes(config: Config) -> None:
    """A target that is well again is to be noticed within the patience of a test."""
    for target in config["targets"].values():
        target["breaker"] = {"probe_every": "500ms"}


async def workers(rig: Rig) -> list[dict[str, Any]]:
    """Return what the supervisor says of its workers."""
    status = (await rig.admin_get("/api/status")).json()
    found: list[dict[str, Any]] = status["workers"]
    return found


async def all_serving(rig: Rig, number: int = 2) -> list[dict[str, Any]]:
    """Return the workers when so many serve."""
    with trio.fail_after(30):
        while True:
            found = [one for one in await workers(rig) if one["state"] == "serving"]
            if len(found) == number:
                return found
            await trio.sleep(0.05)


async def play_meta(
    rig: Rig, acknowledged: set[str], stop: trio.Event, *, pause_seconds: float = 0.0
) -> None:
    """Post until told to stop, over a new connection whenever one is gone; note what was answered 200."""
    while not stop.is_set():
        try:
            async with rig.meta() as meta:
                while not stop.is_set():
                    identity = unique_id()
                    if (await meta.post(PATH, message(identity))).status == 200:
                        acknowledged.add(identity)
                    await trio.sleep(pause_seconds)
        except PeerError:
            await trio.sleep(0.02)


async def reach_both(rig: Rig, *, anew: bool = False) -> set[str]:
    """Post until both workers have accepted something (`anew`: since now): who takes a connection is chance,
    and one that is idle takes them all. Return what was answered 200."""
    posted: set[str] = set()
    before = accepted_by_worker(rig) if anew else {}

    async def post() -> None:
        identity = unique_id()
        assert (await rig.post(message(identity))).status == 200
        posted.add(identity)

    with trio.fail_after(30):
        while sum(now > before.get(one, 0) for one, now in accepted_by_worker(rig).items()) < 2:
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(post)
    return posted


def arrived(target: Target) -> set[str]:
    return {message_id(received.body) for received in target.received if received.status == 200}


async def wait_arrived(target: Target, wanted: set[str]) -> None:
    await until(lambda: wanted <= arrived(target), seconds=30)


def accepted_by_worker(rig: Rig) -> dict[int, int]:
    """Return how many notifications each worker logged."""
    found: dict[int, int] = {}
    for line in events(rig, "notification_accepted"):
        found[line["worker"]] = found.get(line["worker"], 0) + 1
    return found


def events(rig: Rig, name: str) -> list[dict[str, Any]]:
    # Under load there are thousands of others, and some ask ten times a second.
    lines = (_parse(line) for line in rig.log.splitlines() if f'"{name}"' in line)
    return [line for line in lines if line.get("event") == name]


def _parse(line: str) -> dict[str, Any]:
    """Parse a line of the log. SIGKILL may cut a write where a page of the file ends, and then the next line
    follows at once."""
    for start in [at.start() for at in re.finditer(r'\{"', line)]:
        with suppress(ValueError):
            return dict(json.loads(line[start:]))
    return {}


async def test_two_workers_count_pause_send_again_and_discard_as_one_gateway(rig: Rig) -> None:
    """One pair of processes for all of it: a start takes longer than what it proves."""

    def keeping(config: Config) -> None:
        two_workers(config)
        config["spool"]["keep_delivered"] = "1h"

    async with open_target() as target, open_target("former", behaviour=DOWN) as former:
        rig.write(targets={"support": target.url, "former": former.url}, change=keeping)
        async with rig.running() as gateway:
            await all_serving(rig)
            wanted = await reach_both(rig)
            await wait_arrived(target, wanted)
            await metrics_are_sums(rig, len(wanted))
            await the_ledger_and_a_trace_know_all_workers(rig, wanted)
            wanted |= await a_pause_holds_in_a_worker_that_starts_anew(rig, target, len(wanted))
            await all_that_is_kept_is_sent_again(rig, target, wanted)

            rig.write(targets={"support": target.url}, change=keeping)
            os.kill(gateway.pid, signal.SIGHUP)
            await until(lambda: len(events(rig, "reloaded")) == 1)
            given_up = await rig.command("targets", "discard", "former", "--yes", "--json")
            assert json.loads(given_up.stdout) == {"former": {"discarded": len(wanted), "left": 0}}
            letters = {message_id(letter["body"].encode()) for letter in rig.dead_letters}
            assert letters == wanted
            assert await gateway.stop() == 0


async def metrics_are_sums(rig: Rig, number: int) -> None:
    assert await rig.metric('meta_gateway_requests_total{app="main",status="200"}') == number
    assert await rig.metric('meta_gateway_ack_seconds_count{app="main"}') == number
    assert await rig.metric('meta_gateway_workers{state="serving"}') == 2
    assert (await rig.admin_get("/readyz")).status_code == 200
    anchors = (await rig.admin_get("/api/edge")).json()["anchors"]
    assert len(anchors) == 1
    assert anchors[0]["last_seen_at"] is not None


async def the_ledger_and_a_trace_know_all_workers(rig: Rig, wanted: set[str]) -> None:
    ledger = (await rig.admin_get("/api/ledger")).json()
    [field], [line] = ledger["fields"], ledger["lines"]
    assert (field["received"], line["received"]) == (len(wanted), len(wanted))
    assert line["delivered"]["support"]["count"] == len(wanted)
    assert [one["target"] for one in ledger["conditions"]] == ["former"]
    workers = set()
    for wamid in wanted:
        found = json.loads((await rig.command("trace", wamid, "--json")).stdout)
        [one] = found["notifications"]
        workers.add(one["worker"])
        assert one["client_certificate"] == "accepted"
        assert {delivery["state"] for delivery in one["deliveries"]} <= {"delivered", "waiting", "under_way"}
        assert found["searched"]["bodies"] == len(wanted)
        if len(workers) == 2:
            break
    assert workers == {0, 1}


async def a_pause_holds_in_a_worker_that_starts_anew(rig: Rig, target: Target, known: int) -> set[str]:
    """Return what came in meanwhile, delivered by now."""
    await rig.command("targets", "pause", "support", "--reason", "deploy")
    # As if its file were new: a worker that is added has none.
    victim = (await all_serving(rig))[1]
    os.kill(victim["pid"], signal.SIGKILL)
    await until(lambda: len(events(rig, "worker_started")) == 3)
    await all_serving(rig)
    wanted = await reach_both(rig)
    shown = (await rig.admin_get("/api/status")).json()["targets"]["support"]
    assert (shown["state"], shown["pending"]) == ("paused", len(wanted))
    assert len(target.received) == known
    await rig.command("targets", "resume", "support")
    await wait_arrived(target, wanted)
    return wanted


async def all_that_is_kept_is_sent_again(rig: Rig, target: Target, wanted: set[str]) -> None:
    number = len(wanted)
    assert len(target.received) == number
    later = datetime.now(UTC).isoformat()
    again = ("replay", "--target", "support", "--include-delivered", "--json")
    none = await rig.command(*again, "--since", later)
    assert json.loads(none.stdout)["counts"] == {}, "older is not sent again, in no worker"
    done = await rig.command(*again, "--since", "1h")
    assert json.loads(done.stdout)["counts"] == {"replayed": number}
    await until(lambda: len(target.received) == 2 * number)
    assert arrived(target) == wanted


async def test_kill_9_of_a_worker_under_load_loses_nothing_and_the_worker_comes_back(rig: Rig) -> None:
    acknowledged: set[str] = set()
    stop = trio.Event()
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=two_workers)
        async with rig.running(), trio.open_nursery() as nursery:
            before = await all_serving(rig)
            for _ in range(CONNECTIONS):
                nursery.start_soon(play_meta, rig, acknowledged, stop)
            await until(lambda: len(acknowledged) > 20)
            for victim in before:
                counted = await rig.metric('meta_gateway_requests_total{app="main",status="200"}')
                os.kill(victim["pid"], signal.SIGKILL)
                await until(lambda: not is_alive(victim["pid"]))  # noqa: B023 (called here alone)
                assert (await rig.admin_get("/readyz")).status_code == 200, "the other one serves"
                await all_serving(rig)
                after = await rig.metric('meta_gateway_requests_total{app="main",status="200"}')
                assert after >= counted, "a sum that falls would read as a restart of all"
            stop.set()
        assert len(acknowledged) > 100
        async with rig.running():
            await wait_arrived(target, acknowledged)
    assert rig.dead_letters == []
    assert [one["number"] for one in events(rig, "worker_ended")] == [0, 1]


async def test_what_a_killed_supervisor_a_sigterm_or_a_lower_number_leaves_is_found_by_the_successor(
    rig: Rig,
) -> None:
    """Three processes one after the other; each has to deliver what the one before it left."""
    acknowledged: set[str] = set()
    async with open_target(behaviour=DOWN) as target:
        rig.write(targets={"support": target.url}, change=two_workers)
        async with rig.running() as gateway:
            pids = [one["pid"] for one in await all_serving(rig)]
            async with under_load(rig, acknowledged):
                await until(lambda: len(accepted_by_worker(rig)) == 2)
                os.kill(gateway.pid, signal.SIGKILL)
                await gateway.wait()
                await until(lambda: not any(map(is_alive, pids)), seconds=5)

        target.behaviour = Behaviour(delay_seconds=0.05)
        before = set(acknowledged)
        known = accepted_by_worker(rig)
        async with rig.running() as gateway:
            await wait_arrived(target, before)
            await all_serving(rig)
            async with under_load(rig, acknowledged):
                await until(lambda: all(accepted_by_worker(rig)[one] > known[one] for one in known))
                target.behaviour = DOWN
                await until(lambda: len(acknowledged) > len(before) + 20)
                assert await gateway.stop() == 0
        assert (rig.spool_directory / "1" / "spool.sqlite").exists()

        rig.write(targets={"support": target.url}, change=quick_probes)
        async with rig.running():
            await until(lambda: len(events(rig, "worker_started")) == 6)
            assert await rig.metric('meta_gateway_workers{state="draining"}') == 1
            left = await rig.metric('meta_gateway_spool_pending{target="support"}')
            assert left == len(acknowledged - arrived(target)), "an end by SIGTERM owes what was not taken"
            target.behaviour = Behaviour()
            await wait_arrived(target, acknowledged)
            await until(lambda: not (rig.spool_directory / "1").exists())
            assert await rig.metric('meta_gateway_workers{state="serving"}') == 1
            assert (await rig.post(message(unique_id()))).status == 200
        taken = Counter(message_id(one.body) for one in target.received if one.status == 200)
        assert {taken[one] for one in acknowledged - before} == {1}, "after a SIGTERM nothing comes twice"
        async with rig.running():
            assert "workers" not in (await rig.admin_get("/api/status")).json(), "one process, as ever"


@asynccontextmanager
async def under_load(rig: Rig, acknowledged: set[str], *, pause_seconds: float = 0.0) -> AsyncIterator[None]:
    """Post all the while."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(partial(play_meta, rig, acknowledged, stop, pause_seconds=pause_seconds))
        yield
        stop.set()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_reload_under_load_reaches_all_workers_or_none(rig: Rig) -> None:
    acknowledged: set[str] = set()
    stop = trio.Event()
    async with open_target() as target, open_target("other") as other:
        rig.write(targets={"support": target.url}, change=two_workers)
        async with rig.running() as gateway, trio.open_nursery() as nursery:
            await all_serving(rig)
            for _ in range(CONNECTIONS):
                nursery.start_soon(play_meta, rig, acknowledged, stop)
            await until(lambda: len(acknowledged) > 20)
            first = (await rig.admin_get("/api/config")).json()["hash"]

            rig.config.write_text(rig.config.read_text().replace('"field": "*"', '"filed": "*"'))
            os.kill(gateway.pid, signal.SIGHUP)
            refused = await reloaded(rig)
            assert refused["last_reload"]["success"] is False
            assert refused["hash"] == first
            assert await rig.metric("meta_gateway_config_last_reload_success") == 0
            # One that is started now serves what the others do, and not what waits in the file.
            os.kill((await all_serving(rig))[1]["pid"], signal.SIGKILL)
            await until(lambda: len(events(rig, "worker_started")) == 3)
            await all_serving(rig)

            rig.write(targets={"support": target.url, "other": other.url}, change=two_workers)
            os.kill(gateway.pid, signal.SIGHUP)
            taken_up = await reloaded(rig, after=refused)
            assert taken_up["last_reload"]["success"] is True
            assert taken_up["hash"] != first
            counts = accepted_by_worker(rig)
            await until(lambda: len(accepted_by_worker(rig)) == 2 and accepted_by_worker(rig) != counts)
            marked = set(acknowledged)
            await until(lambda: len(acknowledged) > len(marked) + 50)
            stop.set()
            await wait_arrived(target, acknowledged)
            fresh = {
                line["notification"]
                for line in events(rig, "notification_accepted")
                if line["deliveries"] == 2
            }
            await until(lambda: len(other.received) >= len(fresh) > 0)
            assert sum(one["restarts"] for one in await workers(rig)) == 1, "a reload starts nobody anew"


async def reloaded(rig: Rig, *, after: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what /api/config says when a reload has been tried (after that one)."""
    with trio.fail_after(20):
        while True:
            config: dict[str, Any] = (await rig.admin_get("/api/config")).json()
            if config["last_reload"] and (not after or config["last_reload"] != after["last_reload"]):
                return config
            await trio.sleep(0.05)


async def test_a_worker_that_cannot_start_leaves_the_other_to_serve_and_is_tried_again(rig: Rig) -> None:
    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=two_workers)
        damage(rig, 1)
        async with rig.running():
            await until(lambda: len(events(rig, "worker_ended")) >= 2)
            checks = (await rig.admin_get("/readyz")).json()
            assert checks["workers"] == {"ok": True, "detail": "1 of 2 serve"}
            wanted = unique_id()
            assert (await rig.post(message(wanted))).status == 200
            await wait_arrived(target, {wanted})
            assert "the spool file is damaged" in rig.log
            mend(rig, 1)
            await all_serving(rig)


async def test_a_first_worker_that_cannot_start_ends_the_gateway_with_the_reason(rig: Rig) -> None:
    rig.write(targets={"support": "http://127.0.0.1:1/"}, change=two_workers)
    damage(rig, 0)
    ended = await rig.command("run", check=False)
    assert ended.returncode == 1
    assert b"the spool file is damaged" in ended.stderr
    assert b"worker 0 ended before it served" in ended.stderr


def damage(rig: Rig, worker: int) -> None:
    directory = rig.spool_directory / str(worker)
    directory.mkdir(parents=True)
    (directory / "spool.sqlite").touch()


def mend(rig: Rig, worker: int) -> None:
    (rig.spool_directory / str(worker) / "spool.sqlite").unlink()


async def test_a_sigterm_before_the_first_worker_serves_ends_the_gateway_in_order(rig: Rig) -> None:
    rig.write(targets={"support": "http://127.0.0.1:9/"}, change=two_workers)
    async with rig.running(ready=None) as process:
        await until(lambda: "--worker" in commands_of_children(process.pid))
        os.kill(process.pid, signal.SIGTERM)
        assert await process.wait() == 0
    assert "worker_killed" not in rig.log


def commands_of_children(pid: int) -> str:
    """Return the command lines of a process's children, whichever thread has started them."""
    found = ""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            with suppress(OSError):
                found += Path(f"/proc/{child}/cmdline").read_text()
    return found
