"""The gap ledger: bounded, counted as it happens, and still there after a restart."""

import json
from pathlib import Path

import pytest

from gateway.core.envelope import Envelope, parse_envelope
from gateway.telemetry import gap_ledger
from gateway.telemetry.gap_ledger import (
    FORGOTTEN_MS,
    SAMPLED_BYTES,
    SLOTS,
    GapLedger,
    Live,
)
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.state_file import StateFileError, write_state

AT_MS = 1_795_330_800_000


def body(
    *, waba: str = "1", phone: str = "2", field: str = "messages", at: int = AT_MS // 1000, pad: int = 0
) -> bytes:
    value = {
        "metadata": {"phone_number_id": phone, "display_phone_number": "49"},
        "messages": [{"id": "x", "timestamp": str(at), "text": {"body": "." * pad}}],
    }
    entry = {"id": waba, "changes": [{"field": field, "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def note(ledger: GapLedger, raw: bytes, at_ms: int, app: str = "main") -> tuple[Live, ...]:
    envelope = parse_envelope(raw)
    assert isinstance(envelope, Envelope)
    return ledger.note(app, envelope.changes, raw, at_ms)


def test_each_line_has_its_counts_its_interval_and_its_lag() -> None:
    ledger, metrics = GapLedger(), Metrics()
    ledger.count_in(metrics)
    for number in range(5):
        note(ledger, body(), AT_MS + 1500 + number * 2000)
        note(ledger, body(phone="3"), AT_MS + 1500 + number * 1000)
        ledger.fold(AT_MS + 1500 + number * 2000)
    second, first = sorted(ledger.slots(), key=lambda slot: slot.phone_number_id, reverse=True)
    assert (first.app, first.waba, first.phone_number_id, first.field) == ("main", "1", "2", "messages")
    assert (first.count, first.last_ms, first.usual_ms) == (5, AT_MS + 9500, 2000)
    assert (second.count, second.usual_ms) == (5, 1000)
    assert first.lag_ms == 9500
    (track,) = ledger.tracks()
    assert (track.received, track.last_ms, track.lag_at_ms) == (10, AT_MS + 9500, AT_MS + 9500)
    assert sum(track.hours.values()) == 10
    counted = metrics.notifications_total.labels("main", "whatsapp_business_account", "messages")
    assert counted.value == 10


def test_the_longest_quiet_is_remembered() -> None:
    ledger = GapLedger()
    for at_ms in (0, 1000, 91_000, 92_000):
        note(ledger, body(), AT_MS + at_ms)
        ledger.fold(AT_MS + at_ms)
    (track,) = ledger.tracks()
    assert track.longest_ms == 90_000


def test_no_number_of_accounts_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap_ledger, "KNOWN_WAYS", 50)
    ledger = GapLedger()
    for number in range(SLOTS + 300):
        note(ledger, body(phone=str(number)), AT_MS)
    note(ledger, body(phone="1" * 100), AT_MS)
    slots = ledger.slots()
    assert len(slots) == SLOTS + 1
    (rest,) = [slot for slot in slots if slot.phone_number_id == "other"]
    assert (rest.waba, rest.field, rest.count) == ("other", "messages", 301)
    assert sum(slot.count for slot in slots) == SLOTS + 301
    note(ledger, body(phone="new"), AT_MS + FORGOTTEN_MS + 1)
    assert len(ledger.slots()) == 1, "all others have not been heard of for so long"


def test_a_field_that_is_not_known_has_a_line_of_its_own_and_no_metric_of_its_own() -> None:
    ledger, metrics = GapLedger(), Metrics()
    ledger.count_in(metrics)
    note(ledger, body(field="brand_new"), AT_MS)
    note(ledger, body(field="n" * 1000), AT_MS)
    assert {slot.field for slot in ledger.slots()} == {"brand_new", "other"}
    assert [track.field for track in ledger.tracks()] == ["other"]
    assert metrics.notifications_total.labels("main", "whatsapp_business_account", "other").value == 2


def test_between_two_folds_a_bounded_part_of_the_bodies_is_held() -> None:
    ledger = GapLedger()
    for number in range(5):
        note(ledger, body(phone=str(number), pad=SAMPLED_BYTES // 2), AT_MS + 700)
        note(ledger, body(phone=str(number)), AT_MS + 700)
    ledger.fold(AT_MS + 1000)
    assert sum(slot.lag_ms == 700 for slot in ledger.slots()) == 1


def test_it_is_still_there_after_a_restart(tmp_path: Path) -> None:
    ledger, file = GapLedger(), tmp_path / "gap-ledger.json"
    note(ledger, body(phone="1"), AT_MS - 9000)
    lives = note(ledger, body(), AT_MS)
    ledger.delivered(lives, "support", AT_MS + 5)
    ledger.fold(AT_MS)
    write_state(file, ledger.content())
    assert file.stat().st_mode & 0o777 == 0o600

    other = GapLedger()
    other.load(file, apps=["another"])
    assert (other.slots(), other.tracks()) == ([], [])

    again, metrics = GapLedger(), Metrics()
    again.load(file, apps=["main"])
    again.count_in(metrics)
    assert again.content() == ledger.content()
    assert metrics.last_received_timestamp_seconds.labels("main", "messages").value == AT_MS / 1000
    note(again, body(), AT_MS + 3000)
    again.fold(AT_MS + 3000)
    slot, _ = again.slots()
    assert (slot.count, slot.usual_ms, slot.delivered) == (2, 3000, {"support": (1, AT_MS + 5)})
    counted = metrics.notifications_total.labels("main", "whatsapp_business_account", "messages")
    assert counted.value == 1, "a counter begins anew with its process"


def test_a_file_that_is_none_of_ours_is_told_and_one_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "gap-ledger.json"
    GapLedger().load(file, apps=["main"])
    file.write_bytes(b"{}")
    file.chmod(0o600)
    with pytest.raises(StateFileError, match="cannot be used"):
        GapLedger().load(file, apps=["main"])
    with pytest.raises(StateFileError, match="cannot be written"):
        write_state(tmp_path / "no" / "such", b"")


def test_what_targets_take_is_counted_once_a_notification() -> None:
    ledger = GapLedger()
    (live,) = note(ledger, body(), AT_MS)
    for number in range(70):
        ledger.delivered((live, live), f"target{number}", AT_MS + number)
    ledger.delivered((live,), "target0", AT_MS + 100)
    assert live.slot.delivered["target0"] == (2, AT_MS + 100)
    assert len(live.slot.delivered) == gap_ledger.TARGETS
