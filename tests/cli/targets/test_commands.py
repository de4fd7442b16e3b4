"""`gateway targets` where no gateway runs: on the spool itself. With one that runs: tests/stories."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
import trio

from gateway.cli.output import options
from gateway.cli.targets.report import cells_of, note_of, plain_note, sentence_of
from gateway.spool.contract import RetryLater
from gateway.spool.history import AttemptRecord
from gateway.spool.sqlite import SqliteOptions, open_sqlite_spool
from gateway.telemetry.metrics import Metrics
from tests.cli.calling import Called, call, initialise
from tests.delivery.rig import notification

LOOSE = SqliteOptions(duplicates_window_seconds=1, duplicates_max=0, min_free_bytes=0)
FAR_MS = 4_102_444_800_000


class Site:
    """A configuration with the targets `support` and `accounts`, and no gateway."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.var = directory / "x" / "var"
        self.config = initialise(capsys, directory / "x")
        self._capsys = capsys
        self._stored = 0

    def call(self, *arguments: str) -> Called:
        return call(self._capsys, "--config", str(self.config), "targets", *arguments)

    def store(self, target: str) -> None:
        async def run() -> None:
            async with open_sqlite_spool(
                self.var / "spool", LOOSE, metrics=Metrics(), now_ms=lambda: 0
            ) as spool:
                self._stored += 1
                await spool.append(notification(target.encode(), target, number=self._stored))

        self.var.mkdir(exist_ok=True)
        trio.run(run)

    def audit(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.var / "audit.log").read_text().splitlines()]


@pytest.fixture
def site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    monkeypatch.setattr(options, "config", options.config)
    yield Site(tmp_path, capsys)
    structlog.reset_defaults()


def test_a_pause_is_kept_shown_audited_and_ended(site: Site) -> None:
    paused = site.call("pause", "support", "--for", "2h", "--reason", "db upgrade")
    assert paused.code == 0
    assert paused.out.startswith("support\tpaused\tuntil 20")
    assert "no gateway runs" in paused.err
    listed = json.loads(site.call("list", "--json").out)["targets"]
    assert listed["support"]["state"] == "paused"
    assert listed["support"]["pause"]["reason"] == "db upgrade"
    assert listed["accounts"]["state"] == "stopped"
    assert site.call("pause", "support").out == "support\tpaused\tuntil resumed\n"
    resumed = json.loads(site.call("resume", "support", "--rate", "30/m", "--json").out)["support"]
    assert (resumed["state"], resumed["rate_per_second"]) == ("stopped", 0.5)
    assert [(line["action"], line["by"], line["target"]) for line in site.audit()] == [
        ("pause", "command", "support"),
        ("pause", "command", "support"),
        ("resume", "command", "support"),
    ]


def test_in_a_pipe_a_line_a_target(site: Site) -> None:
    site.store("support")
    site.store("former")
    rows = [line.split("\t") for line in site.call("list").out.splitlines()]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("support", "stopped", "1"), ("accounts", "stopped", "0"), ("former", "unknown", "1"),
    ]  # fmt: skip


def test_a_lost_target_is_shown_and_given_up_only_when_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for target in ("former", "former", "support"):
        site.store(target)
    (row,) = (row for row in site.call("list").out.splitlines() if row.startswith("former"))
    assert "gateway targets discard" in row
    rehearsed = site.call("discard", "former", "--dry-run")
    assert (rehearsed.code, rehearsed.out) == (0, "former\t2 would become dead letters, 2 left\n")
    unanswered = site.call("discard", "former")
    assert unanswered.code == 1
    assert "use --yes" in unanswered.err
    assert not (site.var / "dead-letter").exists()
    done = site.call("discard", "former", "--yes", "--json")
    assert json.loads(done.out) == {"former": {"discarded": 2, "left": 0}}
    letters = [json.loads(path.read_text()) for path in (site.var / "dead-letter").rglob("*.json")]
    assert [letter["reason"] for letter in letters] == ["discarded_target"] * 2
    listed = json.loads(site.call("list", "--json").out)["targets"]
    assert listed["support"]["pending"] == 1
    assert "former" not in listed
    assert [(line["action"], line["target"]) for line in site.audit()] == [("discard_target", "former")]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("support", "is in the configuration"),
        ("_unrouted", "is in the configuration"),
        ("nobody", "nothing waits for a target 'nobody'"),
    ],
)
def test_only_a_lost_target_with_something_waiting_is_given_up(site: Site, name: str, complaint: str) -> None:
    site.store("support")
    called = site.call("discard", name, "--yes")
    assert called.code == 2
    assert complaint in called.err
    assert json.loads(site.call("list", "--json").out)["targets"]["support"]["pending"] == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("pause", "nobody"), "there is no target 'nobody'; targets: support, accounts"),
        (("resume", "nobody"), "there is no target"),
        (("pause", "support", "--for", "2"), "--for: "),
        (("pause", "support", "--for", "0s"), "no time"),
        (("pause", "support", "--reason", "x" * 201), "too long"),
        (("resume", "support", "--rate", "fast"), "write 100/s"),
        (("resume", "support", "--rate", "0/s"), "is no rate"),
        (("resume", "support", "--rate", "1000000/s"), "out of range"),
    ],
)
def test_what_cannot_be_done_is_wrong_usage(site: Site, arguments: tuple[str, ...], complaint: str) -> None:
    called = site.call(*arguments)
    assert called.code == 2
    assert complaint in called.err
    assert json.loads(site.call("list", "--json").out)["targets"]["support"]["state"] == "stopped"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_state_is_left_alone(site: Site) -> None:
    site.store("support")
    os.chown(site.var / "spool", 12345, -1)
    called = site.call("pause", "support")
    assert called.code == 2
    assert "sudo -u" in called.err


