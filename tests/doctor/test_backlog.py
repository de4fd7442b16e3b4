"""What waits for the targets."""

from typing import Any

from gateway.doctor.backlog import judge_backlog
from gateway.doctor.finding import Finding
from tests.doctor.seen import ago, running, sound


def judged(**targets: dict[str, Any]) -> list[Finding]:
    seen = sound(running=running(status={"targets": targets}), known_targets=frozenset({"support", "fresh"}))
    return list(judge_backlog(seen))


def waiting(pending: int = 3, oldest: float = 4000.0, **more: Any) -> dict[str, Any]:
    breaker = {"open": False, "state": "closed", "opened_at": None}
    return {
        "pending": pending,
        "oldest_seconds": oldest,
        "dead_letters": 0,
        "breaker": breaker,
        "pause": None,
        **more,
    }


def test_nothing_is_said_where_nothing_waits_or_no_gateway_runs() -> None:
    assert judged(support=waiting(pending=0)) == []
    assert list(judge_backlog(sound(running=None))) == []


def test_a_backlog_warns_when_it_is_old_and_dead_letters_are_named() -> None:
    old, letters = judged(support=waiting(), fresh=waiting(pending=9, oldest=2.0, dead_letters=1))
    assert (old.code, old.level) == ("target_backlog", "warning")
    assert old.what == "support: 3 deliveries waiting, the oldest for 1 h 6 min"
    assert (letters.code, letters.level, letters.what) == ("dead_letters", "note", "fresh: 1 dead letter")


def test_an_open_breaker_is_why_and_is_told_alone() -> None:
    breaker = {"open": True, "state": "open", "opened_at": ago(minutes=7)}
    (finding,) = judged(support=waiting(breaker=breaker))
    assert (finding.code, finding.level) == ("target_breaker_open", "warning")
    assert finding.what == "support: the breaker opened 7 min ago, 3 deliveries waiting"


def test_a_pause_is_meant_and_says_until_when_and_why() -> None:
    pause = {"from": "2026-11-20T10:00:00Z", "until": None, "reason": "database upgrade"}
    (finding,) = judged(support=waiting(pause=pause))
    assert (finding.code, finding.level) == ("target_paused", "note")
    assert finding.what == (
        "support is paused since 2026-11-20 10:00 until it is resumed, 3 deliveries waiting"
    )
    assert finding.why == "because: database upgrade"
    (finding,) = judged(support=waiting(pause={**pause, "until": "2026-11-20T14:00:00Z", "reason": ""}))
    assert "until 2026-11-20 14:00 UTC" in finding.what


def test_what_waits_for_a_target_that_is_no_more_is_told() -> None:
    (finding,) = judged(gone=waiting(pending=1, oldest=5.0))
    assert (finding.code, finding.level) == ("target_lost", "warning")
    assert finding.what == "gone: 1 delivery waiting for a target that the configuration has lost"
