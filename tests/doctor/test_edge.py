"""Who came to the door."""

from typing import Any

import pytest

from gateway.core.identity import Reason
from gateway.doctor.advice import REFUSAL_ADVICE
from gateway.doctor.edge import judge_clients
from tests.doctor.seen import ANCHOR, ago, running, sound, the, told


def edge(**changes: Any) -> dict[str, Any]:
    return {"apps": {}, "anchors": [], "secrets": [], "refusals": [], **changes}


def app(policy: str, notifications: int, without: int) -> dict[str, Any]:
    recent = {"notifications": notifications, "without_accepted": without}
    return {"apps": {"main": {"client_certificate": policy, "recent": recent}}}


def refusal(reason: str = "unknown_issuer", **changes: Any) -> dict[str, Any]:
    one = {
        "at": ago(minutes=5), "reason": reason, "detail": "X509 error 20", "address": "192.0.2.9",
        "subject": "CN=client.webhooks.fbclientcerts.com", "issuer": "CN=Somebody", "serial": "1f",
        "sha256": "00" * 32, "claims_meta": False, "staged": None, "connection": "closed",
    }  # fmt: skip
    return {**one, **changes}


def judged(**changes: Any) -> Any:
    return sound(running=running(edge=edge(**changes)))


def test_nothing_is_said_where_the_gateway_does_not_tell() -> None:
    assert told(judge_clients, sound(running=None)) == {}


def test_safe_to_require_is_said_in_the_words_of_the_contract() -> None:
    finding = the(judge_clients(judged(**app("report", 1000, 0))), "safe_to_require")
    assert (
        finding.what
        == "main: safe to require: 0 of the last 1000 notifications came without an accepted certificate"
    )
    assert finding.level == "note"
    assert "client_certificate: required" in finding.remedy
    assert finding.why == ""


def test_safe_to_require_on_few_notifications_carries_a_caution() -> None:
    finding = the(judge_clients(judged(**app("report", 3, 0))), "safe_to_require")
    assert "few" in finding.why


def test_one_without_is_not_safe_and_the_switch_is_named() -> None:
    finding = the(judge_clients(judged(**app("report", 1000, 1))), "not_safe_to_require")
    assert finding.level == "warning"
    assert "1 of the last 1000 notifications came without" in finding.what
    assert "Attach a client certificate" in finding.remedy


def test_no_notification_says_nothing_of_safety() -> None:
    codes = told(judge_clients, judged(**app("report", 0, 0)))
    assert codes == {"no_notifications": "note", "refusals": "ok"}


def test_an_app_that_requires_is_well() -> None:
    assert told(judge_clients, sound()) == {"certificate_required": "ok", "refusals": "ok"}


def test_refusals_are_counted_by_reason() -> None:
    seen = judged(refusals=[refusal(), refusal("expired"), refusal()])
    finding = the(judge_clients(seen), "refusals")
    assert finding.what == "3 refusals on record: 2 unknown_issuer, 1 expired"
    assert dict(finding.facts)["newest"] == "5 min ago"


def test_a_refused_certificate_that_calls_itself_metas_is_a_problem_while_nobody_is_admitted() -> None:
    seen = judged(refusals=[refusal(claims_meta=True)])
    finding = the(judge_clients(seen), "meta_refused")
    assert finding.level == "problem"
    assert "locked out" in finding.why
    assert dict(finding.facts)["issuer"] == "CN=Somebody"


def test_and_a_warning_once_somebody_is_since_anybody_may_write_that_name() -> None:
    anchors = [{"client": "meta", "sha256": ANCHOR, "last_seen_at": ago(hours=1)}]
    seen = judged(refusals=[refusal(claims_meta=True)], anchors=anchors)
    assert the(judge_clients(seen), "meta_refused").level == "warning"
    past = judged(refusals=[refusal(claims_meta=True, at=ago(hours=30))], anchors=anchors)
    assert the(judge_clients(past), "meta_refused").level == "note"


