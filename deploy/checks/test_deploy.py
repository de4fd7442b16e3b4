"""What runs the gateway elsewhere, judged by the programs that will read it.

And a real HAProxy before a real gateway.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from ruamel.yaml import YAML

from deploy.checks.programs import ROOT, program, run
from gateway.simulator.client import MetaClient
from gateway.simulator.pki import make_pki
from tests.stories.public_pki import public_pki
from tests.stories.rig import APP_SECRET, PATH, Config, Rig, free_port, message, open_target, unique_id, until

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/meta-webhook-gateway.service"
TOOLS = DEPLOY / "checks/.venv"
"""What is had from PyPI for these checks alone."""
MOST_EXPOSURE: Final = 2.0
"""By systemd's own measure, of 10; it has to reach the network, and port 443."""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(directory=tmp_path, pki=make_pki(tmp_path / "pki"))


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


# -- systemd


def installed(directory: Path) -> list[Path]:
    """Write the units as they are, but for the path of the program, which is not installed here."""
    written = []
    for unit in DEPLOY.glob("systemd/*.s*"):
        path = directory / unit.name
        path.write_text(
            unit.read_text().replace("/opt/meta-webhook-gateway/.venv/bin/gateway", sys.executable)
        )
        written.append(path)
    assert len(written) == 2
    return written


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    assert run("systemd-analyze", "verify", *installed(tmp_path)) == ""


def test_the_service_is_as_closed_as_it_can_be() -> None:
    told = run("systemd-analyze", "security", "--offline=true", UNIT)
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert float(exposure) <= MOST_EXPOSURE


def allowed_calls() -> set[str]:
    """Return the system calls that the unit lets through, groups spelt out by systemd."""
    lines = re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE)
    calls: set[str] = set()
    for line in lines:
        named = {call for group in line.removeprefix("~").split() for call in spelt_out(group)}
        calls = calls - named if line.startswith("~") else calls | named
    # Allowed whatever a list of allowed ones says (systemd.exec(5)).
    return calls | spelt_out("@default")


def spelt_out(group: str) -> set[str]:
    if not group.startswith("@"):
        return {group}
    lines = run("systemd-analyze", "syscall-filter", group).splitlines()
    names = [line.strip() for line in lines[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for name in names for call in spelt_out(name)}


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_gateway_makes_no_system_call_that_the_unit_forbids(rig: Rig, workers: int) -> None:
    calls = rig.directory / "calls"
    # Each begins with this one: that it is seen shows that the others would be.
    seen = "execve"
    others = ",".join(f"?{call}" for call in sorted(allowed_calls() - {seen}))
    rig.wrapper = (
        *(program("strace"), "--follow-forks", "--seccomp-bpf", "-qqq"),
        *("--output", str(calls), "--trace", f"!{others}"),
    )

    def change(config: Config) -> None:
        config["listen"]["workers"] = workers

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=change)
        async with rig.running():
            await rig.post(message(unique_id()))
            await rig.post(message(unique_id()))
            await until(lambda: len(target.received) == 2)
    made = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)[( ]", calls.read_text(errors="replace"), re.MULTILINE))
    if os.geteuid() == 0:
        made -= {"fchown"}  # SQLite, as root alone
    assert made == {seen}


async def test_systemds_own_activator_starts_it_and_the_connection_that_did_is_answered(rig: Rig) -> None:
    rig.pki = public_pki(rig.directory / "certs")

    def change(config: Config) -> None:
        config["listen"]["address"] = "systemd"

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=change)
        with (rig.directory / "gateway.log").open("wb") as log:
            process = await trio.lowlevel.open_process(
                [
                    *(
                        program("systemd-socket-activate"),
                        f"--listen=127.0.0.1:{rig.port}",
                        "--fdname=public",
                    ),
                    *(sys.executable, "-m", "gateway", "--config", str(rig.config), "run"),
                ],
                stdout=log,
                stderr=log,
            )
        try:
            await until(lambda: "Listening on" in rig.log)
            assert (await rig.post(message(unique_id()))).status == 200
            await until(lambda: len(target.received) == 1)
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                assert await process.wait() == 0


# -- containers


def tool(name: str) -> Path:
    path = TOOLS / "bin" / name
    if not path.exists():
        pytest.skip(f"{path} is not there: make deploy-check installs it")
    return path


def test_kubernetes_understands_the_manifests() -> None:
    manifest = DEPLOY / "kubernetes/meta-webhook-gateway.yaml"
    done = subprocess.run(
        [tool("kubernetes-validate"), "--strict", manifest], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_is_one() -> None:
    check = (
        "import json, sys, pathlib, jsonschema;"
        "(schema,) = pathlib.Path(sys.prefix).rglob('compose/config/compose_spec.json');"
        "jsonschema.validate(json.load(sys.stdin), json.loads(schema.read_text()))"
    )
    compose = json.dumps(read(DEPLOY / "compose.yaml"))
    done = subprocess.run(
        [tool("python"), "-c", check], input=compose, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_grafanas_own_types_know_all_that_the_dashboard_says() -> None:
    dashboard = DEPLOY / "grafana/meta-webhook-gateway.json"
    done = subprocess.run(
        [tool("python"), DEPLOY / "checks/grafana.py", dashboard], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- HAProxy


def test_haproxy_understands_its_configuration() -> None:
    assert "Configuration file is valid" in run("haproxy", "-c", "-f", DEPLOY / "haproxy.cfg")


def is_listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def balanced(rig: Rig, metrics: int) -> AsyncGenerator[int, None]:
    """Run HAProxy with the project's own file, but for the ports; give the one that Meta would reach."""
    port = free_port()
    config = (DEPLOY / "haproxy.cfg").read_text()
    for theirs, ours in (
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("127.0.0.1:8443", f"127.0.0.1:{rig.port}"),
        ("port 9091", f"port {metrics}"),
        ("inter 2s", "inter 100ms"),
    ):
        assert theirs in config
        config = config.replace(theirs, ours)
    file = rig.directory / "haproxy.cfg"
    file.write_text(config)
    process = await trio.lowlevel.open_process([program("haproxy"), "-db", "-f", str(file)])
    try:
        await until(lambda: is_listening(port))
        yield port
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_through_a_real_haproxy_the_certificate_arrives_and_so_does_the_address(rig: Rig) -> None:
    metrics = free_port()

    def change(config: Config) -> None:
        config["listen"] |= {"proxy_protocol": "v2", "proxy_from": ["127.0.0.1/32"]}
        config["metrics"] = {"address": f"127.0.0.1:{metrics}"}
        config["log"]["level"] = "debug"

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=change)
        async with rig.running(), balanced(rig, metrics) as port:
            async with MetaClient(
                f"https://localhost:{port}",
                secret=APP_SECRET,
                ca=rig.pki.server_ca,
                certificate=rig.pki.client_certificate,
                private_key=rig.pki.client_key,
            ) as meta:
                with trio.fail_after(10):
                    assert (await meta.post(PATH, message(unique_id()))).status == 200
            await until(lambda: len(target.received) == 1)
            accepted = 'meta_gateway_client_certificates_total{app="main",presented="accepted"}'
            assert await rig.metric(accepted) == 1
            assert await rig.metric('meta_gateway_handshakes_total{reason="protocol",result="refused"}') == 0
    events = [json.loads(line) for line in rig.log.splitlines() if line.startswith("{")]
    (connection,) = [one for one in events if one["event"] == "connection_accepted"]
    assert connection["address"] == "127.0.0.1"
