"""`gateway certs` prints what an operator compares, and writes a PKI that nothing overwrites."""

import json
from pathlib import Path

import pytest
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from gateway.cli.certs import commands
from gateway.errors import UsageError
from gateway.simulator.pki import issue, make_pki, subject_name

runner = CliRunner()


def test_show_names_every_certificate_of_a_file(tmp_path: Path) -> None:
    files = make_pki(tmp_path)
    result = runner.invoke(commands, ["show", str(files.client_certificate)])
    assert result.exit_code == 0
    assert result.stdout.count("SHA-256") == 2
    assert "CN=client.webhooks.fbclientcerts.com" in result.stdout
    assert "ECDSA P-256" in result.stdout
    assert "days left" in result.stdout
    assert "leaf, for clientAuth" in result.stdout
    assert "SANs     none\n" in result.stdout


def test_show_prints_json_for_scripts(tmp_path: Path) -> None:
    files = make_pki(tmp_path)
    result = runner.invoke(commands, ["show", "--json", str(files.meta_ca)])
    (one,) = json.loads(result.stdout)
    assert one["ca"] is True
    assert one["development"] is True
    assert one["days_left"] > 8000
    assert len(one["sha256"]) == 64


def test_show_prints_no_escape_sequence_of_a_certificate(tmp_path: Path) -> None:
    nasty = issue(subject_name((NameOID.COMMON_NAME, "\x1b[31mred\x07")), issuer=None)
    file = tmp_path / "nasty.pem"
    file.write_bytes(nasty.pem)
    result = runner.invoke(commands, ["show", str(file)])
    assert "\x1b" not in result.stdout
    assert r"\x1b[31mred\x07" in result.stdout


def test_show_of_something_else_is_a_mistake_of_usage(tmp_path: Path) -> None:
    files = make_pki(tmp_path)
    result = runner.invoke(commands, ["show", str(files.client_key)])
    assert isinstance(result.exception, UsageError)
    assert runner.invoke(commands, ["show", str(tmp_path / "nowhere.pem")]).exit_code == 2


def test_make_writes_a_pki_and_says_what_is_what(tmp_path: Path) -> None:
    result = runner.invoke(commands, ["make", str(tmp_path / "pki"), "--name", "hooks.internal"])
    assert result.exit_code == 0
    assert "tls.clients.meta.trust_anchors" in result.stdout
    shown = runner.invoke(commands, ["show", str(tmp_path / "pki" / "server.pem")])
    assert "hooks.internal" in shown.stdout


def test_make_prints_json_for_scripts(tmp_path: Path) -> None:
    result = runner.invoke(commands, ["make", str(tmp_path), "--json"])
    paths = json.loads(result.stdout)
    assert all(Path(path).is_file() for path in paths.values())


def test_make_overwrites_nothing(tmp_path: Path) -> None:
    runner.invoke(commands, ["make", str(tmp_path)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(UsageError):
        runner.invoke(commands, ["make", str(tmp_path)], catch_exceptions=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
