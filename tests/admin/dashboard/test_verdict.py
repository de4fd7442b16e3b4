"""The first line: did Meta stop sending, do we refuse it, or is a target down?"""

from typing import Any

import pytest

from gateway.admin.dashboard.verdict import Condition, Level, Verdict, judge, worst
from gateway.admin.health import Check
from gateway.core.conditions import Name

NOW_MS = 1_795_000_000_000
WELL = {name: Check(ok=True) for name in ("listener", "spool", "draining")}


def said(**changed: Any) -> Verdict:
    """Judge a gateway that is well but for what is changed."""
    asked: dict[str, Any] = {
        "health": WELL,
        "conditions": (),
        "states": {"support": "delivering", "billing": "delivering"},
        "last_received_ms": NOW_MS - 2000,
        "accepted_per_second": 3.0,
        "callback_urls": {"main": "https://hooks.example/webhooks/main"},
        "now_ms": NOW_MS,
    }
    return judge(**{**asked, **changed})


def condition(name: Name, target: str | None = None) -> Condition:
    return Condition(name=name.value, summary="it is so", target=target)


def levels(verdict: Verdict) -> list[str]:
    return [str(answer.level) for answer in verdict.answers]


def test_all_is_well() -> None:
    verdict = said()
    assert verdict.sentence == "All is well: Meta gets through, and every target takes its deliveries."
    assert levels(verdict) == ["good", "good", "good"]
    assert not verdict.callback_urls


@pytest.mark.parametrize(
    ("name", "sentence", "expected"),
    [
        (Name.META_SILENT, "Meta has stopped sending.", ["bad", "good", "good"]),
        (Name.GATEWAY_REFUSING, "The gateway is refusing Meta.", ["good", "bad", "good"]),
        (
            Name.TARGET_FAILING,
            "A target is down: billing. Meta gets through, and what waits is kept.",
            ["good", "good", "bad"],
        ),
    ],
)
def test_each_condition_has_its_own_sentence_and_question(
    name: Name, sentence: str, expected: list[str]
) -> None:
    verdict = said(conditions=(condition(name, "billing" if name is Name.TARGET_FAILING else None),))
    assert verdict.sentence == sentence
    assert levels(verdict) == expected
    assert verdict.level is Level.BAD


def test_several_conditions_are_all_told_the_door_first() -> None:
    verdict = said(conditions=tuple(condition(name, "billing") for name in Name))
    assert verdict.sentence.startswith("The gateway is refusing Meta. Meta has stopped sending. A target is")


def test_many_targets_that_are_down_are_counted() -> None:
    down = tuple(condition(Name.TARGET_FAILING, f"t{number}") for number in range(5))
    assert "5 targets are down: t0, t1, t2 and 2 more." in said(conditions=down).sentence


def test_a_gateway_that_is_not_ready_says_why_before_all_else() -> None:
    verdict = said(health={**WELL, "spool": Check(ok=False, detail="the disk is full")})
    assert verdict.sentence == "The gateway accepts nothing."
    assert verdict.answers[1].detail == "spool: the disk is full"
    assert said(health={}).level is Level.BAD, "one that does not say how it is"


def test_a_gateway_that_stops_is_no_alarm() -> None:
    verdict = said(health={**WELL, "draining": Check(ok=False, detail="about to stop")})
    assert verdict.level is Level.WATCH
    assert "is stopping" in verdict.sentence


@pytest.mark.parametrize("state", ["paused", "recovering", "unknown"])
def test_what_is_not_well_but_no_failure_is_watched(state: str) -> None:
    verdict = said(states={"support": "delivering", "billing": state})
    assert verdict.level is Level.WATCH
    assert verdict.sentence.startswith("Nothing is failing; 1 of 2 targets is ")


def test_a_fresh_gateway_says_what_to_do_next() -> None:
    verdict = said(last_received_ms=None, accepted_per_second=None)
    assert verdict.sentence == "Ready, and nothing has been received yet."
    assert verdict.callback_urls
    refused = said(last_received_ms=None, conditions=(condition(Name.GATEWAY_REFUSING),))
    assert refused.answers[0].word == "comes, and is refused"


def test_an_hour_of_quiet_is_not_called_sending() -> None:
    verdict = said(last_received_ms=NOW_MS - 7_200_000, accepted_per_second=0.0)
    assert verdict.answers[0].word == "is quiet"
    assert verdict.level is Level.GOOD


def test_checks_that_warn_are_remarks() -> None:
    verdict = said(health={**WELL, "certificates": Check(ok=True, detail="server expires in 9 days")})
    (remark,) = verdict.conditions
    assert remark.summary == "Certificates: server expires in 9 days"
    assert remark.level is Level.WATCH


def test_the_worst_of_nothing_is_nothing() -> None:
    assert worst([]) is Level.IDLE
    assert worst([Level.GOOD, Level.BAD, Level.WATCH]) is Level.BAD
