"""`gateway doctor` where no gateway runs, as a user calls it."""

import json
import socket
from pathlib import Path

import pytest

from gateway.simulator.pki import make_pki
from tests.cli.calling import call


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_pki(tmp_path / "certs")
    (tmp_path / "gateway.yaml").write_text(
        f"""\
listen: {{address: "127.0.0.1:{free_port()}"}}
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients: {{meta: {{trust_anchors: [certs/meta-ca.pem]}}}}
apps:
  main: {{path: /a, app_secrets: [{{env: APP_SECRET}}], verify_token: {{env: TOKEN}}}}
targets:
  support: {{url: "http://127.0.0.1:{free_port()}/"}}
routes: [{{to: [support]}}]
admin: {{address: "127.0.0.1:{free_port()}"}}
"""
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_that_none_runs_and_does_the_rest(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, "--config", "gateway.yaml", "doctor")
    codes = [line.split(" ", 2)[:2] for line in result.out.splitlines()]
    assert ["warning", "gateway_not_running:"] in codes
    assert ["ok", "server_certificate:"] in codes
    assert ["ok", "anchor:"] in codes
    assert ["ok", "fsync:"] in codes
    assert ["problem", "target_unreachable:"] in codes
    assert (result.code, result.err) == (1, "")
    # Nothing is left behind, the spool's directory included: it is not the doctor that makes it.
    assert sorted(path.name for path in site.iterdir()) == ["certs", "gateway.yaml"]


def test_offline_it_connects_to_nothing_and_only_warns(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "--config", "gateway.yaml", "doctor", "--offline", "--json")
    told = json.loads(result.out)
    codes = {one["code"] for one in told["findings"]}
    assert "offline" in codes
    assert not codes & {"target", "target_unreachable", "outside", "outside_silent", "name"}
    assert (result.code, told["ok"], told["running"]) == (0, True, False)


def test_a_configuration_that_cannot_be_read_is_exit_code_2(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "gateway.yaml").write_text("tls: 3\n")
    result = call(capsys, "--config", "gateway.yaml", "doctor")
    assert (result.code, result.out) == (2, "")
    assert "gateway.yaml:1:1: tls: must be a mapping" in result.err


def test_a_file_that_is_missing_is_one_finding_among_the_others(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "certs" / "server.pem").unlink()
    result = call(capsys, "--config", "gateway.yaml", "doctor", "--offline")
    assert result.code == 1
    assert "problem check: tls.certificate: " in result.out
    assert "ok anchor:" in result.out


def test_an_admin_port_without_a_number_cannot_be_asked_and_that_is_said(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (site / "gateway.yaml").read_text()
    (site / "gateway.yaml").write_text(text[: text.index("admin:")] + 'admin: {address: "127.0.0.1:0"}\n')
    result = call(capsys, "--config", "gateway.yaml", "doctor", "--offline")
    assert "admin.address has port 0" in result.err
    assert "gateway_not_running" in result.out
