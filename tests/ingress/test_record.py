"""What the public port counts and logs."""

from typing import get_args

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from gateway.core.conditions import Grade
from gateway.core.identity import Peer, Reason
from gateway.core.ids import new_notification_id
from gateway.core.signature import sign
from gateway.spool.contract import Room
from gateway.telemetry.ledger import ROOM
from gateway.telemetry.notification_lines import NotificationLog, is_told
from tests.ingress.rig import MESSAGE, META, NOW_MS, SECRET, VERIFY_TOKEN, Edge, meta_peer, unproved_peer


def numbered(number: int) -> bytes:
    """Return a notification unlike the others."""
    return MESSAGE.replace(b"wamid.x", f"wamid.{number}".encode())


async def test_accepted_changes_are_counted_by_object_and_known_field(edge: Edge) -> None:
    await edge.post()
    await edge.post(MESSAGE.replace(b'"field":"messages"', b'"field":"made_up_by_somebody"'))
    await edge.post(MESSAGE.replace(b'"whatsapp_business_account"', b'"made_up"'))
    name = "notifications_total"
    assert edge.sample(name, app="main", object="whatsapp_business_account", field="messages") == 1
    assert edge.sample(name, app="main", object="whatsapp_business_account", field="other") == 1
    assert edge.sample(name, app="main", object="other", field="other") == 1
    last = "last_received_timestamp_seconds"
    assert edge.sample(last, app="main", field="messages") == NOW_MS / 1000


async def test_every_answer_is_counted_by_app_and_status(edge: Edge) -> None:
    await edge.post()
    await edge.post(signature=[])
    await edge.post(peer=None)
    await edge.call("PUT", b"/webhooks/lax")
    await edge.call("GET", b"/webhooks/lax")
    await edge.post(path=b"/nowhere")
    counted = {
        (sample.labels["app"], sample.labels["status"]): sample.value
        for metric in edge.metrics.requests_total.collect()
        for sample in metric.samples
    }
    assert counted == {
        ("main", "200"): 1, ("main", "401"): 1, ("main", "403"): 1,
        ("lax", "405"): 1, ("lax", "400"): 1, ("none", "404"): 1,
    }  # fmt: skip


async def test_only_notifications_count_into_the_time_of_acknowledgement(
    edge: Edge, autojump_clock: trio.testing.MockClock
) -> None:
    async def pause() -> None:
        await trio.sleep(0.2)

    await edge.post(chunks=[b"", pause, MESSAGE])
    await edge.post(signature=[])
    await edge.call("GET", b"/webhooks/main")
    assert edge.sample("ack_seconds_count", app="main") == 1
    assert edge.sample("ack_seconds_bucket", app="main", le="0.1") == 0
    assert edge.sample("ack_seconds_bucket", app="main", le="0.25") == 1


@pytest.mark.parametrize(
    ("peer", "presented"),
    [
        (None, "none"),
        (unproved_peer(), "none"),
        (unproved_peer(Reason.EXPIRED), "refused"),
        (meta_peer("somebody_else"), "refused"),
        (META, "accepted"),
    ],
)
async def test_what_signed_notifications_presented_shows_what_required_would_do(
    edge: Edge, peer: Peer | None, presented: str
) -> None:
    await edge.post(path=b"/webhooks/lax", peer=peer, signature=[sign(b"guessed", MESSAGE).encode()])
    await edge.post(path=b"/webhooks/lax", peer=peer)
    counted = {
        sample.labels["presented"]: sample.value
        for metric in edge.metrics.client_certificates_total.collect()
        for sample in metric.samples
    }
    assert counted == {presented: 1}


