"""Facts of one process or several: judged, told once when it begins and once when it ends, and shown."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from gateway.core.conditions import Grade, Name, TurnedAway
from gateway.core.heard import Heard, Slot
from gateway.core.silence import DAY_MS
from gateway.errors import SpoolUnavailableError
from gateway.process.observing import (
    JUDGE_EVERY_SECONDS,
    STORE_EVERY_SECONDS,
    Facts,
    GapKeeper,
    Observer,
    facts_of,
    merge_facts,
)
from gateway.telemetry.gap_ledger import GapLedger
from gateway.telemetry.journal import Journal
from gateway.telemetry.metrics import Metrics
from tests.telemetry.test_gap_ledger import AT_MS, body, note

NOW_MS = 20_800 * DAY_MS
MINUTE_MS = 60_000
OPEN = {
    "state": "open",
    "pending": 3,
    "oldest_seconds": 9.0,
    "breaker": {"open": True, "state": "refusing", "opened_at": "2026-01-01T00:00:00.000Z"},
    "last_error": {"at": "2026-01-01T00:00:01.000Z", "status": 422, "error": ""},
    "delivered": 7,
    "last_delivered_at": None,
    "next_give_up_at": None,
}


def track(*, silent_ms: int = 0, app: str = "main", **changes: Any) -> Heard:
    usual = {
        "object": "whatsapp_business_account",
        "field": "messages",
        "first_ms": NOW_MS - 3 * DAY_MS,
        "last_ms": NOW_MS - silent_ms,
        "received": 5000,
        "usual_ms": 30_000.0,
        "longest_ms": MINUTE_MS,
    }
    return Heard(app=app, **{**usual, **changes})


@dataclass
class Site:
    """A gateway whose facts are what a test says."""

    facts: Facts = field(
        default_factory=lambda: Facts(listening_since_ms=0, tracks=[track()], turned_away=[], slots=[])
    )
    targets: dict[str, Any] = field(default_factory=dict)
    now_ms: int = NOW_MS
    fault: SpoolUnavailableError | None = None

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.observer = Observer(
            self.gather,
            status=self.status,
            apps=lambda: ["main"],
            metrics=self.metrics,
            now_ms=lambda: self.now_ms,
        )

    async def gather(self, with_slots: bool) -> Facts:
        del with_slots
        if self.fault is not None:
            raise self.fault
        return self.facts

    async def status(self) -> dict[str, Any]:
        return {"targets": self.targets}

    def conditions(self) -> dict[str, float]:
        return {
            line.split('"')[1]: float(line.rsplit(" ", 1)[1])
            for line in self.metrics.render().decode().splitlines()
            if line.startswith("meta_gateway_condition{")
        }


async def test_a_condition_is_told_when_it_begins_and_when_it_ends_and_not_in_between() -> None:
    site = Site()
    assert site.conditions() == dict.fromkeys(Name, 0.0)
    with capture_logs() as lines:
        assert (await site.observer.report())["conditions"] == []
        site.facts.tracks = [track(silent_ms=DAY_MS)]
        site.targets = {"support": OPEN}
        for _ in range(3):
            await site.observer.report()
        assert site.conditions() == {"meta_silent": 1.0, "gateway_refusing": 0.0, "target_failing": 1.0}
        site.facts.tracks, site.targets = [track()], {}
        await site.observer.report()
    told = [(line["event"], line["condition"], line["field"], line["target"]) for line in lines]
    assert told == [
        ("condition_began", "meta_silent", "messages", None),
        ("condition_began", "target_failing", None, "support"),
        ("condition_ended", "meta_silent", "messages", None),
        ("condition_ended", "target_failing", None, "support"),
    ]
    assert lines[2]["seconds"] == DAY_MS // 1000
    assert sum(site.conditions().values()) == 0


async def test_a_condition_goes_on_since_it_began_though_its_evidence_ages() -> None:
    site = Site()
    for minute in (0, 10, 20):
        now_ms = site.now_ms = NOW_MS + minute * MINUTE_MS
        site.facts.turned_away = [
            TurnedAway(app="main", word="signature", grade=Grade.PROVED, times_ms=[now_ms - MINUTE_MS] * 3)
        ]
        report: Any = await site.observer.report()
    [one] = report["conditions"]
    assert one["since"] == "2026-12-12T23:59:00.000Z"
    assert (one["condition"], one["reason"], one["app"]) == ("gateway_refusing", "signature", "main")


async def test_an_app_that_is_no_longer_configured_is_neither_judged_nor_shown() -> None:
    site = Site()
    site.facts.tracks = [track(app="former", silent_ms=DAY_MS), track()]
    report: Any = await site.observer.report()
    assert report["conditions"] == []
    assert [one["app"] for one in report["fields"]] == ["main"]


async def test_the_lag_is_that_of_the_latest_and_an_old_one_is_no_metric() -> None:
    site = Site()
    site.facts.tracks = [
        track(field="messages", lag_ms=900, lag_at_ms=NOW_MS - 5000),
        track(field="calls", lag_ms=2500, lag_at_ms=NOW_MS - 1000),
    ]
    await site.observer.report()
    text = site.metrics.render().decode()
    assert 'meta_gateway_meta_lag_seconds{app="main"} 2.5' in text
    assert 'meta_gateway_usual_interval_seconds{app="main",field="calls"' in text
    site.now_ms += 20 * MINUTE_MS
    await site.observer.report()
    assert "meta_gateway_meta_lag_seconds{" not in site.metrics.render().decode()


async def test_it_watches_by_itself_and_outlives_a_moment_without_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    site = Site(fault=SpoolUnavailableError("no worker answers now"))
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.observer.watch)
            await trio.sleep(1)
            site.fault, site.targets = None, {"support": OPEN}
            await trio.sleep(JUDGE_EVERY_SECONDS)
            nursery.cancel_scope.cancel()
    assert [line["event"] for line in lines] == ["conditions_not_judged", "condition_began"]
    assert lines[1]["summary"] == "target support refuses everything"
    assert "the last attempt failed: 422" in lines[1]["evidence"]


async def test_lines_beyond_what_a_page_bears_are_counted() -> None:
    site = Site()
    site.facts.slots = [
        Slot(
            app="main",
            object="page",
            field="feed",
            waba=str(number),
            phone_number_id="",
            first_ms=NOW_MS,
            last_ms=NOW_MS,
            delivered={"support": (2, NOW_MS)},
        )
        for number in range(600)
    ]
    report: Any = await site.observer.report()
    assert (len(report["lines"]), report["lines_left_out"]) == (500, 100)
    assert report["lines"][0]["delivered"]["support"]["count"] == 2


def test_what_several_workers_know_is_one_ledger() -> None:
    away = TurnedAway(app="main", word="signature", grade=Grade.PROVED, times_ms=[5, 9])
    other = TurnedAway(app="main", word="signature", grade=Grade.PROVED, times_ms=[7])
    both = merge_facts(
        [
            Facts(listening_since_ms=10, tracks=[track()], turned_away=[away]),
            Facts(listening_since_ms=20, tracks=[track(), track(field="calls")], turned_away=[other]),
        ]
    )
    assert both.listening_since_ms == 10
    assert [(one.field, one.received) for one in both.tracks] == [("messages", 10_000), ("calls", 5000)]
    assert [one.times_ms for one in both.turned_away] == [[5, 7, 9]]


async def test_the_ledger_is_folded_and_stored_now_and_again_and_at_the_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.2  # the file is written by a thread, which takes its own time
    file, ledger = tmp_path / "gap-ledger.json", GapLedger()
    keeper = GapKeeper(ledger, file, now_ms=lambda: AT_MS)
    keeper.restore(apps=["main"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        note(ledger, body(), AT_MS)
        await trio.sleep(STORE_EVERY_SECONDS / 2)
        assert ledger.tracks()[0].received == 1
        assert not file.exists()
        await trio.sleep(STORE_EVERY_SECONDS)
        first = file.read_bytes()
        note(ledger, body(phone="3"), AT_MS + 1)
        nursery.cancel_scope.cancel()
    assert file.read_bytes() != first
    again = GapLedger()
    again.load(file, apps=["main"])
    assert len(again.slots()) == 2


async def test_a_file_that_cannot_be_used_is_told_and_stops_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    file, ledger = tmp_path / "gap-ledger.json", GapLedger()
    file.mkdir()
    keeper = GapKeeper(ledger, file, now_ms=lambda: AT_MS)
    with capture_logs() as lines:
        keeper.restore(apps=["main"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            note(ledger, body(), AT_MS)
            await trio.sleep(STORE_EVERY_SECONDS * 1.5)
            nursery.cancel_scope.cancel()
    assert {line["event"] for line in lines} == {"gap_ledger_unusable"}
    assert len(lines) >= 2


@pytest.mark.parametrize("with_slots", [True, False])
def test_facts_are_as_of_now(with_slots: bool) -> None:
    journal = Journal()
    note(journal.gaps, body(), AT_MS)
    facts = facts_of(journal, listening_since_ms=1, now_ms=AT_MS, with_slots=with_slots)
    assert facts.tracks[0].received == 1
    assert len(facts.slots) == int(with_slots)
