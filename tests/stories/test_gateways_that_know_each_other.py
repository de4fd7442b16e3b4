"""Two gateways on one PostgreSQL: whichever is asked tells of both, and names the one that is gone."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import trio

from gateway.simulator.pki import PkiFiles
from tests.postgresql.rig import Database
from tests.stories.rig import PATH, Rig, message, open_target, unique_id, until
from tests.stories.test_replicas import Replicas, hurry_leases


async def printed(rig: Rig, *arguments: str) -> dict[str, Any]:
    """Return what a command prints as JSON."""
    found: dict[str, Any] = json.loads((await rig.command(*arguments, "--json", check=False)).stdout)
    return found


async def until_gateways(rig: Rig, *states: str) -> list[dict[str, Any]]:
    """Return the gateways when they are so, our own first."""
    with trio.fail_after(30):
        while True:
            found = (await rig.admin_get("/api/status")).json()["gateways"]
            if [one["state"] for one in found] == list(states):
                return list(found)
            await trio.sleep(0.1)


async def test_whichever_gateway_is_asked_tells_of_both_and_names_the_one_that_is_gone(
    tmp_path: Path, pki: PkiFiles, database: Database
) -> None:
    database.set_real_clock()
    async with open_target() as target:
        replicas = Replicas(tmp_path, pki, database.server.dsn())
        replicas.write(target)
        one, two = replicas.rigs
        async with one.running(), two.running() as second:
            [own, other] = await until_gateways(one, "answers", "answers")
            assert own["own"]
            assert other["gateway"].endswith(f":{second.pid}")
            async with two.meta() as meta:
                assert (await meta.post(PATH, message(unique_id()))).status == 200
            await target.wait_received(1)
            await until(lambda: database.sql("SELECT count(*) FROM delivery") == [(0,)])
            [found] = (await printed(one, "trace", target.received[0].notification_id))["notifications"]
            assert found["gateway"] == other["gateway"], "who has accepted it"
            assert found["client_certificate"] == "accepted"
            assert [row["state"] for row in found["deliveries"]] == ["delivered"]
            seen = await printed(one, "status")
            with trio.move_on_after(10):  # what another has said counts for a second
                while seen["targets"]["support"]["delivered"] != 1:
                    seen = await printed(one, "status")
            assert seen["targets"]["support"]["delivered"] == 1
            assert [row["state"] for row in seen["gateways"]] == ["answers", "answers"]
            os.kill(second.pid, signal.SIGKILL)
            await second.wait()
            hurry_leases(database, 60)  # by the database's clock a minute goes by
            [_, gone] = await until_gateways(one, "answers", "silent")
            assert gone["gateway"] == other["gateway"]
            assert gone["silent_seconds"] > 50
            # A command for the one that is gone says what the other one says.
            stopped = await printed(two, "targets", "list")
            assert stopped["targets"]["support"]["state"] == "delivering"
            assert [row["gateway"] for row in stopped["gateways"]] == [own["gateway"]]
