"""What an operator meets: start, health, metrics, signals, mistakes."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import trio

from gateway.simulator.process import NO_TRUST
from gateway.simulator.target import REFUSE
from tests.stories.rig import (
    PATH,
    Config,
    Rig,
    free_port,
    message,
    open_target,
    unique_id,
    until,
)


def run_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `gateway ARGUMENTS` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
    )


def test_what_init_writes_is_clean_and_serves(tmp_path: Path) -> None:
    assert run_command("init", "x", cwd=tmp_path).returncode == 0
    config = tmp_path / "x" / "gateway.yaml"
    checked = run_command("--config", "x/gateway.yaml", "check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    port, admin_port = free_port(), free_port()
    text = config.read_text().replace("127.0.0.1:8443", f"127.0.0.1:{port}")
    config.write_text(text + f"\nadmin: {{address: '127.0.0.1:{admin_port}'}}\n")
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "--config", str(config), "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as gateway:
        try:
            assert gateway.stdout is not None
            assert gateway.stdout.readline().strip().endswith(f"https://localhost:{port}/webhooks/main")
            certs = tmp_path / "x" / "certs"
            sent = run_command(
                *("--config", str(config), "send", "--field", "messages", "--json"),
                *("--url", f"https://localhost:{port}/webhooks/main", "--ca", str(certs / "ca.pem")),
                *("--cert", str(certs / "client.pem"), "--key", str(certs / "client.key")),
                cwd=tmp_path,
            )
            assert sent.returncode == 0, sent.stdout + sent.stderr
            assert "200" in sent.stdout
        finally:
            gateway.send_signal(signal.SIGTERM)
            assert gateway.wait(timeout=20) == 0


async def test_health_readiness_and_metrics_on_both_listeners(rig: Rig) -> None:
    metrics_port = free_port()

    def two_listeners(config: Config) -> None:
        config["metrics"] = {"address": f"127.0.0.1:{metrics_port}"}

    rig.write(targets={"support": "http://127.0.0.1:9/"}, change=two_listeners)
    async with rig.running(), httpx.AsyncClient(verify=NO_TRUST, trust_env=False) as client:
        for base in (rig.admin_url, f"http://127.0.0.1:{metrics_port}"):
            health = await client.get(base + "/healthz")
            assert (health.status_code, health.json()) == (200, {"status": "ok"})
            ready = await client.get(base + "/readyz")
            assert ready.status_code == 200
            assert {"listener", "spool", "free_space", "certificates", "draining"} <= ready.json().keys()
            metrics = await client.get(base + "/metrics")
            assert "meta_gateway_build_info" in metrics.text
        only_admin = f"http://127.0.0.1:{metrics_port}/api/status"
        assert (await client.get(only_admin)).status_code == 404
        assert (await rig.admin_get("/healthz", host="evil.example")).status_code >= 400
        replay = await client.post(f"{rig.admin_url}/api/dead-letters/replay", json={"ids": []})
        assert replay.status_code == 401
    token = rig.directory / "state" / "admin.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


async def test_a_failing_target_never_makes_the_gateway_unready(rig: Rig) -> None:
    rig.write(targets={"support": "http://127.0.0.1:9/"})
    async with rig.running():
        assert (await rig.post(message(unique_id()))).status == 200
        assert (await rig.admin_get("/readyz")).status_code == 200
        assert await rig.metric('meta_gateway_spool_pending{target="support"}') == 1


async def test_while_draining_it_is_unready_and_still_accepts_until_the_delay_is_over(rig: Rig) -> None:
    def patient(config: Config) -> None:
        config["listen"]["drain"] = {"delay": "2s", "timeout": "5s"}

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=patient)
        async with rig.running() as gateway:
            os.kill(gateway.pid, signal.SIGTERM)
            await until(lambda: '"draining"' in rig.log)
            ready = await rig.admin_get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["draining"]["ok"] is False
            assert (await rig.post(message(unique_id()))).status == 200
            with trio.fail_after(15):
                assert await gateway.wait() == 0


async def test_an_address_in_use_is_told_with_its_key_and_a_remedy(rig: Rig) -> None:
    listeners = await trio.open_tcp_listeners(rig.port, host="127.0.0.1")
    rig.write(targets={"support": "http://127.0.0.1:9/"})
    outcome = await rig.command("run", check=False)
    assert outcome.returncode == 1
    said = outcome.stderr.decode()
    assert "listen.address" in said
    assert str(rig.port) in said
    assert "Traceback" not in said
    for listener in listeners:
        await listener.aclose()


async def test_a_mistake_in_the_configuration_is_told_by_run_too_and_nothing_listens(rig: Rig) -> None:
    def mistake(config: Config) -> None:
        config["routes"][0]["to"] = ["suport"]

    rig.write(targets={"support": "http://127.0.0.1:9/"}, change=mistake)
    outcome = await rig.command("run", check=False)
    assert outcome.returncode == 2
    assert f"{rig.config}:" in outcome.stderr.decode()
    assert "routes[0].to" in outcome.stderr.decode()


async def test_replays_and_discards_are_on_the_audit_log(rig: Rig) -> None:
    async with open_target(behaviour=REFUSE) as target:
        rig.write(targets={"support": target.url})
        async with rig.running():
            for _ in range(2):
                assert (await rig.post(message(unique_id()))).status == 200
            await until(lambda: len(rig.dead_letters) == 2)
            first, second = (letter["id"] for letter in rig.dead_letters)
            await rig.command("dead-letters", "discard", "--yes", first)
            await rig.command("dead-letters", "replay", second)
            await until(lambda: len(target.received) == 3)
        lines = (rig.directory / "state" / "audit.log").read_text().splitlines()
        assert {json.loads(line)["action"] for line in lines} == {"discard", "replay"}


async def test_a_row_goes_with_the_last_letter_of_what_no_route_takes(rig: Rig) -> None:
    async with open_target() as target:
        routes = [{"field": "messages", "to": ["support"]}]
        rig.write(targets={"support": target.url}, change=lambda config: config.update(routes=routes))
        async with rig.running():
            assert (await rig.post(message(unique_id(), field_name="security"))).status == 200
            await until(lambda: len(rig.dead_letters) == 1)
            assert b"_unrouted" in (await rig.command("targets", "list")).stdout
            await rig.command("dead-letters", "discard", "--yes", rig.dead_letters[0]["id"])
            (row,) = (await rig.command("targets", "list")).stdout.splitlines()
            assert row.startswith(b"support")


async def test_a_gateway_on_two_apps_tells_them_apart_by_path_and_secret(rig: Rig) -> None:
    def two_apps(config: Config) -> None:
        (rig.directory / "secrets").mkdir(exist_ok=True)
        (rig.directory / "secrets" / "other").write_text("another-secret\n")
        config["apps"]["other"] = {
            **config["apps"]["main"],
            "path": "/webhooks/other",
            "app_secrets": [{"file": "secrets/other"}],
        }
        config["routes"] = [{"app": "main", "field": "*", "to": ["support"]}]

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=two_apps)
        async with rig.running(), rig.meta() as meta:
            assert (await meta.post(PATH, message(unique_id()))).status == 200
            assert (await meta.post("/webhooks/other", message(unique_id()))).status == 401
            assert (await meta.post(PATH + "/", message(unique_id()))).status == 404