async def test_a_refusal_is_noise_from_a_stranger_and_an_alarm_from_meta(edge: Edge) -> None:
    with capture_logs() as lines:
        await edge.post(peer=unproved_peer(Reason.WRONG_NAME))
        await edge.post(signature=[])
        await edge.post(path=b"/moved", peer=META)
    assert [
        (line["log_level"], line["app"], line["status"], line["reason"], line["detail"], line["proved"])
        for line in lines
    ] == [
        ("info", "main", 403, "client_certificate", "wrong_name", False),
        ("warning", "main", 401, "signature", "absent", True),
        ("warning", "none", 404, "unknown_path", "", True),
    ]
    assert lines[0]["address"] == "192.0.2.8"
    assert {line["event"] for line in lines} == {"request_refused"}


async def test_no_room_is_an_alarm_whoever_meets_it(edge: Edge) -> None:
    edge.spool.room_now = Room(free_bytes=0, total_bytes=1, enough=False, writable=True, detail="disk full")
    with capture_logs() as lines:
        await edge.post(path=b"/webhooks/lax", peer=None)
    assert [(line["log_level"], line["detail"]) for line in lines] == [("warning", "disk full")]


async def test_a_scanner_cannot_fill_the_disk_nor_hide_what_meta_is_refused(
    edge: Edge, autojump_clock: trio.testing.MockClock
) -> None:
    with capture_logs() as lines:
        for _ in range(1000):
            await edge.post(path=b"/.env", peer=None)
        assert len(lines) == 20
        await edge.post(path=b"/.env", peer=META)
        assert lines[-1]["proved"]
        await trio.sleep(60)
        await edge.post(path=b"/.env", peer=None)
    assert lines[-1]["suppressed"] == 980
    assert len(lines) == 22
    assert edge.sample("requests_total", app="none", status="404") == 1002


@pytest.mark.parametrize("setting", get_args(NotificationLog))
async def test_accepted_notifications_are_logged_as_configured(setting: NotificationLog) -> None:
    edge = Edge(log_notifications=setting)
    with capture_logs() as lines:
        for number in range(201):
            await edge.post(numbered(number))
    told = [one for one in edge.spool.stored if is_told(setting, one.id)]
    assert [line["notification"] for line in lines] == [one.id for one in told]
    assert len(told) in {"problems": range(1), "sample": range(1, 10), "all": range(201, 202)}[setting]
    if lines:
        assert lines[0] == {
            "event": "notification_accepted",
            "log_level": "info",
            "component": "ingress",
            "connection": "c-7",
            "notification": told[0].id,
            "app": "main",
            "address": "192.0.2.7",
            "changes": 1,
            "deliveries": 2,
            "bytes": len(told[0].body.raw),
        }


async def test_duplicates_are_logged_as_notifications_are() -> None:
    edge = Edge(log_notifications="all")
    with capture_logs() as lines:
        await edge.post()
        await edge.post()
    assert [line["event"] for line in lines] == ["notification_accepted", "duplicate"]


async def test_no_log_line_holds_content_or_secrets() -> None:
    edge = Edge(log_notifications="all")
    with capture_logs() as lines:
        await edge.post()
        await edge.post()
        await edge.post(signature=[sign(b"guessed", MESSAGE).encode()])
        query = b"hub.mode=subscribe&hub.challenge=4711&hub.verify_token="
        await edge.call("GET", b"/webhooks/main", query=query + VERIFY_TOKEN)
        await edge.call("GET", b"/webhooks/main", query=query + b"a-guess")
    assert len(lines) == 5
    told = repr(lines)
    for unsaid in (SECRET.decode(), VERIFY_TOKEN.decode(), "a-guess", "wamid", "4711", "1065", "sha256="):
        assert unsaid not in told


