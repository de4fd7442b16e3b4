"""What a gateway with another engine has left is told."""

from pathlib import Path

import pytest

from gateway.errors import SpoolUnavailableError
from gateway.settings.model import Spool
from gateway.spool.succession import left_behind, succeed


def on(directory: Path, engine: str) -> Spool:
    return Spool.model_construct(directory=directory, engine=engine)


def leave_file(directory: Path, worker: str) -> None:
    (directory / worker).mkdir()
    (directory / worker / "spool.sqlite").touch()


def test_files_of_workers_that_nobody_delivers_from_are_told_until_they_are_moved(tmp_path: Path) -> None:
    assert left_behind(on(tmp_path, "postgresql")) is None
    leave_file(tmp_path, "0")
    leave_file(tmp_path, "1")
    for _ in range(2):
        left = succeed(on(tmp_path, "postgresql"))
        assert left is not None
        assert f"{tmp_path}/0, {tmp_path}/1" in left.message
        assert f"gateway spool move --from sqlite:{tmp_path} --to postgresql" in left.remedy
    for worker in "01":
        (tmp_path / worker / "spool.sqlite").rename(tmp_path / worker / "spool.sqlite.moved")
    assert succeed(on(tmp_path, "postgresql")) is None


def test_a_database_that_is_left_is_told_once(tmp_path: Path) -> None:
    assert succeed(on(tmp_path, "sqlite")) is None
    assert succeed(on(tmp_path, "postgresql")) is None
    told = left_behind(on(tmp_path, "sqlite"))
    assert told is not None
    assert "ran with spool.engine postgresql" in told.message
    assert succeed(on(tmp_path, "sqlite")) == told
    assert succeed(on(tmp_path, "sqlite")) is None


def test_a_directory_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailableError, match="cannot be written"):
        succeed(on(tmp_path / "none", "postgresql"))


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_what_cannot_be_looked_into_is_not_told(tmp_path: Path, engine: str) -> None:
    (tmp_path / "file").touch()
    for nowhere in (tmp_path / "file", tmp_path / ("long" * 100)):
        assert left_behind(on(nowhere, engine)) is None
