"""What several workers, or several gateways, say is one answer."""

from typing import Any

from gateway.admin.health import Check
from gateway.core.conditions import TargetSeen
from gateway.process.merging import merge_edges, merge_health, merge_status, merge_targets_seen

WELL = {"listener": Check(ok=True), "spool": Check(ok=True)}
FULL = {"listener": Check(ok=True), "spool": Check(ok=False, detail="the disk is full")}
DEAF = {"listener": Check(ok=False, detail="not listening"), "spool": Check(ok=True)}


def is_ready(checks: Any) -> bool:
    return all(check.ok for check in checks.values())


def test_one_worker_that_serves_is_enough_and_the_others_are_told() -> None:
    checks = merge_health({0: FULL, 1: WELL}, total=2, draining=False, reload_refused="")
    assert is_ready(checks)
    assert checks["spool"].detail == "worker 0: the disk is full"
    assert checks["workers"] == Check(ok=True, detail="1 of 2 serve")
    assert (
        merge_health({0: WELL, 1: WELL}, total=2, draining=False, reload_refused="")["workers"].detail == ""
    )


def test_parts_of_two_workers_do_not_make_one_that_serves() -> None:
    checks = merge_health({0: FULL, 1: DEAF}, total=2, draining=False, reload_refused="")
    assert not is_ready(checks)
    assert not checks["workers"].ok
    assert not checks["spool"].ok


def test_without_any_worker_or_while_draining_nothing_is_ready() -> None:
    checks = merge_health({}, total=2, draining=False, reload_refused="")
    assert not is_ready(checks)
    assert checks["listener"].detail == "no worker serves"
    assert not is_ready(merge_health({0: WELL}, total=1, draining=True, reload_refused=""))


def test_a_refused_reload_is_told_and_takes_nothing_away() -> None:
    checks = merge_health({0: WELL}, total=1, draining=False, reload_refused="it was refused")
    assert is_ready(checks)
    assert checks["configuration"].detail == "it was refused"


def test_a_target_is_as_it_is_where_it_is_worst_and_what_waits_is_added() -> None:
    well = {
        "state": "delivering",
        "pending": 3,
        "pending_bytes": 30,
        "oldest_seconds": 1.0,
        "dead_letters": 0,
        "next_attempt_at": "2026-11-23T03:00:00.000Z",
        "breaker": "closed",
        "delivered": 5,
        "last_delivered_at": "2026-01-01T00:00:02Z",
        "next_give_up_at": None,
    }
    bad = {
        "state": "open",
        "pending": 4,
        "pending_bytes": 40,
        "oldest_seconds": 9.0,
        "dead_letters": 0,
        "next_attempt_at": "2026-11-23T04:00:00.000Z",
        "breaker": "open",
        "delivered": 2,
        "last_delivered_at": "2026-01-01T00:00:01Z",
        "next_give_up_at": "2026-01-08T00:00:00Z",
    }
    idle = {"delivered": 0, "last_delivered_at": None, "next_give_up_at": None}
    lost = {"pending": 2, "pending_bytes": 20, "oldest_seconds": 3.0, "dead_letters": 0}
    merged = merge_status(
        [{"targets": {"a": well, "b": well}}, {"targets": {"a": bad, "b": well, "gone": lost}}],
        {"a": 7, "_unrouted": 1},
    )
    assert merged["targets"]["a"] == {
        **bad,
        "pending": 7,
        "pending_bytes": 70,
        "oldest_seconds": 9.0,
        "next_attempt_at": "2026-11-23T03:00:00.000Z",
        "dead_letters": 7,
        "delivered": 7,
        "last_delivered_at": "2026-01-01T00:00:02Z",
    }
    assert merged["targets"]["b"] == {**well, "pending": 6, "pending_bytes": 60, "delivered": 10}
    assert merged["targets"]["gone"] == {**lost, **idle, "next_attempt_at": None}
    assert merged["targets"]["_unrouted"] == {
        "pending": 0,
        "pending_bytes": 0,
        "oldest_seconds": 0.0,
        "next_attempt_at": None,
        "dead_letters": 1,
        **idle,
    }


def test_what_waits_in_a_spool_that_all_share_is_told_once() -> None:
    def part(pending: int, oldest_seconds: float, delivered: int) -> dict[str, Any]:
        seen = {"pending": pending, "pending_bytes": 10 * pending, "oldest_seconds": oldest_seconds}
        return {"targets": {"a": {"state": "delivering", "delivered": delivered, **seen}}}

    [merged] = merge_status([part(4, 2.0, 1), part(3, 2.1, 2)], {}, shared_spool=True)["targets"].values()
    assert (merged["pending"], merged["pending_bytes"], merged["oldest_seconds"]) == (4, 40, 2.1)
    assert merged["delivered"] == 3, "each tells of its own"
    alone = merge_status([], {"a": 1}, shared_spool=True)["targets"]["a"]
    assert (alone["pending"], alone["pending_bytes"]) == (0, 0)


