"""All samples of Meta's webhooks go through: parsed, routed by their field, cut."""

from collections import Counter
from pathlib import Path

import pytest

from gateway.core.envelope import Envelope, cut, parse_envelope
from gateway.core.fields import metric_field
from gateway.core.patient_reader import read_patiently
from gateway.core.routing import UNROUTED, Route, RoutingTable

PAYLOADS = Path(__file__).parents[1] / "data/payloads"
SAMPLES = sorted(path for path in PAYLOADS.glob("*/*.json") if not path.parent.name.startswith("_"))
ROUTING = RoutingTable(
    [
        Route(to=("everything",), field=("*",)),
        Route(to=("statuses",), kind=("status",)),
        Route(to=("numbers",), phone_number_id=("541870239965418",)),
        Route(to=("wabas",), waba=("735190284461207",)),
    ],
    payload_original=frozenset(),
    drop_unrouted=False,
)
FIELD_OF_FILE = {
    "instagram/messages_story_mention": "messages",
    "instagram/messaging_seen": "message_reads",
    "user/photos_include_values": "photos",
    "permissions/connected_revoked": "connected",
    "permissions/granted": "instagram_basic",
    "whatsapp_business_account/dashboard_test_array": "phone_number_name_update",
    "whatsapp_business_account/unknown_future_field": "field_that_does_not_exist_yet",
}
"""Samples whose file is not named for their field."""


def key(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def expected_field(path: Path) -> str:
    return FIELD_OF_FILE.get(key(path), path.stem.partition(".")[0])


def test_the_samples_are_there() -> None:
    assert len(SAMPLES) == 116


@pytest.mark.parametrize("path", SAMPLES, ids=key)
def test_each_sample_goes_through(path: Path) -> None:
    raw = path.read_bytes()
    envelope = parse_envelope(raw)
    assert isinstance(envelope, Envelope)
    assert envelope.changes
    assert read_patiently(raw) == envelope.changes
    assert {change.object for change in envelope.changes} == {path.parent.name}
    if not path.stem.startswith("batch.") and path.stem != "changed_fields_only":
        assert [change.field for change in envelope.changes] == [expected_field(path)]
    plan = ROUTING.plan("main", envelope)
    assert plan[0].target == "everything"
    assert plan[0].selection is None
    assert UNROUTED not in {delivery.target for delivery in plan}
    for delivery in plan:
        if delivery.selection is not None:
            part = parse_envelope(cut(raw, delivery.selection))
            assert isinstance(part, Envelope)
            assert part.changes == tuple(envelope.changes[position] for position in delivery.selection)


@pytest.mark.parametrize("path", SAMPLES, ids=key)
def test_the_known_table_knows_every_sample_but_the_one_from_the_future(path: Path) -> None:
    envelope = parse_envelope(path.read_bytes())
    assert isinstance(envelope, Envelope)
    labels = {metric_field(change.object, change.field) for change in envelope.changes}
    assert ("other" in labels) == (path.stem == "unknown_future_field")


@pytest.mark.parametrize("path", SAMPLES, ids=key)
def test_each_change_can_be_cut_out_alone_with_its_value_as_it_was(path: Path) -> None:
    raw = path.read_bytes()
    envelope = parse_envelope(raw)
    assert isinstance(envelope, Envelope)
    step = max(1, len(envelope.changes) // 20)
    for position in range(0, len(envelope.changes), step):
        part = parse_envelope(cut(raw, [position]))
        assert isinstance(part, Envelope)
        assert part.changes == (envelope.changes[position],)


def test_the_batch_of_1000_updates_is_1000_changes() -> None:
    raw = (PAYLOADS / "whatsapp_business_account/batch.1000_updates_one_entry.json").read_bytes()
    envelope = parse_envelope(raw)
    assert isinstance(envelope, Envelope)
    assert len(envelope.changes) == 1000
    assert Counter(change.kinds for change in envelope.changes) == Counter({frozenset({"status"}): 1000})


@pytest.mark.parametrize(
    ("sample", "kinds"),
    [
        ("messages.text", {"message"}),
        ("messages.unsupported", {"message"}),
        ("messages.status_failed", {"status"}),
        ("messages.errors_out_of_band", {"error"}),
        ("standby", {"message"}),
        ("standby.status", {"status"}),
        ("calls.status", {"status"}),
        ("calls.connect", {"other"}),
        ("message_echoes", {"other"}),
        ("account_update.partner_added", {"other"}),
    ],
)
def test_the_kinds_of_samples(sample: str, kinds: set[str]) -> None:
    envelope = parse_envelope((PAYLOADS / f"whatsapp_business_account/{sample}.json").read_bytes())
    assert isinstance(envelope, Envelope)
    assert envelope.changes[0].kinds == kinds


@pytest.mark.parametrize("path", sorted((PAYLOADS / "_graph_api").glob("*.json")), ids=key)
def test_what_is_no_notification_is_a_body_without_changes(path: Path) -> None:
    assert parse_envelope(path.read_bytes()) == Envelope(changes=())
