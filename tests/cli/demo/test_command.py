"""`gateway demo`: the real thing, in a pipe, on a terminal, interrupted, and kept running."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import call

WITHIN_SECONDS = 60
"""The demo itself promises 30; it takes about 4 alone, and this machine may be busy."""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary directory is looked at afterwards: nothing may be left in it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    return clean | {"TMPDIR": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    assert list(tmp_path.iterdir()) == []
    assert _gateways_of(tmp_path) == []


def _gateways_of(directory: Path) -> list[str]:
    """Command lines of running processes that name this directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(directory) in command:
                found.append(command)
    return found


def start(environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_in_a_pipe_it_tells_plainly_that_everything_happened_as_it_should(environ: dict[str, str]) -> None:
    began = time.monotonic()
    with start(environ) as demo:
        out, errors = demo.communicate(timeout=WITHIN_SECONDS)
    assert demo.returncode == 0, out + errors
    assert time.monotonic() - began < 30
    assert "\x1b" not in out + errors
    assert errors == ""
    assert "FAIL" not in out
    for expected in (
        r"route 2: field messages, kind status -> analytics",
        r"ok +the right verify token: 200, the challenge as text/plain \(\d+ ms\)",
        r"ok +a forged signature: 401",
        r"ok +no client certificate: 403",
        r"ok +a stranger's certificate, Meta's name in it: connection closed, nothing answered",
        r"ok +Meta's own sample: an array, entry id 0 -> accounts: delivered \(200\); why: route 3 ",
        r"ok +messages: a status -> analytics: delivered \(503, 503, 200\); why: route 2 ",
        r"ok +account_update -> billing: dead letter: refused \(422\); why: route 5 ",
        r"ok +security -> pager: dead letter: gave_up \(\d x 500\); why: route 6 ",
        r"ok +four changes in one POST, over HTTP/2 -> accounts: delivered \(200\); why: 2 of 4 changes, ",
        r"ok +a field that nobody knows yet -> archive: delivered",
        r"ok +the customer's text once more, the same bytes: went nowhere",
        r"pager/\d{4}-\d\d-\d\d/\d\d/[0-9a-f]{32}-pager\.json",
        r"gave_up; \d attempts, the last answered 500; security of whatsapp_business_account; \d+ bytes",
        r"ok +the gateway process: exit code 0",
        r"Everything happened as it should: \d+ checks, 26 deliveries \(22 delivered, 4 dead letters\)",
    ):
        assert re.search(expected, out), f"{expected}\nis not in\n{out}"


@pytest.mark.slow
def test_on_a_terminal_it_is_told_in_colour(environ: dict[str, str]) -> None:
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo"], env=environ, stdout=slave, stderr=slave, stdin=slave
    ) as demo:
        os.close(slave)
        shown = _read_all(master).decode()
    os.close(master)
    assert demo.returncode == 0, shown
    assert "\x1b[32m" in shown
    assert "Everything happened as it should" in shown
    assert shown.count("\x1b[?25h") >= shown.count("\x1b[?25l") > 0, "the cursor is not shown again"


def _read_all(descriptor: int) -> bytes:
    """Read a terminal until everybody has closed its other end, which Linux tells by EIO."""
    data = b""
    with contextlib.suppress(OSError):
        while piece := os.read(descriptor, 65536):
            data += piece
    return data


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_on_a_terminal_that_cannot_draw_it_is_plain(environ: dict[str, str], more: dict[str, str]) -> None:
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo"], env=environ | more, stdout=slave, stderr=slave, stdin=slave
    ) as demo:
        os.close(slave)
        shown = os.read(master, 1000)
        demo.send_signal(signal.SIGTERM)
        shown += _read_all(master)
    os.close(master)
    assert shown.startswith(b"\r\nCertificates: ")
    assert b"\x1b" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing_behind(environ: dict[str, str], number: signal.Signals) -> None:
    with start(environ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("Notifications"):  # the gateway process is running
                break
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=WITHIN_SECONDS)
    assert demo.returncode == 1
    assert "interrupted" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_second_interruption_changes_nothing(environ: dict[str, str]) -> None:
    with start(environ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("Notifications"):
                break
        demo.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            demo.wait(timeout=0.05)  # less than the gateway takes to end
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=WITHIN_SECONDS)
    assert demo.returncode == 1
    assert errors == "interrupted; the gateway process is stopped, and nothing is left behind\n"


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_quietly(environ: dict[str, str]) -> None:
    """`gateway demo | head -3`."""
    with start(environ) as demo:
        assert demo.stdout is not None
        for _ in range(3):
            demo.stdout.readline()
        demo.stdout.close()
        assert demo.stderr is not None
        errors = demo.stderr.read()
        demo.wait(timeout=WITHIN_SECONDS)
    assert (demo.returncode, errors) == (1, "")


def assert_all_is_well(told: dict[str, Any]) -> None:
    assert told["ok"] is True
    assert told["differences"] == []
    assert all(step["ok"] for step in told["steps"])
    assert {one["state"] for one in told["deliveries"]} == {"as expected"}
    assert {one["reason"] for one in told["dead_letters"]} == {
        "refused",
        "gave_up",
        "unrouted",
        "unparseable",
    }
    assert all("body" not in one for one in told["dead_letters"])


@pytest.mark.slow
def test_kept_running_it_can_be_played_with_until_it_is_interrupted(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with start(environ, "--serve", "--json") as demo:
        assert demo.stdout is not None
        text = ""
        for line in demo.stdout:
            text += line
            if line == "}\n":
                break
        told: dict[str, Any] = json.loads(text)
        assert_all_is_well(told)
        config = told["addresses"]["config"]
        sent = call(capsys, "--config", config, "send", "--field", "messages", "--json")
        assert json.loads(sent.out)["requests"][0]["status"] == 200
        token = Path(config).parent / "secrets" / "verify_token"
        verified = call(capsys, "--config", config, "send", "--challenge", f"file:{token}", "--no-cert")
        assert verified.code == 0
        demo.send_signal(signal.SIGINT)
        rest, errors = demo.communicate(timeout=WITHIN_SECONDS)
    assert demo.returncode == 0, rest + errors


@pytest.mark.slow
def test_a_gateway_that_does_not_start_ends_with_1_and_its_log(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """A python that ends where the gateway is to run: the demo itself is sound, the process is not."""
    broken = "import sys\nif 'run' in sys.argv: sys.exit('broken on purpose')\n"
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(broken)
    with start(environ | {"PYTHONPATH": str(site)}) as demo:
        out, _ = demo.communicate(timeout=WITHIN_SECONDS)
    (site / "sitecustomize.py").unlink()
    for path in (*site.glob("__pycache__/*"), *site.glob("__pycache__")):
        path.rmdir() if path.is_dir() else path.unlink()
    site.rmdir()
    assert demo.returncode == 1
    assert "NOT everything happened as it should" in out
    assert "ended with exit code" in out
    assert "log: " in out
    assert "broken on purpose" in out