def test_of_the_errors_of_a_target_the_latest_is_told_wherever_it_was() -> None:
    def part(state: str, at: str | None) -> dict[str, Any]:
        error = None if at is None else {"at": at, "status": 503, "error": ""}
        return {"targets": {"a": {"state": state, "oldest_seconds": 0.0, "last_error": error}}}

    newest = "2026-01-02T03:04:06.000Z"
    parts = [part("open", "2026-01-02T03:04:05.000Z"), part("delivering", newest), part("delivering", None)]
    assert merge_status(parts, {})["targets"]["a"]["last_error"]["at"] == newest
    assert merge_status(parts, {})["targets"]["a"]["state"] == "open"
    assert merge_status([part("open", None)], {})["targets"]["a"]["last_error"] is None


def edge(seen: str | None, used: str | None, notifications: int, *refused_at: str) -> dict[str, Any]:
    return {
        "anchors": [{"client": "meta", "sha256": "ab", "last_seen_at": seen}],
        "secrets": [{"app": "main", "index": 0, "last_used_at": used}],
        "certificates": [{"name": "server", "not_after": "2027-01-01T00:00:00Z"}],
        "revocation_lists": [],
        "apps": {
            "main": {
                "recent": {"notifications": notifications, "without_accepted": 1},
                "client_certificate": "report",
            }
        },
        "refusals": [{"at": at} for at in refused_at],
    }


def test_the_edge_remembers_what_any_worker_has_seen() -> None:
    merged = merge_edges(
        [
            edge("2026-01-01T00:00:00Z", None, 3, "2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"),
            edge(None, "2026-01-02T00:00:00Z", 4, "2026-01-02T00:00:00Z"),
        ]
    )
    assert merged["anchors"][0]["last_seen_at"] == "2026-01-01T00:00:00Z"
    assert merged["secrets"][0]["last_used_at"] == "2026-01-02T00:00:00Z"
    assert merged["certificates"] == [{"name": "server", "not_after": "2027-01-01T00:00:00Z"}]
    assert merged["apps"]["main"]["recent"] == {"notifications": 7, "without_accepted": 2}
    assert [one["at"][:10] for one in merged["refusals"]] == ["2026-01-03", "2026-01-02", "2026-01-01"]


def test_of_configured_certificates_what_ends_first_is_told_and_of_clients_what_was_shown_last() -> None:
    def said(until: str) -> dict[str, Any]:
        names = ("server", "client:meta")
        return {**edge(None, None, 0), "certificates": [{"name": name, "not_after": until} for name in names]}

    early, late = said("2027-01-01T00:00:00Z"), said("2028-01-01T00:00:00Z")
    for order in ([early, late], [late, early]):
        ends = {one["name"]: one["not_after"][:4] for one in merge_edges(order)["certificates"]}
        assert ends == {"server": "2027", "client:meta": "2028"}


def test_a_target_fails_where_a_breaker_is_open_since_the_first_that_opened() -> None:
    def seen(state: str, opened_at_ms: int | None, delivered_ms: int | None = None) -> TargetSeen:
        return TargetSeen(
            name="a", state=state, opened_at_ms=opened_at_ms, refusing=False, pending=3, oldest_seconds=1.0,
            last_delivered_ms=delivered_ms,
        )  # fmt: skip

    parts = [[seen("delivering", None, 9)], [seen("open", 7)], [seen("open", 5, 8)]]
    for order in (parts, parts[::-1]):
        [merged] = merge_targets_seen(order)
        assert (merged.state, merged.opened_at_ms, merged.last_delivered_ms) == ("open", 5, 9)
    [paused] = merge_targets_seen([[seen("paused", 5)], [seen("paused", 6)]])
    assert paused.state == "paused"


def test_what_waits_in_a_spool_that_is_shared_is_not_added() -> None:
    parts = [
        {"targets": {"a": {"pending": 3, "pending_bytes": 30, "oldest_seconds": 1.0}}},
        {"targets": {"a": {"pending": 4, "pending_bytes": 40, "oldest_seconds": 1.0}}},
    ]
    merged = merge_status(parts, {}, shared_spool=True)["targets"]["a"]
    assert (merged["pending"], merged["pending_bytes"]) == (4, 40)
