"""`gateway check`: what it prints, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from gateway.cli.output import options
from gateway.simulator.pki import make_pki
from tests.cli.calling import Called, call

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


class Check(Protocol):
    def __call__(
        self, *arguments: str, before: tuple[str, ...] = ("--config", "gateway.yaml"), **environ: str
    ) -> Called: ...


@pytest.fixture
def check(site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """Calls the command in the directory of the configuration, with this environment and no other."""
    monkeypatch.chdir(site)
    monkeypatch.setattr(options, "config", options.config)
    for key in [key for key in os.environ if key.startswith("GATEWAY_")]:
        monkeypatch.delenv(key)

    def run(
        *arguments: str, before: tuple[str, ...] = ("--config", "gateway.yaml"), **environ: str
    ) -> Called:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            return call(capsys, *before, "check", *arguments)

    return run


def test_clean(site: Path) -> None:
    """As a process, as a shell starts it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    result = subprocess.run(
        [sys.executable, "-m", "gateway", "--config", "gateway.yaml", "check"],
        cwd=site,
        env=clean | {"APP_SECRET": "a", "TOKEN": "b"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "gateway.yaml: no problems (apps: 1, targets: 1, routes: 1)\n"


def test_problems_are_lines_on_stdout_and_exit_code_2(site: Path, check: Check) -> None:
    (site / "gateway.yaml").write_text(GOOD.replace("/a,", "a,").replace("[support]", "[suport]"))
    result = check(APP_SECRET="hunter2", TOKEN="hunter2")
    assert result.code == 2
    assert result.err == ""
    assert result.out.splitlines() == [
        "gateway.yaml:7:10: apps.main.path: 'a' does not begin with /; write '/a'",
        "gateway.yaml:10:16: routes[0].to[0]: there is no target 'suport'; did you mean support?",
    ]


def test_missing_secrets_and_missing_files_are_told_together(site: Path, check: Check) -> None:
    (site / "certs/server.pem").unlink()
    lines = check(TOKEN="b").out.splitlines()
    assert [line.split(" ")[1] for line in lines] == ["tls.certificate:", "apps.main.app_secrets[0].env:"]


def test_without_secrets_needs_neither_secrets_nor_keys(site: Path, check: Check) -> None:
    (site / "certs/server.key").unlink()
    assert check().code == 2
    result = check("--without-secrets")
    assert (result.code, result.err) == (0, "")


def test_json(check: Check) -> None:
    clean = check("--json", APP_SECRET="a", TOKEN="b")
    assert json.loads(clean.out) == {"ok": True, "problems": [], "remarks": []}
    broken = check("--json", APP_SECRET="a")
    assert broken.code == 2
    assert json.loads(broken.out) == {
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


def test_a_development_ca_is_refused_on_a_public_address(site: Path, check: Check) -> None:
    (site / "gateway.yaml").write_text(GOOD.replace("127.0.0.1:8443", "[::]:8443"))
    result = check(APP_SECRET="a", TOKEN="b")
    assert result.code == 2
    assert "development CA" in result.out


def test_the_file_comes_from_the_option_the_environment_or_the_default(site: Path, check: Check) -> None:
    (site / "other.yaml").write_text("a: b\n")
    (site / "config/gateway.yaml").write_text("c: d\n")
    assert "other.yaml:1:1: a: unknown key" in check(before=(), GATEWAY_CONFIG="other.yaml").out
    assert "config/gateway.yaml:1:1: c: unknown key" in check(before=()).out
    by_option = check(GATEWAY_CONFIG="other.yaml", APP_SECRET="a", TOKEN="b")
    assert by_option.code == 0


def test_a_missing_file_says_how_to_begin(check: Check) -> None:
    result = check(before=("--config", "none.yaml"))
    assert result.code == 2
    assert "none.yaml: cannot be read: No such file or directory" in result.out
    assert "gateway init" in result.out
    assert "Traceback" not in result.err
