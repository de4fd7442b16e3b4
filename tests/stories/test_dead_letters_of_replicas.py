"""Dead letters of several gateways on one PostgreSQL: seen by all, dealt with where they are, none twice."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.pki import PkiFiles
from gateway.simulator.target import Behaviour, Target
from tests.postgresql.rig import Database
from tests.stories.rig import Config, Rig, open_target, until

BODY = b'{"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [%s]}]}'
CHANGE = b'{"field": "account_update", "value": {"number": %d}}'


def two(
    directory: Path,
    pki: PkiFiles,
    dsn: str,
    target: Target,
    *,
    dead: Path | None = None,
    targets: tuple[str, str] = ("support", "support"),
) -> list[Rig]:
    """Configure two gateways, with a directory of dead letters each or one for both; `targets`: the one that
    each delivers to."""
    rigs = []

    def change(config: Config) -> None:
        config["spool"] |= {"engine": "postgresql", "dsn": {"env": "DSN"}}
        if dead is not None:
            config["dead_letter"]["directory"] = str(dead)

    for name, served in zip(("one", "two"), targets, strict=True):
        (directory / name).mkdir()
        rig = Rig(directory=directory / name, pki=pki, environ={"DSN": dsn}, seen=dead)
        rig.write(targets={served: target.url}, change=change)
        rigs.append(rig)
    return rigs


async def post(rig: Rig, number: int) -> None:
    assert (await rig.post(BODY % (CHANGE % number))).status == 200


async def until_dead(rig: Rig, number: int) -> None:
    await until(lambda: len(rig.dead_letters) == number)


async def said(rig: Rig, *arguments: str, check: bool = True) -> Any:
    done = await rig.command("dead-letters", *arguments, "--json", check=check)
    return json.loads(done.stdout)


async def test_each_gateway_sees_all_dead_letters_and_has_them_dealt_with_where_they_are(
    tmp_path: Path, pki: PkiFiles, database: Database
) -> None:
    database.set_real_clock()
    async with open_target(behaviour=Behaviour(status=422)) as target:
        served = ("support", "archive")
        one, other = two(tmp_path, pki, database.server.dsn(), target, targets=served)
        async with other.running() as second:
            async with one.running() as first:
                await post(one, 1)
                await until_dead(one, 1)
                await post(other, 2)
                await until_dead(other, 1)
                rows = await said(one, "list")
                assert {row["gateway"].rpartition(":")[2] for row in rows} == {
                    str(first.pid),
                    str(second.pid),
                }
                assert await said(other, "list") == rows
                [there] = [row["id"] for row in rows if row["gateway"].endswith(f":{second.pid}")]
                shown = await said(one, "show", there)
                assert shown["body"].encode() == BODY % (CHANGE % 2)
                target.behaviour = Behaviour()
                assert (await said(one, "replay", there))["results"][there]["result"] == "replayed"
                await until(lambda: BODY % (CHANGE % 2) in [one.body for one in target.received])
                assert other.dead_letters == []
                assert f'"{there}"' in (other.directory / "state" / "audit.log").read_text()
            [left] = await said(other, "list")
            missing = await other.command("dead-letters", "show", left["id"], check=False)
            assert missing.returncode == 1
            told = missing.stderr.decode()
            assert left["gateway"] in told
            assert str(one.dead_letter_directory) in told
            # Of the gateway that does not run, commands do it themselves, and ask the others.
            assert [row["id"] for row in await said(one, "list")] == [left["id"]]
            assert (await said(one, "discard", "--all", "--yes"))["counts"] == {"discarded": 1}
            assert await said(other, "list") == []
            assert one.dead_letters == []


@pytest.mark.parametrize("one_directory", [False, True], ids=["own", "shared"])
async def test_a_gateway_killed_between_file_and_settlement_leaves_no_second_letter(
    tmp_path: Path, pki: PkiFiles, database: Database, one_directory: bool
) -> None:
    database.set_real_clock()
    dead = tmp_path / "dead" if one_directory else None
    async with open_target(behaviour=Behaviour(status=422)) as target:
        one, other = two(tmp_path, pki, database.server.dsn(), target, dead=dead)
        undecided = one.dead_letter_directory / ".undecided"
        async with one.running() as first:
            database.refuse("53100", "letter")
            await post(one, 1)
            await until(lambda: undecided.is_dir() and len(list(undecided.iterdir())) == 1)
            os.kill(first.pid, signal.SIGKILL)
            await first.wait()
        assert one.dead_letters == []
        database.allow("letter")
        database.sql("UPDATE delivery SET held_until_ms = 1, due_ms = 1")
        async with other.running():
            await until_dead(other, 1)
        async with one.running():
            await until(lambda: list(undecided.iterdir()) == [])
            assert len(await said(one, "list")) == 1
        assert len({json.dumps(one) for one in one.dead_letters + other.dead_letters}) == 1
        assert len(one.dead_letters) == (1 if one_directory else 0)