@pytest.mark.parametrize("reason", ["moved to [/srv/two]", "[link=http://198.51.100.9]see[/link]"])
def test_a_reason_with_brackets_is_shown_as_it_is(reason: str, site: Site) -> None:
    """On a terminal."""
    assert site.call("pause", "support", "--reason", reason).code == 0
    shown = on_a_terminal([sys.executable, "-m", "gateway", "--config", str(site.config), "targets", "list"])
    assert reason in shown


def test_the_end_of_a_pause_is_whole_in_80_columns(site: Site) -> None:
    assert site.call("pause", "support", "--for", "30d").code == 0
    command = [sys.executable, "-m", "gateway", "--config", str(site.config), "targets", "list"]
    shown = on_a_terminal(command, columns=80)
    assert re.search(r" paused until \d{4}-\d\d-\d\d \d\d:\d\d UTC\W", shown)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            {"state": "paused", "pending": 2, "pause": {"until": None, "reason": "upgrade"}},
            "support: paused until resumed, upgrade; 2 deliveries wait\n→ gateway targets resume support",
        ),
        (
            {"state": "delivering", "pending": 1, "rate_per_second": 50},
            "support: delivering, 50/s until caught up; 1 delivery waits",
        ),
        ({"state": "stopped", "pending": 0}, "support: stopped"),
        ({"state": "open"}, "support: breaker open"),
    ],
)
def test_on_a_terminal_a_sentence_says_how_the_target_is_now(
    target: dict[str, object], sentence: str
) -> None:
    assert sentence_of("support", target, datetime(2026, 11, 23, 4, 32, tzinfo=UTC)) == sentence


@pytest.mark.parametrize(
    ("target", "note"),
    [
        (
            {"breaker": {"open": True, "state": "failing", "opened_at": "2026-11-23T04:31:18.250Z"}},
            "failing for 42 s",
        ),
        ({"pause": {"until": "2026-11-23T04:34:00.000Z", "reason": "upgrade"}}, "until 04:34 UTC, upgrade"),
        ({"pause": {"until": "2026-11-24T04:34:00.000Z", "reason": ""}}, "until 2026-11-24 04:34 UTC"),
        ({"pause": {"until": None, "reason": ""}}, "until resumed"),
        (
            {"pause": {"from": "2026-11-23T01:00:00.000Z", "until": None, "reason": "upgrade"}},
            "until resumed, upgrade, since 01:00 UTC",
        ),
    ],
)
def test_a_note_for_eyes_has_ages_for_times(target: dict[str, object], note: str) -> None:
    now = datetime(2026, 11, 23, 4, 32, 0, 250_000, tzinfo=UTC)
    assert note_of(target, now) == note


def on_a_terminal(command: list[str], *, columns: int = 160) -> str:
    """Return what a command prints on a terminal."""
    ours, theirs = os.openpty()
    environ = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "xterm"}
    subprocess.run(command, stdout=theirs, stdin=theirs, env=environ, check=True)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # EIO: the end of a terminal
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    return shown.decode()


@pytest.mark.parametrize(("at", "shown"), [(None, "-"), ("04:32:00.100", "now"), ("09:32:00.000", "5 h")])
def test_the_next_attempt_is_told_as_the_time_until_then(at: str | None, shown: str) -> None:
    now = datetime(2026, 11, 23, 4, 32, tzinfo=UTC)
    target = {
        "pending": 1,
        "oldest_seconds": 1.0,
        "dead_letters": 0,
        "next_attempt_at": None if at is None else f"2026-11-23T{at}Z",
    }
    assert cells_of("support", target, now)[4] == shown


def test_where_no_gateway_runs_the_stored_time_is_shown_and_resume_makes_it_due(site: Site) -> None:
    site.store("support")

    async def fail_once() -> None:
        async with open_sqlite_spool(site.var / "spool", LOOSE, metrics=Metrics(), now_ms=lambda: 0) as spool:
            (lease,) = await spool.lease("support", now_ms=1, limit=1, next_due_ms=lambda _: 1)
            record = AttemptRecord(
                number=1, at_ms=1, status=500, error="", duration_ms=1, response_excerpt=""
            )
            await spool.settle(lease, RetryLater(at_ms=FAR_MS, record=record))

    trio.run(fail_once)
    assert site.call("list").out.splitlines()[0].split("\t")[5] == "2100-01-01T00:00:00.000Z"
    assert site.call("resume", "support").code == 0
    assert json.loads(site.call("list", "--json").out)["targets"]["support"]["next_attempt_at"] is None


def test_a_target_that_another_gateway_has_is_not_to_be_discarded() -> None:
    """There `discard` is refused: the advice is to make the configurations alike."""
    lost = {"state": "unknown", "gateways": []}
    assert "gateway targets discard" in plain_note(lost)
    held = [{"gateway": "db-a:11", "state": "unknown"}, {"gateway": "db-b:12", "state": "delivering"}]
    said = plain_note({**lost, "gateways": held})
    assert "not in every gateway's configuration" in said
    assert "discard" not in said
