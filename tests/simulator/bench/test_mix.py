"""What is sent: new every time, shaped like Meta's, and each change to be told from every other."""

import json

import pytest

from gateway.core.envelope import Envelope, parse_envelope
from gateway.core.routing import Route, RoutingTable
from gateway.errors import UsageError
from gateway.simulator.bench.mix import (
    BATCH_CHANGES,
    DEFAULT_SHARES,
    MARK,
    MEANINGS,
    Template,
    expected_places,
    make_templates,
    number_pattern,
    parse_shares,
    stamp,
)

RUN = "abcdWXYZ"
NOW_MS = 1_795_400_000_000
ALL = make_templates(DEFAULT_SHARES, changes=1, large_bytes=3 * 1024 * 1024, now_ms=NOW_MS)


def of_kind(kind: str, *, changes: int = 1, large_bytes: int = 100_000) -> tuple[Template, ...]:
    return make_templates({kind: 1.0}, changes=changes, large_bytes=large_bytes, now_ms=NOW_MS)


@pytest.mark.parametrize("kind", [kind for kind in DEFAULT_SHARES if kind != "duplicates"])
def test_every_change_of_every_kind_is_read_and_numbered_in_its_order(kind: str) -> None:
    templates = [template for template in ALL if template.kind == kind]
    assert templates
    for template in templates:
        body = template.fill(stamp(RUN, 7, 0x1234))
        assert MARK not in body
        assert len(body) == len(template.body)
        envelope = parse_envelope(body)
        assert isinstance(envelope, Envelope)
        assert len(envelope.changes) == template.changes
        found = number_pattern(RUN).findall(body)
        assert found == [(b"07", b"%010x" % 0x1234, b"%03x" % place) for place in range(template.changes)]


def test_two_fillings_of_one_template_share_no_id() -> None:
    (template, *_) = of_kind("messages")
    one, other = (json.loads(template.fill(stamp(RUN, 0, number))) for number in (0, 1))
    ids = [body["entry"][0]["changes"][0]["value"]["messages"][0]["id"] for body in (one, other)]
    assert ids[0] != ids[1]
    assert all(id_.startswith("wamid.") for id_ in ids)


def test_the_same_arguments_make_the_same_bodies_in_every_process() -> None:
    assert make_templates(DEFAULT_SHARES, changes=1, large_bytes=3 * 1024 * 1024, now_ms=NOW_MS) == ALL


@pytest.mark.parametrize("size", [1024, 20_000, 1_000_000, 3 * 1024 * 1024])
def test_a_large_body_has_exactly_its_size(size: int) -> None:
    (template,) = of_kind("large", large_bytes=size)
    assert len(template.body) == size
    assert template.changes == max(1, min(1000, size // 1024))


def test_batches_changes_and_unicode_are_as_asked_for() -> None:
    assert {template.changes for template in of_kind("batches")} == {BATCH_CHANGES}
    assert {template.changes for template in of_kind("statuses", changes=7)} == {7}
    (unicode,) = of_kind("unicode")
    assert rb"\ud83d\ude00" in unicode.body
    assert unicode.body.isascii()


def test_only_what_has_a_share_is_made() -> None:
    assert {template.kind for template in of_kind("fields")} == {"fields"}


def test_what_must_arrive_is_what_the_routes_give_to_the_target() -> None:
    table = RoutingTable(
        [Route(to=("bench",), kind=("status",)), Route(to=("other",))],
        payload_original=frozenset(),
        drop_unrouted=False,
    )
    (batch,) = of_kind("batches")
    places = expected_places(batch, app="main", table=table, target="bench")
    envelope = parse_envelope(batch.body)
    assert isinstance(envelope, Envelope)
    assert places == tuple(at for at, change in enumerate(envelope.changes) if "status" in change.kinds)
    assert 0 < len(places) < BATCH_CHANGES
    assert expected_places(batch, app="main", table=table, target="other") == tuple(range(BATCH_CHANGES))
    assert expected_places(batch, app="main", table=table, target="nobody") == ()


def test_shares_are_read_and_what_is_not_named_is_not_sent() -> None:
    assert parse_shares("statuses=70, large=0.5") == {"statuses": 70.0, "large": 0.5}


@pytest.mark.parametrize("text", ["", "statuses", "statuses=", "nothing=1", "statuses=-1", "statuses=x"])
def test_a_share_that_cannot_be_read_is_told_with_the_kinds_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="kinds: statuses, messages"):
        parse_shares(text)


@pytest.mark.parametrize("text", ["duplicates=1", "statuses=0"])
def test_a_mix_of_nothing_new_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="nothing is left to send"):
        parse_shares(text)


def test_every_kind_has_its_meaning() -> None:
    assert MEANINGS.keys() == DEFAULT_SHARES.keys()
