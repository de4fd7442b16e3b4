"""`gateway spool migrate`, on files and on a real server."""

import json
from pathlib import Path

import pytest

from gateway.spool.database import SCHEMA_VERSION
from gateway.spool.postgresql.migrations import LATEST
from tests.cli.calling import call
from tests.postgresql.rig import Database
from tests.spool.test_migrations import write_schema_1


def config(directory: Path, spool: dict[str, object]) -> Path:
    """Write the least configuration; the certificates need not be there."""
    path = directory / "gateway.yaml"
    written = {
        "tls": {
            "certificate": "a.pem",
            "private_key": "a.key",
            "clients": {"meta": {"trust_anchors": ["b.pem"]}},
        },
        "apps": {"main": {"path": "/", "app_secrets": [{"env": "A"}], "verify_token": {"env": "B"}}},
        "targets": {"support": {"url": "http://localhost:1"}},
        "routes": [{"field": "*", "to": ["support"]}],
        "spool": spool,
    }
    path.write_text(json.dumps(written))
    return path


def test_an_empty_database_gets_its_schema_once(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database.sql("SET client_min_messages = warning; DROP SCHEMA gateway CASCADE")
    monkeypatch.setenv("DSN", database.dsn.reveal().decode())
    written = config(tmp_path, {"engine": "postgresql", "dsn": {"env": "DSN"}})
    done = call(capsys, "--config", str(written), "spool", "migrate", "--dry-run")
    assert (done.code, f"would go from schema none to {LATEST}" in done.out) == (0, True)
    assert database.sql("SELECT to_regnamespace('gateway') IS NULL") == [(True,)]
    for steps in (LATEST, 0):
        done = call(capsys, "--config", str(written), "spool", "migrate", "--json")
        [one] = json.loads(done.out)["databases"]
        assert len(one["steps"]) == steps
        assert one["place"] == f"postgres on 127.0.0.1:{database.server.port}"


def test_a_file_of_an_older_gateway_is_brought_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = config(tmp_path, {"directory": "spool"})
    assert "no spool yet" in call(capsys, "--config", str(written), "spool", "migrate").out
    file = write_schema_1(tmp_path / "spool")
    assert (
        call(capsys, "--config", str(written), "spool", "migrate").out
        == f"{file}: went from schema 1 to {SCHEMA_VERSION}\n"
    )
    assert "nothing to do" in call(capsys, "--config", str(written), "spool", "migrate").out


def test_what_keeps_it_from_the_database_is_told_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = config(tmp_path, {"engine": "postgresql", "dsn": {"env": "DSN"}})
    monkeypatch.delenv("DSN", raising=False)
    done = call(capsys, "--config", str(written), "spool", "migrate")
    assert (done.code != 0, "DSN is not set" in done.err) == (True, True)
    monkeypatch.setenv("DSN", "postgresql://gateway:s3cr3t@127.0.0.1:1/gateway")
    done = call(capsys, "--config", str(written), "spool", "migrate")
    assert done.code == 1
    said = done.err
    assert "127.0.0.1" in said
    assert "see that the server runs" in said
    assert "s3cr3t" not in said


def test_a_spool_is_carried_over_and_set_aside(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write_schema_1(tmp_path / "spool")
    monkeypatch.setenv("DSN", database.dsn.reveal().decode())
    written = config(tmp_path, {"engine": "postgresql", "dsn": {"env": "DSN"}})
    command = ("--config", str(written), "spool", "move", "--from", f"sqlite:{tmp_path / 'spool'}", "--to")
    assert call(capsys, *command, "sqlite").code == 2
    done = call(capsys, *command, "postgresql")
    assert done.code == 0
    assert f"{file}: 3 notifications with 3 deliveries have arrived" in done.out
    assert (file.exists(), file.with_name("spool.sqlite.moved").exists()) == (False, True)
    assert database.sql("SELECT count(*) FROM delivery") == [(3,)]
    assert json.loads(call(capsys, *command, "postgresql", "--json").out) == {"files": []}
