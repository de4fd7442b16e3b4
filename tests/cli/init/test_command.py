"""`gateway init`: what it writes, what it leaves alone, what it tells."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gateway.cli.init.command import command
from gateway.cli.output import options
from gateway.errors import UsageError
from gateway.settings.load import load_settings
from tests.cli.calling import Called, call

ROOT = Path(__file__).parents[3]
DEVELOPMENT = {
    "gateway.yaml", "secrets/app_secret", "secrets/verify_token",
    "certs/authority/issuing.key", "certs/authority/issuing.pem", "certs/ca.pem",
    "certs/server.pem", "certs/server.key",
    "certs/meta-ca.pem", "certs/client.pem", "certs/client.key",
}  # fmt: skip


@pytest.fixture
def gateway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Called]:
    """Calls a command in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "config", options.config)
    for key in [key for key in os.environ if key.startswith("GATEWAY_")]:
        monkeypatch.delenv(key)
    return partial(call, capsys)


def as_process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }


def test_what_init_writes_is_clean_at_once(tmp_path: Path) -> None:
    made = as_process("init", "x", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert set(files_below(tmp_path / "x")) == DEVELOPMENT
    checked = as_process("--config", "x/gateway.yaml", "check", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == "x/gateway.yaml: no problems (apps: 1, targets: 2, routes: 2)\n"


def test_secrets_and_keys_are_random_and_for_their_owner_alone(
    tmp_path: Path, gateway: Callable[..., Called]
) -> None:
    for name in ("one", "two"):
        gateway("init", name)
    for secret in ("secrets/app_secret", "secrets/verify_token", "certs/server.key", "certs/client.key"):
        one, two = tmp_path / "one" / secret, tmp_path / "two" / secret
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        assert one.read_bytes() != two.read_bytes()
    app = load_settings(tmp_path / "one/gateway.yaml", environ={}).settings.apps["main"]
    assert len(app.app_secrets[0].reveal()) == 64
    assert app.app_secrets[0].reveal() != app.verify_token.reveal()


def test_the_steps_it_prints_name_the_files_it_wrote(gateway: Callable[..., Called]) -> None:
    steps = gateway("init", "x").out
    for words in ("check", "run", "send --field messages"):
        assert f"  gateway --config x/gateway.yaml {words}\n" in steps


@pytest.mark.parametrize("kind", [[], ["--production"]], ids=["development", "production"])
def test_its_commands_can_be_pasted_whatever_the_directory_is_called(
    kind: list[str], gateway: Callable[..., Called]
) -> None:
    steps = gateway("init", "my {own}; gateway's", *kind).out
    calls = [shlex.split(line) for line in steps.splitlines() if line.strip().startswith("gateway ")]
    assert len(calls) == (5 if kind else 3)
    for words in calls:
        named = words[2] if words[1] == "--config" else words[3]
        assert named.startswith("my {own}; gateway's/")


@pytest.mark.parametrize("standing", sorted(DEVELOPMENT))
def test_init_overwrites_nothing_and_then_writes_nothing(standing: str, tmp_path: Path) -> None:
    file = tmp_path / "x" / standing
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(UsageError, match=re.escape(f"already there: {file}; nothing was written")):
        command(tmp_path / "x")
    assert files_below(tmp_path / "x") == {standing: b"mine"}


def test_a_second_init_says_what_is_there_and_exits_with_2(
    tmp_path: Path, gateway: Callable[..., Called]
) -> None:
    gateway("init", "x")
    before = files_below(tmp_path)
    again = gateway("init", "x")
    assert again.code == 2
    assert again.out == ""
    assert "already there: x/gateway.yaml" in again.err
    assert "nothing was written" in again.err
    assert files_below(tmp_path) == before


def test_a_link_to_nowhere_stands_in_the_way_too(tmp_path: Path, gateway: Callable[..., Called]) -> None:
    (tmp_path / "gateway.yaml").symlink_to("elsewhere.yaml")
    assert gateway("init").code == 2
    assert not (tmp_path / "elsewhere.yaml").exists()


def test_a_directory_that_cannot_be_made_is_a_clear_error(
    tmp_path: Path, gateway: Callable[..., Called]
) -> None:
    (tmp_path / "file").write_text("mine")
    failed = gateway("init", "file/x")
    assert failed.code == 2
    assert "cannot be written: Not a directory; name a directory" in failed.err
    assert "Traceback" not in failed.err


def test_json_lists_what_was_written(gateway: Callable[..., Called]) -> None:
    result = json.loads(gateway("init", "x", "--json").out)
    assert set(result["written"]) == {f"x/{name}" for name in DEVELOPMENT}


def test_production_writes_no_certificates_and_starts_with_report(
    tmp_path: Path, gateway: Callable[..., Called]
) -> None:
    made = gateway("init", "x", "--production")
    assert made.code == 0, made.err
    assert set(files_below(tmp_path / "x")) == {"gateway.yaml", "secrets/verify_token"}
    settings = load_settings(tmp_path / "x/gateway.yaml", environ={}, with_secrets=False).settings
    assert settings.apps["main"].client_certificate == "report"
    assert settings.tls.handshake == "ask"


def test_production_prints_the_steps_in_the_order_that_meta_demands(gateway: Callable[..., Called]) -> None:
    steps = gateway("init", "x", "--production").out
    order = [
        "certificate of a public CA",
        "listen.public_url",
        "app secret",
        "Download meta-outbound-api-ca-2025-12.pem",
        "compare its SHA-256",
        "Start the gateway",
        "Verify the callback URL",
        "the one that `gateway run` prints",
        "Subscribe",
        "Switch mTLS on",
        "each app and each",
        "Watch",
        "client_certificate: required",
    ]
    places = [steps.find(step) for step in order]
    assert -1 not in places
    assert places == sorted(places)


def test_a_production_configuration_says_where_its_state_is_to_every_user_alike(
    tmp_path: Path, gateway: Callable[..., Called]
) -> None:
    """systemd's unit makes that directory; a command by hand does not see its $STATE_DIRECTORY."""
    gateway("init", "x", "--production")
    unit = (ROOT / "deploy/systemd/meta-webhook-gateway.service").read_text()
    (name,) = re.findall(r"^StateDirectory=(\S+)$", unit, re.MULTILINE)
    for environ in ({}, {"STATE_DIRECTORY": str(tmp_path / "elsewhere")}):
        settings = load_settings(tmp_path / "x/gateway.yaml", environ=environ, with_secrets=False).settings
        assert settings.spool.directory == Path("/var/lib") / name / "spool"
        assert settings.dead_letter.directory == Path("/var/lib") / name / "dead-letter"


def test_in_a_container_the_state_is_where_the_image_says(
    tmp_path: Path, gateway: Callable[..., Called]
) -> None:
    """docs/container.md takes two lines out of the file, each whole on its line."""
    gateway("init", "x", "--production")
    file = tmp_path / "x/gateway.yaml"
    (edit,) = re.findall(
        r"^sudo (sed -i .+) /etc/\S+$", (ROOT / "docs/container.md").read_text(), re.MULTILINE
    )
    subprocess.run([*shlex.split(edit), file], check=True)
    settings = load_settings(
        file, environ={"STATE_DIRECTORY": "/var/lib/gateway"}, with_secrets=False
    ).settings
    assert settings.spool.directory == Path("/var/lib/gateway/spool")
    assert settings.dead_letter.directory == Path("/var/lib/gateway/dead-letter")


def test_the_public_url_only_waits_for_its_name(tmp_path: Path, gateway: Callable[..., Called]) -> None:
    gateway("init", "x", "--production")
    file = tmp_path / "x/gateway.yaml"
    file.write_text(file.read_text().replace("# public_url: https://hooks.", "public_url: https://mine."))
    settings = load_settings(file, environ={}, with_secrets=False).settings
    assert settings.listen.public_url == "https://mine.example.com"


def test_check_of_a_production_configuration_tells_the_steps_that_are_left(
    tmp_path: Path, gateway: Callable[..., Called]
) -> None:
    gateway("init", "x", "--production")
    file = tmp_path / "x/gateway.yaml"
    file.write_text(file.read_text().replace("/var/lib/", f"{tmp_path}/"))  # one that this user may make
    checked = gateway("--config", "x/gateway.yaml", "check", "--json")
    assert checked.code == 2
    assert [problem["key_path"] for problem in json.loads(checked.out)["problems"]] == [
        "tls.certificate",
        "tls.private_key",
        "tls.clients.meta.trust_anchors[0]",
        "apps.main.app_secrets[0].file",
    ]
