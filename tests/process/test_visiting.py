"""A command whose own gateway does not run hears from the others, and nobody sees it."""

from pathlib import Path
from typing import Any

import pytest

from gateway.core.ids import new_notification_id
from gateway.process.visiting import ask_status, trace_with_others
from gateway.settings.model import Spool as SpoolSettings
from gateway.telemetry.whereabouts import Came
from gateway.tracing import Letters, Part, read_asked
from tests.delivery.rig import EPOCH_MS
from tests.postgresql.rig import Database
from tests.process.test_observing import NOW_MS
from tests.process.test_replicas import OPEN, quick, sites, target
from tests.telemetry.test_whereabouts import routed

__all__ = ["quick"]


@pytest.fixture
def spool(database: Database, tmp_path: Path) -> SpoolSettings:
    return SpoolSettings.model_construct(
        engine="postgresql", dsn=database.dsn, directory=tmp_path / "stopped"
    )


async def test_the_others_say_how_the_targets_are(
    database: Database, tmp_path: Path, spool: SpoolSettings
) -> None:
    async with sites(database, tmp_path, 2) as (one, two):
        two.targets = {"support": target(state="open", breaker=OPEN)}
        found = await ask_status(spool, now_ms=lambda: NOW_MS, follow=True)
        assert (found["targets"]["support"]["state"], found["targets"]["support"]["delivered"]) == ("open", 6)
        assert {each["gateway"]: each["state"] for each in found["targets"]["support"]["gateways"]} == {
            one.name: "delivering",
            two.name: "open",
        }
        assert [(each["own"], each["state"]) for each in found["gateways"]] == [(False, "answers")] * 2
        assert (one.followed, two.followed) == (1, 1)
        assert len(one.exchange.replicas()) == 2, "nobody sees the visitor"


async def test_where_nobody_runs_nobody_is_waited_for(database: Database, spool: SpoolSettings) -> None:
    del database
    assert await ask_status(spool, now_ms=lambda: NOW_MS) == {"targets": {}, "gateways": []}


async def test_of_a_spool_that_nobody_shares_nothing_is_asked(tmp_path: Path) -> None:
    alone = SpoolSettings.model_construct(engine="sqlite", dsn=None, directory=tmp_path)
    assert await ask_status(alone, now_ms=lambda: NOW_MS) == {"targets": {}, "gateways": []}


async def test_what_the_others_remember_completes_what_lies_in_the_spool(
    database: Database, tmp_path: Path, spool: SpoolSettings
) -> None:
    id_ = new_notification_id(EPOCH_MS, bytes(10))
    async with sites(database, tmp_path, 1) as (one,):
        one.memory.came(id_, Came(EPOCH_MS, "main", "accepted", "c-1", routed("support"), ()))
        asked, nothing = read_asked(id_), Letters(found=[])
        found: Any = await trace_with_others(
            spool, asked, [Part(notifications=[])], nothing, now_ms=lambda: NOW_MS
        )
    [traced] = found["notifications"]
    assert (traced["gateway"], traced["connection"]) == (one.name, "c-1")
    assert [each["state"] for each in found["gateways"]] == ["answers"]
