"""What is told of the last reload, where people and machines look."""

from pathlib import Path

import pytest

from gateway.admin.health import Check
from gateway.errors import Problem
from gateway.process.exposition import Outcome, ReloadRecord, describe_generation, set_readiness
from gateway.process.generation import Generation, build_generation
from gateway.settings.load import load_settings
from gateway.simulator.pki import make_pki
from gateway.telemetry.metrics import Metrics

AT_MS = 1_795_000_000_000


def a_generation(directory: Path, *, more: str = "") -> Generation:
    make_pki(directory / "certs")
    (directory / "gateway.yaml").write_text(
        """\
tls:
  certificate: certs/server.pem
  private_key: certs/server.key
  clients: {meta: {trust_anchors: [certs/meta-ca.pem]}}
apps: {main: {path: /a, app_secrets: [{env: S}], verify_token: {env: S}}}
targets: {support: {url: "http://a/"}}
routes: [{to: [support]}]
"""
        + more
    )
    return build_generation(
        load_settings(directory / "gateway.yaml", environ={"S": "s", "DSN": "postgresql://db/gateway"})
    )


def a_problem(message: str) -> Problem:
    return Problem(file=Path("g.yaml"), line=3, column=1, key_path="tls", message=message, remedy="mend it")


def test_a_refusal_is_told_until_a_reload_goes_well(tmp_path: Path) -> None:
    metrics = Metrics()
    record = ReloadRecord(a_generation(tmp_path), metrics=metrics, at_ms=AT_MS)
    problems = (a_problem("is wrong"), a_problem("is wrong, too"))
    record.tried(Outcome(at_ms=AT_MS + 1000, trigger="file", problems=problems))
    assert record.refusal() == (
        "the reload at 2026-11-18T11:06:41.000Z was refused, what was loaded before still holds:"
        " g.yaml:3:1: tls: is wrong; mend it (and 1 more)"
    )
    assert record.config()["last_reload"] == {
        "at": "2026-11-18T11:06:41.000Z",
        "success": False,
        "trigger": "file",
        "problems": [problem.plain() for problem in problems],
    }
    value = metrics.registry.get_sample_value
    assert value("meta_gateway_config_last_reload_success") == 0
    assert value("meta_gateway_config_last_reload_timestamp_seconds") == AT_MS / 1000 + 1
    record.tried(Outcome(at_ms=AT_MS + 2000, trigger="file", problems=()))
    assert record.refusal() == ""
    assert value("meta_gateway_config_last_reload_success") == 1


def test_the_metrics_say_what_readiness_says_and_forget_what_is_no_check_any_more() -> None:
    metrics = Metrics()
    set_readiness(metrics, {"listener": Check(ok=True), "workers": Check(ok=True)})
    set_readiness(metrics, {"listener": Check(ok=True), "spool": Check(ok=False, detail="read-only")})
    value = metrics.registry.get_sample_value
    assert value("meta_gateway_readiness", {"check": "listener"}) == 1
    assert value("meta_gateway_readiness", {"check": "spool"}) == 0
    assert value("meta_gateway_readiness", {"check": "workers"}) is None


@pytest.mark.parametrize(
    ("spool", "bytes_"),
    [("", 256 * 1024**2), ("spool: {engine: postgresql, dsn: {env: DSN}}\n", 0)],
)
def test_what_must_be_free_is_told_where_the_disk_is_ours(tmp_path: Path, spool: str, bytes_: int) -> None:
    """With a database no free space is told either, and `0 < 4 * min_free` would be an alert for ever."""
    metrics = Metrics()
    describe_generation(metrics, a_generation(tmp_path, more=spool))
    assert metrics.registry.get_sample_value("meta_gateway_spool_min_free_bytes") == bytes_
