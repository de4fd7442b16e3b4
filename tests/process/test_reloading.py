"""A reload is a whole new generation or nothing; what was tried, and why not, is told."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio

from gateway.preflight import load_and_examine
from gateway.process import reloading
from gateway.process.exposition import ReloadRecord
from gateway.process.generation import Generation, build_generation
from gateway.process.reloading import Reloader
from gateway.process.service_manager import ServiceManager
from gateway.simulator.pki import make_pki
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.metrics import Metrics

CONFIG: dict[str, Any] = {
    "listen": {"address": "127.0.0.1:8443"},
    "tls": {
        "certificate": "certs/server.pem",
        "private_key": "certs/server.key",
        "clients": {"meta": {"trust_anchors": ["certs/meta-ca.pem"]}},
    },
    "apps": {
        "main": {
            "path": "/a",
            "app_secrets": [{"file": "app_secret"}],
            "verify_token": {"env": "VERIFY_TOKEN"},
        }
    },
    "targets": {"support": {"url": "https://127.0.0.1:8080/", "tls": {"ca": "certs/ca.pem"}}},
    "routes": [{"to": ["support"]}],
    "spool": {"directory": "var/spool"},
    "dead_letter": {"directory": "var/dead"},
    "admin": {"token": {"file": "admin_token"}},
}
SECRET = "correct-horse-battery-staple"


class Site:
    """A configuration with all its files, and a reloader that has nothing running behind it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config: dict[str, Any] = json.loads(json.dumps(CONFIG))
        make_pki(directory / "certs")
        (directory / "app_secret").write_text(SECRET)
        (directory / "admin_token").write_text("a token of some length")
        (directory / "var").mkdir()
        self.write()
        self.metrics = Metrics()
        loaded, problems = load_and_examine(directory / "gateway.yaml", environ=self.environ)
        assert loaded is not None, problems
        self.first = build_generation(loaded)
        self.installed: list[Generation] = []
        self.record = ReloadRecord(self.first, metrics=self.metrics, at_ms=1_795_000_000_000)
        self.reloader = Reloader(
            self.first,
            manager=ServiceManager({}),
            environ=self.environ,
            install=self.installed.append,
            record=self.record,
            audit=AuditLog(directory / "audit.log"),
            now_ms=lambda: 1_795_000_060_000,
        )

    environ = {"VERIFY_TOKEN": "verify"}  # noqa: RUF012 (never changed)

    def write(self) -> None:
        (self.directory / "gateway.yaml").write_text(json.dumps(self.config))

    def gauge(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"meta_gateway_config_last_reload_{name}")

    @property
    def audited(self) -> list[dict[str, Any]]:
        log = self.directory / "audit.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def last(self) -> Any:
        return self.record.config()["last_reload"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_before_any_reload_the_start_counts_as_one_that_went_well(site: Site) -> None:
    assert (site.gauge("success"), site.gauge("timestamp_seconds")) == (1, 1_795_000_000)
    loaded = site.first.loaded
    assert site.record.config() == {
        "hash": loaded.source.sha256,
        "file": str(site.directory / "gateway.yaml"),
        "spool": str(loaded.settings.spool.directory),
        "loaded_at": "2026-11-18T11:06:40.000Z",
        "last_reload": None,
    }
    assert site.record.refusal() == ""


async def test_new_settings_are_installed_and_what_changed_is_named(site: Site) -> None:
    site.config["targets"]["support"]["timeout"] = "3s"
    site.write()
    (site.directory / "app_secret").write_text("another")
    with structlog.testing.capture_logs() as logs:
        await site.reloader.reload("signal")
    (new,) = site.installed
    assert new.app_secrets == {"main": b"another"}
    (event,) = [entry for entry in logs if entry["event"] == "reloaded"]
    secret = str(site.directory / "app_secret")
    assert event["changed"] == ["apps.main.app_secrets", "targets.support.timeout", secret]
    assert site.last == {
        "at": "2026-11-18T11:07:40.000Z",
        "success": True,
        "trigger": "signal",
        "problems": [],
    }
    (line,) = site.audited
    assert line.items() >= {"action": "reload", "by": "signal", "result": "loaded"}.items()
    assert line["changed"] == event["changed"]
    assert SECRET not in str(logs) + str(line)


async def test_nothing_new_is_a_reload_that_went_well(site: Site) -> None:
    await site.reloader.reload("signal")
    (new,) = site.installed
    assert new.targets["support"] is site.first.targets["support"]
    assert new.is_trusting_as(site.first)
    assert site.audited[0]["changed"] == []


def _unknown_key(site: Site) -> None:
    site.config["listen"]["adress"] = "x"


def _no_route(site: Site) -> None:
    site.config["routes"][0]["to"] = ["suport"]


def _no_file(site: Site) -> None:
    (site.directory / "app_secret").unlink()


def _another_key(site: Site) -> None:
    other = make_pki(site.directory / "other")
    (site.directory / "certs/server.key").write_bytes(other.server_key.read_bytes())


def _no_yaml(site: Site) -> None:
    site.config.clear()


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (_unknown_key, "listen.adress: unknown key"),
        (_no_route, "there is no target 'suport'"),
        (_no_file, "app_secret cannot be read"),
        (_another_key, "is not the private key of"),
        (_no_yaml, "is missing"),
    ],
)
async def test_what_is_broken_is_refused_with_its_reason(
    site: Site, break_it: Callable[[Site], None], told: str
) -> None:
    break_it(site)
    site.write()
    with structlog.testing.capture_logs() as logs:
        await site.reloader.reload("signal")
    assert site.installed == []
    assert any(told in problem for entry in logs for problem in entry.get("problems", ()))
    assert told in site.record.refusal() + " ".join(str(problem) for problem in site.last["problems"])
    assert (site.gauge("success"), site.gauge("timestamp_seconds")) == (0, 1_795_000_060)
    assert site.record.config()["hash"] == site.first.loaded.source.sha256
    assert site.audited[0]["result"] == "refused"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("listen", "address", "127.0.0.1:9443"),
        ("spool", "directory", "var/other"),
        ("spool", "min_free", "1GiB"),
        ("admin", "address", "127.0.0.1:9999"),
        ("admin", "hosts", ["gateway.internal"]),
        ("admin", "token", {"file": "app_secret"}),
        ("metrics", "address", "127.0.0.1:9091"),
    ],
)
async def test_what_sockets_and_locks_hang_on_waits_for_a_restart(
    site: Site, section: str, key: str, value: object
) -> None:
    site.config.setdefault(section, {})[key] = value
    site.config["apps"]["main"]["path"] = "/b"
    site.write()
    with structlog.testing.capture_logs() as logs:
        await site.reloader.reload("signal")
    assert site.installed == []
    (problem,) = site.last["problems"]
    assert problem["key_path"].startswith(section)
    assert problem["message"] == "cannot be changed while the gateway runs"
    # `gateway check` has nothing to say of it: the next step is the problem's own, told once.
    (event,) = [entry for entry in logs if entry["event"] == "reload_refused"]
    assert event["remedy"] == "nothing was changed"
    assert event["problems"][0].endswith(problem["remedy"])
    assert problem["remedy"] in site.record.refusal()


