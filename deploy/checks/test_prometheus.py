"""Prometheus's own word on metrics, rules and dashboard; and a real one that scrapes a real gateway."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from deploy.checks.programs import ROOT, program, run
from gateway.simulator.pki import make_pki
from tests.stories.rig import Config, Rig, free_port, message, open_target, unique_id

PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/meta-webhook-gateway.json"
SOON_SECONDS = 30.0
"""For a scrape and an evaluation a second apart; the rest is for a slow machine."""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(directory=tmp_path, pki=make_pki(tmp_path / "pki"))


def test_the_scrape_configuration_and_the_rules_are_sound() -> None:
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yaml")


@pytest.mark.parametrize("name", ["alerts_test.yaml", "alerts_week_test.yaml"])
def test_the_alerts_fire_when_they_should_and_not_in_a_quiet_night(name: str) -> None:
    run("promtool", "test", "rules", PROMETHEUS / name)


def test_every_expression_of_the_dashboard_can_be_parsed(tmp_path: Path) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    expressions += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    rules = [
        # Grafana writes a duration and texts in the place of its variables.
        {"record": f"x:{number}", "expr": expr.replace("$__rate_interval", "1m").replace("$", "")}
        for number, expr in enumerate(expressions)
    ]
    assert len(rules) > 40
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run("promtool", "check", "rules", file)


@asynccontextmanager
async def scraped(rig: Rig, scrape: str) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Run Prometheus with the project's own files, quicker than they say; give a client of it."""
    directory, address = rig.directory / "prometheus", f"127.0.0.1:{free_port()}"
    directory.mkdir()
    config = (PROMETHEUS / "prometheus.yaml").read_text()
    config = config.replace("interval: 15s", "interval: 1s").replace("127.0.0.1:9091", scrape)
    (directory / "prometheus.yaml").write_text(config)
    rules = (PROMETHEUS / "alerts.yaml").read_text()
    (directory / "alerts.yaml").write_text(re.sub(r"for: \d+m$", "for: 1s", rules, flags=re.MULTILINE))
    with (directory / "log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [
                program("prometheus"),
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
            yield client
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def ask(client: httpx.AsyncClient, query: str) -> list[dict[str, Any]]:
    """Wait until a query has an answer."""
    with trio.fail_after(SOON_SECONDS):
        while True:
            try:
                answer = await client.get("/api/v1/query", params={"query": query})
            except httpx.TransportError:
                result: list[dict[str, Any]] = []
            else:
                # 503, and no JSON, while it starts.
                result = answer.json()["data"]["result"] if answer.is_success else []
            if result:
                return result
            await trio.sleep(0.2)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_real_prometheus_scrapes_a_real_gateway_until_an_alert_fires(rig: Rig, workers: int) -> None:
    program("prometheus")
    metrics_address = f"127.0.0.1:{free_port()}"

    def change(config: Config) -> None:
        config["metrics"] = {"address": metrics_address}
        config["listen"]["workers"] = workers
        config["routes"] = [{"field": "messages", "to": ["support"]}]

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=change)
        async with rig.running(), scraped(rig, metrics_address) as client:
            await ask(client, 'meta_gateway_requests_total{app="main",status="200"} == 0')
            assert (await rig.post(message(unique_id()))).status == 200
            delivered = 'meta_gateway_deliveries_total{target="support",outcome="delivered"} == 1'
            (series,) = await ask(client, delivered)
            assert series["metric"]["job"] == "meta-webhook-gateway"
            assert (await rig.post(message(unique_id(), field_name="nobodys"))).status == 200
            firing = 'ALERTS{alertname="MetaGatewayUnrouted",alertstate="firing",app="main"}'
            assert await ask(client, firing)
            others = 'count(ALERTS{alertstate="firing"}) or vector(0)'
            (count,) = await ask(client, others)
            assert count["value"][1] == "1"
            text = (await rig.admin_get("/metrics")).text
    run("promtool", "check", "metrics", stdin=text)
