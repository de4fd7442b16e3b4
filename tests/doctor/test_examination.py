"""What is looked at, drawn from a configuration; a part that hangs costs its deadline and no more."""

import socket
import threading
from pathlib import Path

import pytest
import trio

from gateway.doctor import examination
from gateway.doctor.examination import examine, make_plan
from gateway.doctor.observed import Answer
from gateway.settings.load import Loaded, load_settings
from gateway.simulator.pki import make_pki


def load(directory: Path, listen: str) -> Loaded:
    make_pki(directory / "certs")
    (directory / "g.yaml").write_text(
        f"""\
listen: {{{listen}}}
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients:
    meta: {{trust_anchors: [certs/meta-ca.pem]}}
    own: {{trust_anchors: [certs/meta-ca.pem], names: [a.example]}}
apps:
  main: {{path: /a, app_secrets: [{{env: A}}], verify_token: {{env: B}}, client_certificate: report}}
  two: {{path: /b, app_secrets: [{{env: A}}], verify_token: {{env: B}}, clients: [meta, own]}}
targets:
  support: {{url: "http://127.0.0.1:1/", on_give_up: drop}}
routes: [{{to: [support]}}]
"""
    )
    return load_settings(directory / "g.yaml", environ={}, with_secrets=False)


def test_the_plan_has_what_the_judges_ask_for(tmp_path: Path) -> None:
    plan = make_plan(load(tmp_path, 'address: "[::]:8443", public_url: "https://Hooks.example.com"'), ())
    assert plan.public_host == "hooks.example.com"
    assert not plan.loopback_only
    assert plan.meta_clients == {"meta"}
    assert plan.apps == {"main": "report", "two": "required"}
    assert plan.shadows == {"support"}
    assert plan.admin == "127.0.0.1:9090"


async def test_a_wildcard_is_looked_at_over_loopback_and_public_url_over_its_addresses(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    loaded = load(tmp_path, f'address: "0.0.0.0:{port}", public_url: "https://localhost:{port}"')
    report = await examine(loaded, (), ask=None, offline=False)
    told = [finding.what for finding in report.findings if finding.code == "outside_silent"]
    # The own port of a gateway that does not run is not worth a line, its public address is.
    assert any(f"public address 127.0.0.1:{port}: Connection refused" in what for what in told)
    assert not any("own port" in what for what in told)


async def test_behind_a_load_balancer_the_own_port_is_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:
        number = port.getsockname()[1]
        proxied = "proxy_protocol: v2, proxy_from: [10.0.8.0/24]"
        loaded = load(tmp_path, f'address: "127.0.0.1:{number}", {proxied}')
        report = await examine(loaded, (), ask=None, offline=False)
        port.setblocking(False)
        with pytest.raises(BlockingIOError):
            port.accept()
    assert "own_port_proxied" in {finding.code for finding in report.findings}


async def test_an_admin_port_that_hangs_costs_its_deadline_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "ADMIN_SECONDS", 0.1)
    released = threading.Event()

    def hang(_: str) -> Answer:
        released.wait(10)
        return Answer(status=200)

    with trio.fail_after(5):
        report = await examine(load(tmp_path, 'address: "127.0.0.1:0"'), (), ask=hang, offline=True)
    released.set()
    assert "admin_port_hangs" in {finding.code for finding in report.findings}
