"""A worker's pauses are those of the others."""

from pathlib import Path

import pytest

from gateway.clock import unix_ms
from gateway.core.pausing import Pause
from gateway.errors import UsageError
from gateway.process.worker import _write_pauses, demand_place, going_on
from gateway.settings.model import Spool as SpoolSettings
from gateway.settings.secret import Secret
from gateway.spool.contract import Spool
from gateway.spool.opening import place_of_spool
from gateway.spool.sqlite import SqliteOptions, open_worker_spool, remove_worker_file, workers_with_files
from gateway.telemetry.metrics import Metrics

OPTIONS = SqliteOptions(duplicates_window_seconds=60, duplicates_max=1000, min_free_bytes=0)
HOUR_MS = 3_600_000


async def paused_now(spool: Spool) -> dict[str, tuple[int | None, str]]:
    found = going_on(await spool.pauses(), unix_ms())
    return {target: (pause.until_ms, pause.reason) for target, pause in found.items()}


async def test_a_file_learns_of_pauses_that_were_made_or_ended_while_it_was_away(tmp_path: Path) -> None:
    metrics, at_ms = Metrics(), unix_ms() - 1000
    async with open_worker_spool(tmp_path, 1, OPTIONS, metrics=metrics, now_ms=unix_ms) as spool:
        await spool.set_pauses("ended", (Pause(from_ms=at_ms, until_ms=None, reason="deploy"),))
        await spool.set_pauses("kept", (Pause(from_ms=at_ms, until_ms=None, reason="same"),))
        await spool.set_pauses("prolonged", (Pause(from_ms=at_ms, until_ms=at_ms + HOUR_MS, reason="old"),))
        later = at_ms + 2 * HOUR_MS
        await _write_pauses(
            spool,
            {
                "kept": Pause(from_ms=at_ms - 500, until_ms=None, reason="same"),
                "prolonged": Pause(from_ms=at_ms, until_ms=later, reason="new"),
                "new": Pause(from_ms=at_ms, until_ms=None, reason="down"),
            },
        )
        assert await paused_now(spool) == {
            "kept": (None, "same"),
            "prolonged": (later, "new"),
            "new": (None, "down"),
        }
        assert (await spool.pauses())["ended"][0].until_ms is not None, (
            "its clock has stood still for so long"
        )
        assert (await spool.pauses())["kept"][0].from_ms == at_ms


def left(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*")]


@pytest.mark.parametrize("stranger", [True, False])
async def test_a_file_in_which_nothing_waits_is_removed_and_nothing_else(
    tmp_path: Path, stranger: bool
) -> None:
    async with open_worker_spool(tmp_path, 3, OPTIONS, metrics=Metrics(), now_ms=unix_ms):
        assert workers_with_files(tmp_path) == (3,)
    if stranger:
        (tmp_path / "3" / "notes.txt").write_text("mine")
    remove_worker_file(tmp_path, 3)
    assert workers_with_files(tmp_path) == ()
    assert left(tmp_path) == (["3", "notes.txt"] if stranger else [])
    async with open_worker_spool(tmp_path, 3, OPTIONS, metrics=Metrics(), now_ms=unix_ms):
        assert workers_with_files(tmp_path) == (3,), "it may come back"


def on_postgresql(dsn: bytes) -> SpoolSettings:
    secret = Secret(dsn, source="file dsn")
    return SpoolSettings.model_construct(engine="postgresql", dsn=secret, directory=Path("/nowhere"))


def test_a_worker_that_is_started_anew_does_not_part_from_the_others() -> None:
    started_with = place_of_spool(on_postgresql(b"postgresql://gateway:old@db-1,db-2/gateway"))
    demand_place(on_postgresql(b"postgresql://gateway:new@db-1,db-2/gateway"), started_with)
    for other in (b"postgresql://gateway:new@db-3/gateway", b"postgresql://gateway:new@db-1,db-2/other"):
        with pytest.raises(UsageError, match="was started with gateway on db-1,db-2") as raised:
            demand_place(on_postgresql(other), started_with)
        assert "new" not in str(raised.value)