async def test_the_admin_token_rotates_in_its_file(site: Site) -> None:
    (site.directory / "admin_token").write_text("another of some length")
    await site.reloader.reload("file")
    (new,) = site.installed
    assert new.settings.admin.token is not None
    assert new.settings.admin.token.reveal() == b"another of some length"


async def test_a_file_that_changed_is_tried_under_the_settings_as_they_were_loaded(site: Site) -> None:
    (site.directory / "gateway.yaml").write_text("half a conf")
    (site.directory / "app_secret").write_text("another")
    await site.reloader.reload("file")
    (new,) = site.installed
    assert new.app_secrets == {"main": b"another"}
    assert new.loaded.source.sha256 == site.first.loaded.source.sha256
    await site.reloader.reload("signal")
    assert len(site.installed) == 1


async def test_after_a_refusal_the_next_try_starts_from_what_holds(site: Site) -> None:
    """Certificate first, key then: the first half is refused, the whole is not."""
    other = make_pki(site.directory / "other")
    (site.directory / "certs/server.pem").write_bytes(other.server_certificate.read_bytes())
    await site.reloader.reload("file")
    assert site.installed == []
    (site.directory / "certs/server.key").write_bytes(other.server_key.read_bytes())
    await site.reloader.reload("file")
    assert len(site.installed) == 1
    assert site.record.refusal() == ""
    assert site.gauge("success") == 1


async def test_an_audit_log_that_cannot_be_written_keeps_no_certificate_out(site: Site) -> None:
    (site.directory / "audit.log").mkdir()
    with structlog.testing.capture_logs() as logs:
        await site.reloader.reload("signal")
    assert len(site.installed) == 1
    assert [entry["event"] for entry in logs] == ["reload_not_audited", "reloaded"]


async def test_a_defect_of_ours_changes_nothing_and_quotes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Generation:
        raise KeyError(SECRET)

    monkeypatch.setattr(reloading, "build_generation", fail)
    with structlog.testing.capture_logs() as logs:
        await site.reloader.reload("signal")
    assert site.installed == []
    assert "KeyError" in site.last["problems"][0]["message"]
    assert SECRET not in str(logs) + str(site.last)


async def test_a_file_that_cannot_be_read_to_its_end_keeps_no_later_reload_waiting(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody writes to."""
    monkeypatch.setattr(reloading, "PREPARE_SECONDS", 0.2)
    (site.directory / "app_secret").unlink()
    os.mkfifo(site.directory / "app_secret")
    await site.reloader.reload("signal")
    assert site.installed == []
    assert "could not be read within" in site.record.refusal()
    with (site.directory / "app_secret").open("w"):  # lets the thread go that waits
        pass
    (site.directory / "app_secret").unlink()
    (site.directory / "app_secret").write_text(SECRET)
    monkeypatch.undo()
    await site.reloader.reload("signal")
    assert len(site.installed) == 1


async def test_reloads_that_are_kept_take_no_thread_from_the_rest_of_the_process(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "PREPARE_SECONDS", 0.02)
    (site.directory / "app_secret").unlink()
    os.mkfifo(site.directory / "app_secret")
    for _ in range(2 * reloading.THREADS_AT_ONCE):
        await site.reloader.reload("signal")
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    with (site.directory / "app_secret").open("w"):  # lets the threads go that wait
        pass
