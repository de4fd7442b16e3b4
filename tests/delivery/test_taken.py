"""What a target takes stands in the lines of the gap ledger that it is about."""

import json

from msgspec.structs import replace

from gateway.core.envelope import Envelope, parse_envelope
from gateway.delivery.taken import note_taken
from gateway.telemetry.journal import Journal
from gateway.telemetry.whereabouts import Came
from tests.delivery.rig import EPOCH_MS, a_lease
from tests.telemetry.test_whereabouts import routed

CHANGES: list[dict[str, object]] = [{"field": field, "value": {}} for field in ("feed", "mention", "feed")]
RAW = json.dumps({"object": "page", "entry": [{"id": "7", "changes": CHANGES}]}).encode()


def noted(*, known: bool) -> Journal:
    """Return the journal of a process that has accepted it; not `known`: in a former life."""
    journal, envelope = Journal(), parse_envelope(RAW)
    assert isinstance(envelope, Envelope)
    slots = journal.gaps.note("main", envelope.changes, RAW, EPOCH_MS)
    if known:
        came = Came(EPOCH_MS, "main", "accepted", None, routed("support"), slots)
        journal.whereabouts.came(a_lease(RAW).notification_id, came)
    return journal


def taken(journal: Journal) -> dict[str, int]:
    return {slot.field: slot.delivered.get("support", (0, 0))[0] for slot in journal.gaps.slots()}


def test_a_whole_delivery_counts_once_in_each_line() -> None:
    for known in (True, False):
        journal = noted(known=known)
        note_taken(journal, a_lease(RAW), status=204, at_ms=EPOCH_MS + 9)
        assert taken(journal) == {"feed": 1, "mention": 1}
        [one] = journal.whereabouts.taken_by(a_lease(RAW).notification_id, ["support"]).values()
        assert (one.at_ms, one.attempt, one.status) == (EPOCH_MS + 9, 3, 204)


def test_a_selection_counts_in_its_own_lines() -> None:
    for known in (True, False):
        journal = noted(known=known)
        note_taken(journal, a_lease(RAW, selection=(1,)), status=200, at_ms=EPOCH_MS)
        assert taken(journal) == {"feed": 0, "mention": 1}


def test_what_is_no_envelope_counts_in_no_line() -> None:
    journal = noted(known=False)
    note_taken(journal, replace(a_lease(RAW), raw=b"not JSON"), status=200, at_ms=EPOCH_MS)
    assert taken(journal) == {"feed": 0, "mention": 0}
    assert journal.whereabouts.doing["support"].delivered == 1
