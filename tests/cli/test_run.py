"""`gateway run`: what it says before it serves."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli.output import options
from gateway.cli.run import banner
from gateway.settings.load import load_settings
from gateway.simulator.pki import make_pki

GOOD = """\
listen: {address: "127.0.0.1:0"}
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients: {meta: {trust_anchors: [certs/meta-ca.pem]}}
apps:
  main: {path: /a, app_secrets: [{env: APP_SECRET}], verify_token: {env: TOKEN}, client_certificate: report}
targets:
  support: {url: "http://127.0.0.1:9/"}
routes: [{to: [support]}]
admin: {address: "127.0.0.1:0"}
log: {format: json}
"""
RUN = [sys.executable, "-m", "gateway", "--config", "gateway.yaml", "run"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    make_pki(tmp_path / "certs")
    (tmp_path / "gateway.yaml").write_text(GOOD)
    return tmp_path


def test_all_problems_are_told_at_once(site: Path) -> None:
    (site / "certs/server.pem").unlink()
    ended = subprocess.run(
        RUN,
        cwd=site,
        env=os.environ | {"TOKEN": "a"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "tls.certificate: " in ended.stderr
    assert "apps.main.app_secrets[0].env: " in ended.stderr
    assert not (site / "var").exists()


def test_remarks_are_events_of_the_log(site: Path) -> None:
    environ = os.environ | {"TOKEN": "a", "APP_SECRET": "b"}
    with subprocess.Popen(
        RUN, cwd=site, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as gateway:
        events = []
        for line in gateway.stderr or ():
            if line.startswith("{"):
                events.append(json.loads(line))
                if events[-1]["event"] == "ready":
                    gateway.send_signal(signal.SIGTERM)
    assert gateway.returncode == 0
    first = events[0]
    assert (first["event"], first["level"]) == ("configuration_remark", "warning")
    assert first["place"] == "gateway.yaml:7:82"
    assert first["key"] == "apps.main.client_certificate"
    assert "anybody who has the app secret" in first["message"]
    assert "required" in first["remedy"]


def test_whoever_starts_it_in_a_terminal_is_told_what_it_is_and_how_it_ends(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = site / "gateway.yaml"
    settings = load_settings(config, environ={"TOKEN": "a", "APP_SECRET": "b"}).settings
    monkeypatch.setattr(options, "config", config)
    told = list(banner(settings))
    assert told[0] == f"gateway {__version__}: {config} (1 app, 1 target, 1 route)"
    assert told[1:] == [f"Ctrl-C stops it; kill -HUP {os.getpid()} reloads it", ""]


def test_the_admin_port_is_told_where_it_is_known(site: Path) -> None:
    config = site / "gateway.yaml"
    config.write_text(GOOD.replace('admin: {address: "127.0.0.1:0"}', 'admin: {address: "[::1]:9099"}'))
    settings = load_settings(config, environ={"TOKEN": "a", "APP_SECRET": "b"}).settings
    assert "admin port: http://[::1]:9099/" in list(banner(settings))


def test_a_pipe_gets_no_banner(site: Path) -> None:
    """Scripts read the callback URLs from the first lines."""
    environ = os.environ | {"TOKEN": "a", "APP_SECRET": "b"}
    with subprocess.Popen(
        RUN, cwd=site, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as gateway:
        assert gateway.stdout is not None
        assert gateway.stdout.readline().startswith("callback URL of app main: ")
        gateway.terminate()
