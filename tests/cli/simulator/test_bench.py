"""`gateway bench`: what it takes from where, what it refuses, how it ends. The figures: `simulator/bench`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from gateway.simulator.pki import PkiFiles, make_pki
from gateway.simulator.process import free_ports
from tests.cli.calling import call
from tests.simulator.door import Door, opened

CONFIG = """\
listen: {{address: "{address}"}}
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients: {{meta: {{trust_anchors: [certs/meta-ca.pem]}}}}
apps:
  main: {{path: /main, app_secrets: [{{file: secret}}], verify_token: {{file: secret}}}}
targets:
  bench: {{url: "http://127.0.0.1:{target}/"}}
  safe: {{url: "https://safe.internal/"}}
routes: [{{kind: status, to: [bench]}}, {{kind: message, to: [safe]}}]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    make_pki(directory / "certs")
    (directory / "secret").write_text("the secret\n")
    configure(directory, port=1)
    return directory


@pytest.fixture
async def door(site: Path) -> AsyncIterator[Door]:
    async with opened(Door(), PkiFiles.in_directory(site / "certs")) as door:
        configure(site, port=door.port)
        yield door


def configure(site: Path, *, port: int) -> None:
    text = CONFIG.format(address=f"127.0.0.1:{port}", target=free_ports(1)[0])
    (site / "gateway.yaml").write_text(text)


def start(site: Path, *arguments: str) -> list[str]:
    config = str(site / "gateway.yaml")
    return [sys.executable, "-m", "gateway", "--config", config, "bench", *arguments]


async def bench(site: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """As a process: it is sent signals, and only a main thread hears them."""
    with trio.fail_after(30):
        return await trio.run_process(
            start(site, *arguments), check=False, capture_stdout=True, capture_stderr=True
        )


QUICK = ("--duration", "500ms", "--rate", "40", "--connections", "2")


async def test_what_is_not_given_comes_from_the_configuration(door: Door, site: Path) -> None:
    done = await bench(site, *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["passed"], told["due"], told["accepted"]) == (True, 20, 20)
    assert told["url"] == f"https://127.0.0.1:{door.port}/main"
    assert all(door.peers)
    assert b"with " in done.stderr
    assert b"client.pem" in done.stderr


async def test_the_report_fits_a_terminal(door: Door, site: Path) -> None:
    done = await bench(site, *QUICK)
    lines = done.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-2].startswith("PASS          covers 1")
    assert any(line.startswith("answered 200  20 (") for line in lines)
    assert any("<= " in line and "#" in line for line in lines)


async def test_a_slow_gateway_fails(door: Door, site: Path) -> None:
    done = await bench(site, *QUICK, "--verify", "--settle", "100ms", "--mix", "statuses=1")
    assert done.returncode == 1
    assert b"20 changes expected, 0 arrived, 20 lost" in done.stdout
    assert b"FAIL          20 changes did not arrive" in done.stdout


async def test_what_the_routes_give_to_others_is_not_expected(door: Door, site: Path) -> None:
    done = await bench(site, *QUICK, "--verify", "--settle", "100ms", "--mix", "messages=1")
    assert done.returncode == 0
    assert b"0 changes expected" in done.stdout


async def test_ctrl_c_prints_the_report_so_far(door: Door, site: Path) -> None:
    process = await trio.lowlevel.open_process(
        start(site, "--duration", "1h", "--rate", "40"), stdout=subprocess.PIPE, start_new_session=True
    )
    with trio.fail_after(30):
        while len(door.bodies) < 15 and process.poll() is None:  # noqa: ASYNC110 - what another process does is no event here
            await trio.sleep(0.02)
        # As a terminal does it: to every process of the group.
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout is not None
        told = b"".join([piece async for piece in process.stdout])
        assert await process.wait() == 130
    assert b"interrupted: the figures are those so far" in told
    assert b"answered 200  " in told


async def test_a_wrong_ca_a_refused_secret_and_nobody_there_have_their_next_step(
    door: Door, site: Path
) -> None:
    wrong = await bench(site, *QUICK, "--ca", str(site / "certs/meta-ca.pem"))
    assert (wrong.returncode, b"name its CA with --ca" in wrong.stderr) == (1, True)
    door.answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    refused = await bench(site, *QUICK)
    assert (refused.returncode, b"give it with --secret" in refused.stderr) == (1, True)
    (port,) = free_ports(1)
    nobody = await bench(site, *QUICK, "--url", f"https://127.0.0.1:{port}/main")
    assert (nobody.returncode, b"is the gateway running" in nobody.stderr) == (1, True)
    assert not wrong.stdout + refused.stdout + nobody.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--url", "https://192.0.2.7/main"), "add --yes-really"),
        (("--rate", "fast"), "is no rate"),
        (("--duration", "30"), "--duration: '30' has no unit"),
        (("--duration", "0s"), "no time at all"),
        (("--large", "1GiB"), "write a size from 1KiB to 3MiB"),
        (("--mix", "nothing"), "kinds: statuses"),
        (("--target", "nobody"), "targets: bench, safe"),
        (("--target", "safe"), "listens without TLS"),
        (("--verify", "--listen", "here"), "--listen: 'here' is not an address"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_way_out(
    site: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    called = call(capsys, "--config", str(site / "gateway.yaml"), "bench", *arguments)
    assert called.code == 2
    assert told in called.err
    assert called.out == ""


def test_where_the_target_is_missing_the_snippet_to_add_is_printed(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (site / "gateway.yaml").read_text().replace("bench", "other")
    for name in ("certs", "secret"):
        (tmp_path / name).symlink_to(site / name)
    (tmp_path / "gateway.yaml").write_text(text)
    called = call(capsys, "--config", str(tmp_path / "gateway.yaml"), "bench", "--verify")
    assert called.code == 2
    assert "has no target 'bench'" in called.err
    assert '    - {field: "*", to: [bench]}' in called.err
