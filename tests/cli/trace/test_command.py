"""What `gateway trace` prints."""

from pathlib import Path
from typing import Any

import pytest

from gateway.cli.trace.report import lines
from gateway.tracing import NOT_FOUND

NOW_MS = 1_770_000_000_000
EMPTY: dict[str, Any] = {
    "attempt": None,
    "attempts": [],
    "next_attempt_at": None,
    "delivered_at": None,
    "status": None,
    "kept": False,
    "dead_letter": None,
    "reason": None,
    "died_at": None,
}
ID = "019c1f8f2c007000b1f2aabbccddeeff"


def found(*deliveries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    one = {
        "notification": ID,
        "app": "main",
        "received_at": "2026-02-02T02:40:00.000Z",
        "worker": 0,
        "client_certificate": "none",
        "connection": "c-1",
        "bytes": 374,
        "deliveries": [{"delivery": f"{ID}-{one['target']}", **EMPTY, **one} for one in deliveries],
    }
    return {"asked": ID, "notifications": [one], "searched": None, "remark": "", **changes}


def test_each_state_says_what_follows() -> None:
    attempt = {
        "number": 1,
        "at": "2026-02-02T02:40:01.000Z",
        "status": None,
        "error": "timeout",
        "duration_ms": 9,
    }
    told = list(
        lines(
            found(
                {
                    "target": "a",
                    "state": "waiting",
                    "next_attempt_at": "2026-02-02T02:41:40.000Z",
                    "attempts": [attempt],
                },
                {"target": "bb", "state": "waiting"},
                {
                    "target": "c",
                    "state": "delivered",
                    "delivered_at": "T",
                    "attempt": 2,
                    "status": 204,
                    "kept": True,
                },
                {
                    "target": "d",
                    "state": "dead_letter",
                    "reason": "refused",
                    "died_at": "T",
                    "dead_letter": "/x.json",
                },
                {"target": "e", "state": "waits_for_another"},
                {"target": "f", "state": "gone"},
                {"target": "g", "state": "under_way"},
            ),
            now_ms=NOW_MS,
        )
    )
    assert told == [
        f"notification {ID}",
        "  accepted 2026-02-02T02:40:00.000Z for app main, 374 bytes",
        "  came without a client certificate, connection c-1",
        "  by worker 0",
        "  a   waiting            next attempt in 1 min 40 s",
        "      attempt 1 at 2026-02-02T02:40:01.000Z: timeout (9 ms)",
        "  bb  waiting            due now",
        "  c   delivered          at T; attempt 2, answered 204; kept: gateway replay can send it again",
        "  d   dead_letter        refused at T",
        "      /x.json",
        "  e   waits_for_another  an earlier delivery of the same sender goes first",
        "  f   gone               taken or dropped; which of them is not known any more",
        "  g   under_way",
    ]


def test_of_what_another_process_has_accepted_and_forgotten_the_delivery_is_told_alone() -> None:
    delivered = {"target": "c", "state": "delivered", "delivered_at": "T", "attempt": 1, "status": 200}
    answer = found(delivered)
    unknown = dict.fromkeys(("app", "received_at", "worker", "client_certificate", "connection", "bytes"))
    answer["notifications"][0] |= unknown
    assert list(lines(answer, now_ms=NOW_MS)) == [
        f"notification {ID}",
        "  accepted at a time that is not known any more",
        "  c  delivered          at T; attempt 1, answered 200",
    ]


def test_what_is_not_found_says_how_far_the_look_came_and_when_it_would_have_come() -> None:
    searched = {"bodies": 10, "dead_letters": 2, "complete": False}
    told = list(lines(found(notifications=[], remark=NOT_FOUND, searched=searched), now_ms=NOW_MS))
    assert told[0].startswith(f"{ID}: not in the spool")
    assert told[1] == "by its id it would have been accepted at 2026-02-02T18:13:22.560Z"
    assert told[2] == "looked through 10 bodies and 2 dead letters; not all: there was no time for more"
    asked = found(asked="wamid.A", notifications=[], remark=NOT_FOUND)
    assert len(list(lines(asked, now_ms=NOW_MS))) == 1


@pytest.mark.parametrize("path", [Path("/a\x1b[2Jb"), Path("/a\nb")])
def test_nothing_steers_the_terminal(path: Path) -> None:
    told = list(
        lines(found({"target": "a", "state": "dead_letter", "dead_letter": str(path)}), now_ms=NOW_MS)
    )
    assert all(line.isprintable() for line in told)
