"""Whether Meta still sends."""

from typing import Any

from gateway.doctor.silence import judge_silence
from tests.doctor.seen import running, sound, the, told


def condition(name: str) -> dict[str, Any]:
    return {
        "condition": name,
        "summary": "nothing of messages has come for 40 min",
        "evidence": ["usually every 2 s"],
        "next_steps": ["gateway doctor", "look at the subscription"],
    }


def judged(*conditions: dict[str, Any]) -> Any:
    return sound(running=running(ledger={"conditions": list(conditions)}))


def test_a_suspicious_silence_is_a_problem_as_status_and_the_alert_have_it() -> None:
    finding = the(judge_silence(judged(condition("meta_silent"))), "meta_silent")
    assert (finding.level, finding.what) == ("problem", "nothing of messages has come for 40 min")
    assert finding.why == "usually every 2 s"
    assert finding.remedy == "look at the subscription", "not the command that says it"


def test_what_other_judges_see_is_not_told_twice() -> None:
    assert told(judge_silence, judged(condition("target_failing"), condition("gateway_refusing"))) == {}
    assert told(judge_silence, sound(running=None)) == {}


def test_an_earlier_version_has_no_ledger() -> None:
    assert told(judge_silence, sound(running=running(ledger={}))) == {}
