"""Meta silent, gateway refusing, target failing: told apart, and not told without need."""

import msgspec
import pytest

from gateway.core.conditions import (
    WINDOW_MS,
    Condition,
    Grade,
    Name,
    Seen,
    TargetSeen,
    TurnedAway,
    judge,
)
from gateway.core.heard import Heard
from gateway.core.silence import DAY_MS

NOW_MS = 20_800 * DAY_MS
MINUTE_MS = 60_000


def heard(*, silent_ms: int = 0, app: str = "main") -> Heard:
    """Make a field that never pauses for longer than a minute, silent for so long."""
    return Heard(
        app=app,
        object="whatsapp_business_account",
        field="messages",
        first_ms=NOW_MS - 3 * DAY_MS,
        last_ms=NOW_MS - silent_ms,
        received=5000,
        usual_ms=30_000,
        longest_ms=MINUTE_MS,
    )


def away(
    grade: Grade, *, word: str = "signature", app: str = "main", number: int = 3, ago_ms: int = MINUTE_MS
) -> TurnedAway:
    return TurnedAway(app=app, word=word, grade=grade, times_ms=[NOW_MS - ago_ms] * number)


def target(**changes: object) -> TargetSeen:
    usual = {
        "name": "support",
        "state": "open",
        "opened_at_ms": NOW_MS - MINUTE_MS,
        "refusing": False,
        "pending": 12,
        "oldest_seconds": 90.0,
        "last_error": "503",
    }
    return msgspec.convert({**usual, **changes}, TargetSeen)


def found(*seen: Heard | TurnedAway | TargetSeen) -> list[Condition]:
    return list(
        judge(
            Seen(
                heard=[one for one in seen if isinstance(one, Heard)],
                turned_away=[one for one in seen if isinstance(one, TurnedAway)],
                targets=[one for one in seen if isinstance(one, TargetSeen)],
                listening_since_ms=0,
            ),
            now_ms=NOW_MS,
        )
    )


def names(*seen: Heard | TurnedAway | TargetSeen) -> list[str]:
    return [one.name for one in found(*seen)]


def test_where_all_is_well_nothing_is_said() -> None:
    assert found(heard(), target(state="delivering", opened_at_ms=None)) == []
    assert found() == []


def test_each_condition_has_its_name_its_evidence_and_its_next_step() -> None:
    seen = found(heard(app="other", silent_ms=DAY_MS), away(Grade.PROVED), target())
    assert [one.name for one in seen] == [Name.GATEWAY_REFUSING, Name.META_SILENT, Name.TARGET_FAILING]
    assert all(one.evidence and one.next_steps for one in seen)
    refusing, silent, failing = seen
    assert (refusing.app, refusing.reason, refusing.since_ms) == ("main", "signature", NOW_MS - MINUTE_MS)
    assert (silent.app, silent.field, silent.since_ms) == ("other", "messages", NOW_MS - DAY_MS)
    assert silent.summary == "Meta is silent: no messages for app other for 24 h"
    assert (failing.target, failing.since_ms) == ("support", NOW_MS - MINUTE_MS)
    assert "the last attempt failed: 503" in failing.evidence


@pytest.mark.parametrize("grade", [Grade.PROVED, Grade.OURS])
def test_what_strangers_cannot_bring_about_counts_beside_traffic(grade: Grade) -> None:
    assert names(heard(), away(grade)) == [Name.GATEWAY_REFUSING]


def test_what_anybody_can_bring_about_counts_only_while_nothing_is_accepted() -> None:
    assert names(heard(), away(Grade.CLAIMED)) == []
    assert names(heard(silent_ms=WINDOW_MS + 1), away(Grade.CLAIMED)) == [Name.GATEWAY_REFUSING]
    assert names(away(Grade.CLAIMED)) == [Name.GATEWAY_REFUSING], "an app that never heard anything"
    assert names(heard(app="other"), away(Grade.CLAIMED)) == [Name.GATEWAY_REFUSING]
    assert names(heard(app="other"), away(Grade.CLAIMED, app="")) == []


def test_two_refusals_and_old_ones_say_nothing() -> None:
    assert names(away(Grade.PROVED, number=2)) == []
    assert names(away(Grade.PROVED, ago_ms=WINDOW_MS + 1)) == []
    assert names(away(Grade.PROVED, ago_ms=-1)) == [], "the clock was set back"


def test_the_same_refusal_seen_twice_is_one_condition_and_the_surer_counts() -> None:
    (one,) = found(away(Grade.CLAIMED), away(Grade.PROVED))
    assert one.summary == "the gateway turns Meta away on app main: signature"


def test_meta_that_is_turned_away_is_not_silent() -> None:
    silent = heard(silent_ms=DAY_MS)
    assert names(silent) == [Name.META_SILENT]
    assert names(silent, away(Grade.PROVED)) == [Name.GATEWAY_REFUSING]
    assert names(silent, away(Grade.CLAIMED, app="", word="unknown_issuer")) == [Name.GATEWAY_REFUSING]
    assert names(silent, away(Grade.PROVED, app="other")) == [Name.GATEWAY_REFUSING, Name.META_SILENT]


def test_a_target_that_is_paused_or_on_its_way_back_does_not_fail() -> None:
    assert names(target(state="paused")) == []
    assert names(target(state="recovering", opened_at_ms=None)) == []
    (one,) = found(target(refusing=True))
    assert one.summary == "target support refuses everything"
