"""`gateway check`: what it prints, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.simulator.pki import make_pki

GOOD = """\
listen: {address: "127.0.0.1:8443"}
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients: {meta: {trust_anchors: [certs/meta-ca.pem]}}
apps:
  main: {path: /a, app_secrets: [{env: APP_SECRET}], verify_token: {env: TOKEN}}
targets:
  support: {url: "http://127.0.0.1:8080/"}
routes: [{to: [support]}]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    make_pki(tmp_path / "certs")
    (tmp_path / "config").mkdir()
    (tmp_path / "gateway.yaml").write_text(GOOD)
    return tmp_path


def check(
    site: Path, *arguments: str, before: tuple[str, ...] = ("--config", "gateway.yaml"), **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the real command."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    command = [sys.executable, "-m", "gateway", *before, "check", *arguments]
    return subprocess.run(command, cwd=site, env=clean | environ, capture_output=True, text=True, check=False)


def test_clean(site: Path) -> None:
    result = check(site, APP_SECRET="a", TOKEN="b")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "gateway.yaml: no problems (apps: 1, targets: 1, routes: 1)\n"


def test_problems_are_lines_on_stdout_and_exit_code_2(site: Path) -> None:
    (site / "gateway.yaml").write_text(GOOD.replace("/a,", "a,").replace("[support]", "[suport]"))
    result = check(site, APP_SECRET="hunter2", TOKEN="hunter2")
    assert result.returncode == 2
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "gateway.yaml:7:10: apps.main.path: 'a' does not begin with /; write '/a'",
        "gateway.yaml:10:16: routes[0].to[0]: there is no target 'suport'; did you mean support?",
    ]


def test_missing_secrets_and_missing_files_are_told_together(site: Path) -> None:
    (site / "certs/server.pem").unlink()
    lines = check(site, TOKEN="b").stdout.splitlines()
    assert [line.split(" ")[1] for line in lines] == ["tls.certificate:", "apps.main.app_secrets[0].env:"]


def test_without_secrets_needs_neither_secrets_nor_keys(site: Path) -> None:
    (site / "certs/server.key").unlink()
    assert check(site).returncode == 2
    result = check(site, "--without-secrets")
    assert (result.returncode, result.stderr) == (0, "")


def test_json(site: Path) -> None:
    clean = check(site, "--json", APP_SECRET="a", TOKEN="b")
    assert json.loads(clean.stdout) == {"ok": True, "problems": [], "remarks": []}
    broken = check(site, "--json", APP_SECRET="a")
    assert broken.returncode == 2
    assert json.loads(broken.stdout) == {
        "ok": False,
        "problems": [
            {
                "file": "gateway.yaml",
                "line": 7,
                "column": 69,
                "key_path": "apps.main.verify_token.env",
                "message": "the environment variable TOKEN is not set",
                "remedy": "set TOKEN, or use {file: PATH}",
            }
        ],
        "remarks": [],
    }


def test_a_development_ca_is_refused_on_a_public_address(site: Path) -> None:
    (site / "gateway.yaml").write_text(GOOD.replace("127.0.0.1:8443", "[::]:8443"))
    result = check(site, APP_SECRET="a", TOKEN="b")
    assert result.returncode == 2
    assert "development CA" in result.stdout


def test_the_file_comes_from_the_option_the_environment_or_the_default(site: Path) -> None:
    (site / "other.yaml").write_text("a: b\n")
    (site / "config/gateway.yaml").write_text("c: d\n")
    assert "other.yaml:1:1: a: unknown key" in check(site, before=(), GATEWAY_CONFIG="other.yaml").stdout
    assert "config/gateway.yaml:1:1: c: unknown key" in check(site, before=()).stdout
    by_option = check(site, GATEWAY_CONFIG="other.yaml", APP_SECRET="a", TOKEN="b")
    assert by_option.returncode == 0


def test_a_missing_file_says_how_to_begin(site: Path) -> None:
    result = check(site, before=("--config", "none.yaml"))
    assert result.returncode == 2
    assert "none.yaml: cannot be read: No such file or directory" in result.stdout
    assert "gateway init" in result.stdout
    assert "Traceback" not in result.stderr