async def test_requests_refused_401_and_403_are_in_the_ledger_with_whom_they_came_from(edge: Edge) -> None:
    await edge.post(signature=[])
    await edge.post(peer=unproved_peer(Reason.WRONG_NAME))
    await edge.post(path=b"/.env", peer=None)
    await edge.post(headers=[(b"content-encoding", b"gzip")])
    stranger, meta = edge.journal.ledger.newest_first()
    assert (meta.status, meta.reason, meta.detail, meta.proved) == (401, "signature", "absent", True)
    assert (meta.app, meta.address, meta.claims) == ("main", "192.0.2.7", "meta")
    assert meta.leaf is not None
    assert (stranger.status, stranger.reason, stranger.detail) == (403, "client_certificate", "wrong_name")
    assert not stranger.proved
    assert {meta.kind, stranger.kind} == {"request"}


async def test_a_strangers_flood_of_401_does_not_wash_out_metas_own(edge: Edge) -> None:
    await edge.post(signature=[])
    for _ in range(300):
        await edge.post(path=b"/webhooks/lax", signature=[], peer=None)
    kept = edge.journal.ledger.newest_first()
    assert kept[-1].proved
    assert len(kept) == ROOM + 1


async def test_under_report_the_ledger_holds_what_required_would_refuse(edge: Edge) -> None:
    for peer in (META, unproved_peer(), unproved_peer(Reason.EXPIRED), meta_peer("somebody_else")):
        await edge.post(path=b"/webhooks/lax", peer=peer)
    kept = edge.journal.ledger.newest_first()
    assert [one.reason for one in kept] == ["client_of_another_app", "expired", "no_certificate"]
    assert {one.status for one in kept} == {200}
    assert all("required" in one.detail for one in kept)
    recent = edge.journal.recent["lax"]
    assert (recent.notifications, recent.without_accepted) == (4, 3)


async def test_what_is_not_signed_does_not_count_against_required(edge: Edge) -> None:
    await edge.post(path=b"/webhooks/lax", peer=None, signature=[])
    assert edge.journal.recent["lax"].notifications == 0
    assert edge.journal.ledger.newest_first()[0].status == 401


async def test_who_was_turned_away_is_graded_by_who_can_have_brought_it_about(edge: Edge) -> None:
    await edge.post(signature=[])  # Meta, proved
    await edge.post(path=b"/webhooks/lax", signature=[], peer=None)
    await edge.post(peer=unproved_peer())
    edge.spool.room_now = Room(free_bytes=0, total_bytes=1, enough=False, writable=True, detail="full")
    await edge.post()
    await edge.call("PUT", b"/webhooks/main")  # no notification of Meta's
    await edge.post(path=b"/.env", peer=None)
    assert {(kind.app, kind.word, kind.grade) for kind in edge.journal.turned_away.all()} == {
        ("main", "signature", Grade.PROVED),
        ("lax", "signature", Grade.CLAIMED),
        ("main", "client_certificate", Grade.CLAIMED),
        ("main", "unavailable", Grade.OURS),
    }


async def test_what_is_stored_stands_in_the_gap_ledger_and_can_be_followed_and_nothing_else(
    edge: Edge,
) -> None:
    await edge.post()
    await edge.post()  # a repeat
    await edge.post(signature=[])
    [slot] = edge.journal.gaps.slots()
    assert (slot.app, slot.field, slot.count, slot.last_ms) == ("main", "messages", 1, NOW_MS)
    notification_id = new_notification_id(NOW_MS, (1).to_bytes(10, "big"))
    came = edge.journal.whereabouts.of(notification_id)
    assert came is not None
    assert (came.app, came.presented, came.targets) == ("main", "accepted", ("support", "audit"))


async def test_strangers_who_crowd_each_other_out_are_no_fault_of_ours() -> None:
    edge = Edge(max_held_bytes=len(MESSAGE))
    assert (await edge.post(path=b"/webhooks/lax", peer=None)).status == 503
    edge.max_held_bytes = 1
    edge.__post_init__()
    assert (await edge.post()).status == 503
    assert {(kind.app, kind.word, kind.grade) for kind in edge.journal.turned_away.all()} == {
        ("lax", "unavailable", Grade.CLAIMED),
        ("main", "unavailable", Grade.OURS),
    }
