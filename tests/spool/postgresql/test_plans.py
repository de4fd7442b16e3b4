"""However much waits, no statement walks through it: the plans that PostgreSQL makes of a large table.

A plan is the planner's own choice, by statistics: without a look at it, an index that is added for one
statement may lure another one away from its own.
"""

import pytest

from gateway.spool.postgresql.statements import STATEMENTS
from tests.postgresql.rig import Database
from tests.spool.rig import NOW_MS

WAITING = 20_000
_FILL = f"""
WITH new AS MATERIALIZED (SELECT nextval('notification_seq') AS seq FROM generate_series(1, {WAITING})),
n AS (INSERT INTO notification SELECT seq, 'n' || seq, 'main', {NOW_MS}, 0, 9, 1, 1, NULL FROM new),
b AS (INSERT INTO body SELECT 1, seq, repeat('x', 9)::bytea FROM new)
INSERT INTO delivery (seq, position, target, received_at_ms, due_ms, clock_started_ms, changes, lane, id)
SELECT seq, 0, 'support', {NOW_MS} + seq % 1000, CASE WHEN seq % 10 = 0 THEN {NOW_MS} ELSE 0 END,
    {NOW_MS} + seq % 1000, 1, 1, 'n' || seq || '-support' FROM new
"""  # noqa: S608 - numbers of the test's own
TABLES = ("delivery", "notification", "body", "attempt", "turn", "kept", "question", "answer", "fenced")
PLACES = {"seq": list(range(1, 101)), "position": [0] * 100}
COMMON = {"target": "support", "clock_ms": NOW_MS, "held": [], "wanted": 100, "now_ms": NOW_MS}
STATEMENTS_AND_BINDINGS: dict[str, dict[str, object]] = {
    "due": {**COMMON, "lanes": [0, 1, 2], "overdue": 1000},
    "oldest_started": {**COMMON, "by_ms": NOW_MS},
    "next_due": {**COMMON, "lanes": [0, 1, 2]},
    "hasten": {**COMMON, "lane": 1, "waits": 2**62, "skipped": 99},
    "oldest": {"targets": ["support"]},
    "oldest_clock": {"targets": ["support"]},
    "still_held": {**PLACES, "token": [7] * 100},
    "start_attempts": {
        **PLACES,
        "token": [7] * 100,
        "due_ms": [1] * 100,
        "group_key": [None] * 100,
        "now_ms": NOW_MS,
        "until_ms": NOW_MS,
    },
    "remove_deliveries": {**PLACES, "kept_seq": [], "kept_position": []},
    "retry_later": {**PLACES, "due_ms": [1] * 100, "group_key": [None] * 100},
    "release": {**PLACES, "attempting": [True] * 100, "alone": [False] * 100},
    "let_follow": {**PLACES, "waits": 2**62},
    "pending_ids": {"ids": ["n1-support"]},
    "traced": {"notification_id": "n1"},
    "tidy_exchange": {"silent_ms": 1},
    "forget_fenced": {"kept_ms": 1},
}


@pytest.fixture
def plans(database: Database) -> dict[str, str]:
    database.sql("CREATE TABLE body_1 PARTITION OF body FOR VALUES IN (1)")
    try:
        database.sql(_FILL)
        database.sql("ANALYZE")
        return {
            name: "\n".join(row[0] for row in database.link.execute(f"EXPLAIN {STATEMENTS[name]}", bindings))
            for name, bindings in STATEMENTS_AND_BINDINGS.items()
        }
    finally:
        database.sql("DROP TABLE body_1")


def test_no_statement_walks_through_all_that_waits(plans: dict[str, str]) -> None:
    for name, plan in plans.items():
        walked = [table for table in TABLES if f"Seq Scan on {table}" in plan]
        assert not walked, f"{name} walks through {walked}:\n{plan}"


def test_what_is_due_is_found_lane_by_lane(plans: dict[str, str]) -> None:
    assert "delivery_received" not in plans["due"], plans["due"]
    assert plans["due"].count("using delivery_due on delivery") == 2
