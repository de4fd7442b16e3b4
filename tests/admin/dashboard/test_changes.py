"""What operators did, in words."""

from typing import Any

from gateway.admin.dashboard.changes import change_rows
from gateway.admin.dashboard.verdict import Level

AT = "2026-11-18T11:06:30.000Z"


def test_changes_are_told_in_words_the_newest_first() -> None:
    lines: list[dict[str, Any]] = [
        {
            "at": AT,
            "action": "replay_kept",
            "by": "admin_port",
            "target": "support",
            "after": None,
            "limit": 100,
        },
        {
            "at": AT,
            "action": "pause",
            "by": "admin_port",
            "target": "support",
            "seconds": 7200.0,
            "reason": "",
        },
        {"at": AT, "action": "reload", "by": "file", "result": "refused", "problems": ["a: b"]},
        {"at": AT, "action": "discard", "by": "command", "ids": ["x-support"]},
    ]
    discard, reload, pause, kept = change_rows(lines)
    assert (discard.ids, discard.by) == (("x-support",), "command")
    assert (reload.level, reload.says) == (Level.WATCH, "refused; a: b")
    assert pause.says == "support; for 2 h"
    assert (kept.action, kept.says) == ("replay kept", "support; limit 100")


def test_where_several_share_a_database_the_gateway_is_no_part_of_what_was_done() -> None:
    [row] = change_rows([{"at": AT, "action": "pause", "by": "admin_port", "target": "a", "gateway": "db:1"}])
    assert (row.gateway, row.says) == ("db:1", "a")
