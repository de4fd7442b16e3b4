"""`gateway replay` where no gateway runs: on the spool itself. With one that runs: tests/stories."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio

from gateway.cli.output import options
from gateway.spool.contract import Done
from gateway.spool.sqlite import SqliteOptions, open_sqlite_spool
from gateway.telemetry.metrics import Metrics
from tests.cli.calling import Called, call, initialise
from tests.delivery.rig import notification
from tests.stories.rig import message

KEEPING = SqliteOptions(
    duplicates_window_seconds=1, duplicates_max=0, min_free_bytes=0, keep_delivered_seconds=3600
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Site:
    """A configuration with the targets `support` and `accounts`, and no gateway."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str], *, keep: str) -> None:
        self.var = directory / "x" / "var"
        self.config = initialise(capsys, directory / "x", f"spool: {{keep_delivered: {keep}}}\n")
        self._capsys = capsys

    def call(self, *arguments: str) -> Called:
        return call(self._capsys, "--config", str(self.config), "replay", *arguments)

    def on_spool(self, *, deliver: int = 0) -> dict[str, int]:
        """Have `support` take some notifications; return what waits."""

        async def run() -> dict[str, int]:
            async with open_sqlite_spool(
                self.var / "spool", KEEPING, metrics=Metrics(), now_ms=now_ms
            ) as spool:
                for number in range(deliver):
                    body = message(f"wamid.{number}")
                    await spool.append(notification(body, "support", number=number, received_at_ms=now_ms()))
                leases = await spool.lease(
                    "support", now_ms=now_ms(), limit=deliver, next_due_ms=lambda _: now_ms()
                )
                if leases:
                    await spool.settle_together([(lease, Done()) for lease in leases])
                return dict(spool.pending())

        self.var.mkdir(exist_ok=True)
        return trio.run(run)


@pytest.fixture
def site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    monkeypatch.setattr(options, "config", options.config)
    yield Site(tmp_path, capsys, keep="1h")
    structlog.reset_defaults()


def test_what_was_delivered_waits_again_when_asked_for(site: Site) -> None:
    assert site.on_spool(deliver=150) == {}
    rehearsed = site.call("--target", "support", "--since", "1h", "--include-delivered", "--dry-run")
    assert (rehearsed.code, rehearsed.out) == (0, "would_replay\t150\n")
    untaken = site.call("--target", "support", "--since", "1h", "--json")
    assert json.loads(untaken.out) == {"target": "support", "counts": {"delivered": 150}}
    assert site.on_spool() == {}
    done = site.call("--target", "support", "--since", "1h", "--include-delivered")
    assert (done.code, done.out) == (0, "replayed\t150\n")
    assert "no gateway runs" in done.err
    assert site.on_spool() == {"support": 150}
    lines = [json.loads(line) for line in (site.var / "audit.log").read_text().splitlines()]
    assert [(line["action"], line["include_delivered"]) for line in lines] == [
        ("replay_kept", False), ("replay_kept", True),
    ], "a rehearsal is no action"  # fmt: skip


def test_it_goes_at_the_rate_asked_for(site: Site) -> None:
    site.on_spool(deliver=20)
    started = time.monotonic()
    done = site.call("--target", "support", "--since", "1h", "--include-delivered", "--rate", "20/s")
    assert done.code == 0
    assert time.monotonic() - started >= 0.9


def test_nothing_that_matches_is_no_failure(site: Site) -> None:
    site.on_spool(deliver=1)
    called = site.call("--target", "support", "--since", "2h", "--until", "1h")
    assert (called.code, called.out) == (0, "")
    assert "nothing that is kept matches" in called.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--target", "nobody", "--since", "1h"), "there is no target 'nobody'; targets: support, accounts"),
        (("--target", "support", "--since", "1h", "--app", "x"), "there is no app 'x'"),
        (("--target", "support", "--since", "1h", "--kind", "x"), "write one of message, status"),
        (("--target", "support", "--since", "soon"), "--since 'soon' is no time"),
        (("--target", "support", "--since", "1h", "--until", "2h"), "--since is after --until"),
        (("--target", "support", "--since", "1h", "--rate", "0/s"), "write 100/s"),
        (("--target", "support"), "--since"),
    ],
)
def test_what_cannot_be_done_is_wrong_usage(site: Site, arguments: tuple[str, ...], complaint: str) -> None:
    called = site.call(*arguments)
    assert called.code == 2
    assert complaint in called.err
    assert not (site.var / "spool").exists()


def test_without_the_setting_it_says_what_to_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    called = Site(tmp_path, capsys, keep="0s").call("--target", "support", "--since", "1h")
    assert called.code == 2
    assert "spool.keep_delivered is 0s" in called.err
