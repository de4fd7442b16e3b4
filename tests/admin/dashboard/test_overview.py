"""One moment of the gateway as a value: what is not there is shown as not known."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.dashboard.changes import change_rows
from gateway.admin.dashboard.history import History
from gateway.admin.dashboard.overview import (
    REFUSALS_SHOWN,
    Facts,
    line_rows,
    make_overview,
    refusal_rows,
    target_rows,
)
from gateway.admin.dashboard.verdict import Level

NOW_MS = 1_795_000_000_000
AT = "2026-11-18T11:06:30.000Z"
"""Ten seconds before."""


def test_a_gateway_that_says_nothing_still_has_a_page() -> None:
    overview = make_overview(Facts(now_ms=NOW_MS), History())
    assert (len(overview.targets), len(overview.fields), len(overview.certificates)) == (0, 0, 0)
    assert overview.verdict.level is Level.BAD, "it does not say how it is"


def test_targets_in_trouble_come_first_and_the_others_as_configured() -> None:
    states = {"_unrouted": "", "a": "delivering", "b": "paused", "c": "open", "d": "delivering"}
    targets: dict[str, Any] = {name: {"state": state} for name, state in states.items()}
    rows = list(target_rows(Facts(now_ms=NOW_MS, status={"targets": targets}), History()))
    assert [row.name for row in rows] == ["c", "b", "a", "d", "_unrouted"]
    overview = make_overview(Facts(now_ms=NOW_MS, status={"targets": targets}), History())
    assert "of 4 targets" in overview.verdict.answers[2].word, "what no route takes is no target"


def test_a_target_is_told_whole() -> None:
    target = {
        "state": "paused",
        "pending": 3,
        "pending_bytes": 30,
        "oldest_seconds": 1.5,
        "breaker": {"open": False, "state": "delivering", "opened_at": None},
        "pause": {"from": AT, "until": None, "reason": "deploy"},
        "last_error": {"at": AT, "status": None, "error": "connection refused"},
        "next_give_up_at": AT,
        "last_delivered_at": AT,
        "dead_letters": 7,
    }
    facts = Facts(now_ms=NOW_MS, status={"targets": {"support": target}})
    overview = make_overview(facts, History())
    (row,) = overview.targets
    assert (row.level, row.pause, row.error, row.breaker) == (
        Level.WATCH, "deploy", "connection refused", "closed",
    )  # fmt: skip
    assert row.since_ms == row.error_at_ms == row.give_up_ms == row.delivered_ms == NOW_MS - 10_000
    assert overview.dead_letters == {"support": 7}


def test_fields_and_conditions_are_the_ledgers() -> None:
    ledger = {
        "conditions": [
            {
                "condition": "meta_silent",
                "summary": "meta is silent",
                "since": AT,
                "evidence": ["e"],
                "next_steps": ["n"],
            }
        ],
        "fields": [
            {
                "app": "main",
                "object": "page",
                "field": "feed",
                "received": 4,
                "last_received_at": AT,
                "usual_interval_seconds": 2.5,
                "lag_seconds": None,
                "silence": {"judgement": "suspicious", "seconds": 10.0, "missed": 31.0},
            }
        ],
    }
    overview = make_overview(Facts(now_ms=NOW_MS, ledger=ledger), History())
    (row,) = overview.fields
    assert (row.field, row.level, row.missed, row.last_ms) == ("feed", Level.BAD, 31.0, NOW_MS - 10_000)
    (condition,) = overview.verdict.conditions
    assert (condition.summary, condition.evidence, condition.next_steps) == ("Meta is silent", ("e",), ("n",))
    assert "Meta has stopped sending." in overview.verdict.sentence


def test_lines_of_the_gap_ledger_tell_who_took_what() -> None:
    line = {
        "app": "main",
        "waba": "1",
        "phone_number_id": "2",
        "field": "messages",
        "received": 9,
        "last_received_at": AT,
        "usual_interval_seconds": None,
        "lag_seconds": 0.4,
        "delivered": {"support": {"count": 8, "last_at": AT}},
    }
    (row,) = line_rows({"lines": [line]})
    assert row.delivered == (("support", 8, NOW_MS - 10_000),)


def test_certificates_stand_on_one_scale_and_the_first_to_end_first() -> None:
    anchor = {"sha256": "ab" * 32, "client": "meta", "subject": "CN=Meta\\, CA,O=Meta", "last_seen_at": AT}
    terms = {"server": 9, "ab" * 8: 4000, "client:meta": -1}
    certificates = [
        {"name": name, "not_after": f"{2026 + (days > 1000) * 11}-11-{18 + max(-1, min(days, 9))}T11:06:40Z"}
        for name, days in terms.items()
    ]
    facts = Facts(now_ms=NOW_MS, edge={"anchors": [anchor], "certificates": certificates})
    rows = make_overview(facts, History()).certificates
    assert [row.name for row in rows] == ["client:meta", "server", "ab" * 8]
    assert [row.level for row in rows] == [Level.BAD, Level.WATCH, Level.GOOD]
    assert rows[0].place == 0
    assert (rows[2].place, rows[2].beyond) == (100.0, True)
    assert rows[2].what == "trust anchor of meta: Meta\\, CA"
    assert rows[2].seen_ms == NOW_MS - 10_000


def test_refusals_say_who_and_the_gravest_stand_out() -> None:
    edge = {
        "refusals": [
            {"kind": "request", "app": "main", "status": 401, "proved": True, "claims": "meta"},
            {"kind": "request", "app": "main", "status": 200, "claims": None},
            {"kind": "connection", "connection": "closed", "claims": "meta"},
            {"kind": "connection", "connection": "closed"},
        ]
    }
    rows = list(refusal_rows(edge))
    assert [row.level for row in rows] == [Level.BAD, Level.WATCH, Level.WATCH, Level.IDLE]
    assert [row.who for row in rows] == [
        "proved to be meta", "a stranger", "bears the name of meta", "a stranger",
    ]  # fmt: skip
    assert rows[1].where == "request to main, admitted all the same (report)"
    many = make_overview(Facts(now_ms=NOW_MS, edge={"refusals": edge["refusals"] * 5}), History())
    assert (len(many.refusals), many.more_refusals) == (REFUSALS_SHOWN, 20 - REFUSALS_SHOWN)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    )
)
def test_no_line_of_an_audit_log_that_was_edited_makes_it_stumble(value: object) -> None:
    line: dict[str, Any] = {
        "at": value,
        "action": value,
        "by": value,
        "ids": value,
        "problems": value,
        "x": value,
    }
    assert len(list(change_rows([line]))) == 1