def test_a_proved_client_that_was_refused_is_an_alarm_with_its_remedy() -> None:
    request = refusal("signature", kind="request", app="main", status=401, proved=True, claims_meta=True)
    noise = refusal("signature", kind="request", app="main", status=401, proved=False)
    seen = judged(refusals=[request, noise, request])
    finding = the(judge_clients(seen), "proved_client_refused")
    assert finding.level == "problem"
    assert finding.what == (
        "main: a client with an accepted certificate was answered 401, 2 times (signature, last 5 min ago)"
    )
    assert "app_secrets" in finding.remedy
    # It calls itself Meta's and is: that is no refused certificate.
    assert "meta_refused" not in told(judge_clients, seen)


def test_an_alarm_that_is_old_or_mended_since_is_none_any_more() -> None:
    def level(at: str, used: str | None) -> str:
        one = refusal("signature", kind="request", app="main", status=401, proved=True, at=at)
        secrets = [{"app": "main", "index": 0, "last_used_at": used}]
        return the(judge_clients(judged(refusals=[one], secrets=secrets)), "proved_client_refused").level

    assert level(ago(hours=2), None) == "problem"
    assert level(ago(hours=2), ago(hours=3)) == "problem"
    assert level(ago(hours=2), ago(hours=1)) == "warning"
    assert level(ago(hours=30), None) == "note"


def test_each_reason_that_speaks_of_a_certificate_has_its_advice() -> None:
    silent = {Reason.NO_CERTIFICATE, Reason.PROTOCOL, Reason.TIMEOUT, Reason.LIMIT}
    assert set(REFUSAL_ADVICE) == set(Reason) - silent


def test_a_strangers_text_cannot_steer_the_terminal_nor_fill_it() -> None:
    seen = judged(refusals=[refusal(claims_meta=True, subject="CN=\x1b[31m" + "x" * 900)])
    subject = dict(the(judge_clients(seen), "meta_refused").facts)["subject"]
    assert "\x1b" not in subject
    assert len(subject) <= 120


def entry(*, staged: bool) -> dict[str, Any]:
    return {"client": "meta", "sha256": ANCHOR, "last_seen_at": None, "staged": staged}


STAGED = f"meta {ANCHOR[:16]}"


def test_what_a_staged_anchor_would_admit_is_told() -> None:
    seen = judged(
        anchors=[entry(staged=True)],
        refusals=[refusal(staged=STAGED, staged_says=f"would be admitted by {STAGED}"), refusal()],
    )
    finding = the(judge_clients(seen), "staged_would_admit")
    assert finding.what == f"1 refused connection would be admitted by the staged anchor {STAGED}"


@pytest.mark.parametrize("anchors", [[entry(staged=False)], [entry(staged=True), entry(staged=False)]])
def test_what_an_anchor_that_was_staged_then_admits_now_is_solved(anchors: list[dict[str, Any]]) -> None:
    seen = judged(anchors=anchors, refusals=[refusal(staged=STAGED, claims_meta=True), refusal()])
    assert told(judge_clients, seen) == {"refusals": "ok"}
    facts = dict(the(judge_clients(seen), "refusals").facts)
    assert facts["solved"].startswith("1: ")


def test_only_the_refusals_that_the_new_anchor_admits_are_solved() -> None:
    seen = judged(
        anchors=[entry(staged=False)],
        refusals=[refusal(staged=STAGED, claims_meta=True), refusal(claims_meta=True)],
    )
    assert "refused 1 time" in the(judge_clients(seen), "meta_refused").what


def test_nothing_is_to_be_moved_where_the_anchor_is_staged_no_more() -> None:
    seen = judged(refusals=[refusal(staged=STAGED)])
    assert "staged_would_admit" not in told(judge_clients, seen)


def test_app_secrets_in_rotation_are_told_with_their_last_use() -> None:
    secrets = [
        {"app": "main", "index": 0, "last_used_at": ago(minutes=1)},
        {"app": "main", "index": 1, "last_used_at": None},
        {"app": "other", "index": 0, "last_used_at": ago(minutes=1)},
    ]
    finding = the(judge_clients(judged(secrets=secrets)), "secrets_in_rotation")
    assert finding.what == "main: 2 app secrets; last used: secret 0 1 min ago, secret 1 never"
