"""Several worker processes on one PostgreSQL: what waits is counted once, known to all, lost by nobody."""

import os
import signal
from collections import Counter
from typing import Any

import httpx
import trio

from gateway.simulator.target import Behaviour, Target
from tests.postgresql.rig import Database
from tests.stories.rig import Config, Rig, message, message_id, open_target, unique_id, until
from tests.stories.test_replicas import hurry_leases
from tests.stories.test_workers import (
    accepted_by_worker,
    all_serving,
    arrived,
    events,
    reach_both,
    two_workers,
    under_load,
    wait_arrived,
)

DOWN = Behaviour(status=500)
LIMIT = 1000
REQUESTS = 'meta_gateway_requests_total{app="main",status="200"}'


def on_one_spool(config: Config) -> None:
    two_workers(config)
    config["spool"] |= {"engine": "postgresql", "dsn": {"env": "DSN"}, "keep_delivered": "1h"}


async def test_two_workers_on_one_spool_lose_nothing_count_once_and_know_what_the_other_has_accepted(
    rig: Rig, database: Database
) -> None:
    """One pair of processes for all of it: a start takes longer than what it proves."""
    database.set_real_clock()
    rig.environ = {"DSN": database.server.dsn()}
    acknowledged: set[str] = set()
    async with open_target() as target, open_target("former", behaviour=DOWN) as former:
        rig.write(targets={"support": target.url, "former": former.url}, change=on_one_spool)
        async with rig.running() as gateway:
            await all_serving(rig)
            await one_dies_under_load(rig, target, database, acknowledged)
            acknowledged.add(await what_one_has_accepted_the_other_knows(rig, database))
            await wait_arrived(target, acknowledged)
            acknowledged |= await a_pause_holds_for_all_and_what_waits_is_counted_once(rig, target)
            stored = arrived(target)  # with what the dead one could not say 200 to
            assert acknowledged <= stored
            assert await sent_again(rig) == {"would_replay": len(stored)}, "gone through once"

            rig.write(targets={"support": target.url}, change=on_one_spool)
            os.kill(gateway.pid, signal.SIGHUP)
            await until(lambda: len(events(rig, "reloaded")) == 1)
            await shows(rig, "former", "unknown", len(stored))
            discarded, left = 0, 1
            while left:
                done = await act(rig, "/api/targets/discard", {"target": "former", "limit": LIMIT})
                discarded, left = discarded + done["discarded"], done["left"]
            assert discarded == len(stored)
            assert len(rig.dead_letters) == len(stored)
            assert await gateway.stop() == 0
    assert not [path for path in rig.spool_directory.iterdir() if path.is_dir()], "no worker has a file"
    assert {one["number"] for one in events(rig, "worker_ended")} == {1}


async def one_dies_under_load(rig: Rig, target: Target, database: Database, acknowledged: set[str]) -> None:
    async with under_load(rig, acknowledged, pause_seconds=0.03):
        await until(lambda: len(accepted_by_worker(rig)) == 2)
        victim = (await all_serving(rig))[1]
        counted = await rig.metric(REQUESTS)
        os.kill(victim["pid"], signal.SIGKILL)
        before = len(acknowledged)
        await until(lambda: len(acknowledged) > before + 30)  # by the other
    assert await rig.metric(REQUESTS) >= counted, "a sum that falls would read as a restart of all"
    await until(lambda: len(events(rig, "worker_started")) == 3)
    hurry_leases(database, 60)  # of the dead one; the clock stays like that
    await wait_arrived(target, acknowledged)
    await shows(rig, "support", "delivering", 0)


async def what_one_has_accepted_the_other_knows(rig: Rig, database: Database) -> str:
    """Return what was posted, again and again, over new connections."""
    identity = unique_id()
    before = len(events(rig, "notification_accepted"))

    async def post() -> None:
        assert (await rig.post(message(identity))).status == 200

    with trio.fail_after(30):
        while {line["worker"] for line in events(rig, "duplicate")} != {0, 1}:
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(post)
    [accepted] = events(rig, "notification_accepted")[before:]
    found = await act(rig, f"/api/trace?id={identity}")
    [one] = found["notifications"]
    assert (one["notification"], one["worker"]) == (accepted["notification"], accepted["worker"])
    [(bodies,)] = database.sql("SELECT count(*) FROM body")
    assert found["searched"]["bodies"] == bodies, "one looks for all"
    return identity


