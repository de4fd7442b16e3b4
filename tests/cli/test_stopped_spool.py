"""Commands where no gateway runs, with the files of two workers in the spool directory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio

from gateway.cli.output import options
from gateway.clock import unix_ms
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.seal_key import load_or_make_seal_key
from gateway.spool.contract import Done
from gateway.spool.lock import DirectoryLock
from gateway.spool.sqlite import SqliteOptions, open_worker_spool
from gateway.telemetry.metrics import Metrics
from tests.cli.calling import Called, call, initialise
from tests.delivery.rig import a_letter, notification
from tests.stories.rig import message

KEEPING = SqliteOptions(
    duplicates_window_seconds=1, duplicates_max=0, min_free_bytes=0, keep_delivered_seconds=3600
)


class Site:
    """A configuration with one worker and the targets `support` and `accounts`; two had run before."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.var = directory / "x" / "var"
        self._config = initialise(capsys, directory / "x", "spool: {keep_delivered: 1h}\n")
        self._capsys = capsys
        self._stored = 0
        self.var.mkdir()

    def call(self, *arguments: str) -> Called:
        return call(self._capsys, "--config", str(self._config), *arguments)

    def store(
        self,
        worker: int,
        target: str,
        *,
        number: int = 0,
        ago_seconds: int = 0,
        at_ms: int = 0,
        deliver: bool = False,
    ) -> None:
        """Put one notification into the file of a worker, and perhaps have its target take it."""

        async def run() -> None:
            async with open_worker_spool(
                self.var / "spool", worker, KEEPING, metrics=Metrics(), now_ms=unix_ms
            ) as spool:
                self._stored += 1
                accepted_ms = at_ms or unix_ms() - ago_seconds * 1000
                body = message(f"wamid.{self._stored}")
                await spool.append(
                    notification(body, target, number=number or self._stored, received_at_ms=accepted_ms)
                )
                if deliver:
                    leases = await spool.lease(
                        target, now_ms=unix_ms(), limit=1, next_due_ms=lambda _: unix_ms()
                    )
                    await spool.settle_together([(lease, Done()) for lease in leases])

        trio.run(run)

    def pending(self) -> dict[int, dict[str, int]]:
        """Return what waits, by worker."""

        async def of(worker: int) -> dict[str, int]:
            async with open_worker_spool(
                self.var / "spool", worker, KEEPING, metrics=Metrics(), now_ms=unix_ms
            ) as spool:
                return dict(spool.pending())

        return {worker: trio.run(of, worker) for worker in (0, 1)}

    def listed(self) -> dict[str, dict[str, object]]:
        targets: dict[str, dict[str, object]] = json.loads(self.call("targets", "list", "--json").out)[
            "targets"
        ]
        return targets


@pytest.fixture
def site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    monkeypatch.setattr(options, "config", options.config)
    yield Site(tmp_path, capsys)
    structlog.reset_defaults()


def test_what_waits_is_counted_in_all_files_and_the_oldest_tells_the_age(site: Site) -> None:
    site.store(0, "support")
    site.store(1, "support", ago_seconds=600)
    site.store(1, "accounts")
    listed = site.listed()
    assert (listed["support"]["pending"], listed["accounts"]["pending"]) == (2, 1)
    assert listed["support"]["oldest_seconds"] == pytest.approx(600, abs=30)


def test_a_pause_and_its_end_are_written_into_all_files(site: Site) -> None:
    site.store(1, "support")
    assert site.call("targets", "pause", "support", "--reason", "deploy").code == 0

    async def states() -> list[tuple[str | None, float | None]]:
        found = []
        for worker in (0, 1):
            async with open_worker_spool(
                site.var / "spool", worker, KEEPING, metrics=Metrics(), now_ms=unix_ms
            ) as spool:
                (pause,) = (await spool.pauses())["support"]
                found.append((None if pause.until_ms else pause.reason, pause.rate_per_second))
        return found

    assert trio.run(states) == [("deploy", None), ("deploy", None)]
    resumed = site.call("targets", "resume", "support", "--rate", "30/s", "--json")
    assert json.loads(resumed.out)["support"]["rate_per_second"] == 30
    assert trio.run(states) == [(None, 30), (None, 30)], "shared by those who run then"


def test_a_lost_target_is_given_up_in_all_files(site: Site) -> None:
    for worker in (0, 1, 1):
        site.store(worker, "former")
    assert "3 would become" in site.call("targets", "discard", "former", "--dry-run").out
    done = site.call("targets", "discard", "former", "--yes", "--json")
    assert json.loads(done.out) == {"former": {"discarded": 3, "left": 0}}
    assert len(list((site.var / "dead-letter").rglob("*.json"))) == 3
    assert site.pending() == {0: {}, 1: {}}


def test_what_is_kept_in_any_file_is_sent_again_from_the_time_asked_for(site: Site) -> None:
    for worker in (0, 1):
        site.store(worker, "support", ago_seconds=1800, deliver=True)
        site.store(worker, "support", ago_seconds=60, deliver=True)
        site.store(worker, "support", ago_seconds=30, deliver=True)
    again = ("replay", "--target", "support", "--include-delivered", "--json")
    rehearsed = site.call(*again, "--since", "1h", "--dry-run")
    assert json.loads(rehearsed.out)["counts"] == {"would_replay": 6}
    assert json.loads(site.call(*again, "--since", "10m").out)["counts"] == {"replayed": 4}
    assert site.pending() == {0: {"support": 2}, 1: {"support": 2}}


def test_a_dead_letter_whose_delivery_waits_in_any_file_is_not_added_twice(site: Site) -> None:
    store = DeadLetterStore(site.var / "dead-letter", load_or_make_seal_key(site.var / "seal.key"))
    store.prepare()
    waits, new = (a_letter(number=number, received_at_ms=unix_ms()) for number in (101, 102))
    for letter in (waits, new):
        store.write(letter)
    site.store(0, "accounts")
    site.store(1, "support", number=101, at_ms=waits.received_at_ms)
    called = site.call("dead-letters", "replay", "--all", "--json")
    results = {id_: one["result"] for id_, one in json.loads(called.out)["results"].items()}
    assert results == {waits.id: "pending", new.id: "replayed"}
    assert site.pending() == {0: {"accounts": 1, "support": 1}, 1: {"support": 1}}


def test_somebody_elses_lock_is_respected(site: Site) -> None:
    site.store(1, "support")
    with DirectoryLock(site.var / "spool"):
        called = site.call("targets", "list")
    assert called.code == 1
    assert "is in use by process" in called.err
