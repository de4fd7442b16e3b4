"""When there is something to supervise."""

import os
from pathlib import Path
from typing import Any

import pytest

from gateway.process.supervisor import needs_supervisor, orphans, worker_count
from gateway.settings.load import load_settings
from gateway.settings.model import Settings
from gateway.simulator.pki import PkiFiles, make_pki
from tests.stories.rig import Rig


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    return make_pki(tmp_path_factory.mktemp("pki") / "certs")


def settings(directory: Path, pki: PkiFiles, workers: int | str | None) -> Settings:
    def change(config: dict[str, Any]) -> None:
        if workers is not None:
            config["listen"]["workers"] = workers

    rig = Rig(directory=directory, pki=pki)
    rig.write(targets={"support": "http://127.0.0.1:1/"}, change=change)
    return load_settings(rig.config, environ=os.environ).settings


def leave_file(directory: Path, worker: str) -> None:
    folder = directory / "state" / "spool" / worker
    folder.mkdir(parents=True)
    (folder / "spool.sqlite").touch()


def test_one_worker_is_the_default_and_needs_nobody_above_it(tmp_path: Path, pki: PkiFiles) -> None:
    leave_file(tmp_path, "0")
    for workers in (None, 1):
        found = settings(tmp_path, pki, workers)
        assert worker_count(found) == 1
        assert not needs_supervisor(found)


def test_auto_is_one_for_each_core_that_is_ours(tmp_path: Path, pki: PkiFiles) -> None:
    assert worker_count(settings(tmp_path, pki, "auto")) == len(os.sched_getaffinity(0))
    assert needs_supervisor(settings(tmp_path, pki, 2))


def test_what_lies_in_files_of_workers_that_are_no_more_is_seen(tmp_path: Path, pki: PkiFiles) -> None:
    for name in ("0", "1", "3", "12", "lost+found", "01"):
        leave_file(tmp_path, name)
    (tmp_path / "state" / "spool" / "7").mkdir()  # no file in it
    assert orphans(settings(tmp_path, pki, 2)) == (3, 12)
    assert orphans(settings(tmp_path, pki, 1)) == (1, 3, 12)
    assert needs_supervisor(settings(tmp_path, pki, 1))