async def a_pause_holds_for_all_and_what_waits_is_counted_once(rig: Rig, target: Target) -> set[str]:
    """Return what came in meanwhile, delivered by now."""
    await act(rig, "/api/targets/pause", {"target": "support", "seconds": None, "reason": "deploy"})
    known = len(target.received)
    wanted = await reach_both(rig, anew=True)
    await shows(rig, "support", "paused", len(wanted))
    assert len(target.received) == known
    done = await act(rig, "/api/targets/resume", {"target": "support", "rate_per_second": 1000})
    assert (done["state"], done["rate_per_second"]) == ("delivering", 1000)
    await wait_arrived(target, wanted)
    await shows(rig, "support", "delivering", 0)
    return wanted


async def shows(rig: Rig, target: str, state: str, pending: int) -> None:
    """Return when status and metrics say so: each worker sees what the other did within a second."""
    series = f'meta_gateway_spool_pending{{target="{target}"}}'
    seen: tuple[object, ...] = ()
    with trio.move_on_after(10):
        while seen != (state, pending, pending, bool(pending)):
            status = (await rig.admin_get("/api/status")).json()["targets"].get(target, {})
            seen = (
                status.get("state"),
                status.get("pending"),
                await rig.metric(series),
                status.get("oldest_seconds", 0) > 0,
            )
        return
    raise AssertionError(f"{target} is shown as {seen}, not as {state} with {pending}")


async def sent_again(rig: Rig) -> Counter[str]:
    """Rehearse to send again all that is kept."""
    counts: Counter[str] = Counter()
    asked = {"target": "support", "since_ms": 0, "until_ms": 2**52, "include_delivered": True}
    after = None
    while True:
        done = await act(rig, "/api/replay", {**asked, "dry_run": True, "limit": LIMIT, "after": after})
        counts.update(done["counts"])
        if (after := done["after"]) is None:
            return counts


async def act(rig: Rig, path: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    """Do what a command would ask the admin port for."""
    token = (rig.spool_directory.parent / "admin.token").read_text().strip()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.request(
            "GET" if content is None else "POST",
            rig.admin_url + path,
            headers={"authorization": f"Bearer {token}"},
            json=content,
        )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_workers_that_bury_in_one_directory_leave_no_letter_lost_or_twice_when_they_die(
    rig: Rig, database: Database
) -> None:
    database.set_real_clock()
    rig.environ = {"DSN": database.server.dsn()}
    undecided = rig.dead_letter_directory / ".undecided"
    acknowledged: set[str] = set()

    def taken_by_nobody(config: Config) -> None:
        on_one_spool(config)
        config["routes"][0]["field"] = "flows"

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=taken_by_nobody)
        async with rig.running() as gateway:
            await all_serving(rig)
            async with under_load(rig, acknowledged, pause_seconds=0.3):
                await until(lambda: len(accepted_by_worker(rig)) == 2)
                await until(lambda: len(rig.dead_letters) > 20)
                os.kill((await all_serving(rig))[1]["pid"], signal.SIGKILL)
                await until(lambda: len(events(rig, "worker_started")) == 3)
            hurry_leases(database, 60)
            await until(lambda: database.sql("SELECT count(*) FROM delivery") == [(0,)])
            # What the dead one had begun was its own to settle until then; now who tidies up knows.
            os.kill((await all_serving(rig))[0]["pid"], signal.SIGKILL)
            await until(lambda: list(undecided.iterdir()) == [])
            assert await gateway.stop() == 0
    buried = Counter(message_id(letter["body"].encode()) for letter in rig.dead_letters)
    assert acknowledged <= buried.keys()
    assert set(buried.values()) == {1}
    listed = {row[0] for row in database.sql("SELECT id FROM letter")}
    assert listed == {letter["id"] for letter in rig.dead_letters}
