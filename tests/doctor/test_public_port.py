"""What Meta would see."""

from typing import Any

from gateway.doctor.finding import Finding
from gateway.doctor.observed import Observations, Outside
from gateway.doctor.public_port import judge_outside
from tests.doctor.seen import certificate, look, sound, told


def public(**changes: Any) -> Observations:
    return sound(outside=(Outside(address="203.0.113.7:443", public=True, ours=False, look=look(**changes)),))


def silent(**changes: Any) -> Observations:
    one = {"address": "203.0.113.7:443", "public": True, "ours": False, "fault": "timeout", "detail": "late"}
    return sound(outside=(Outside(**{**one, **changes}),))


def only(seen: Observations) -> Finding:
    (finding,) = judge_outside(seen)
    return finding


def test_a_sound_port_is_told_with_protocol_chain_days_and_what_strangers_get() -> None:
    finding = only(public())
    assert finding.level == "ok"
    assert finding.what == (
        "public address 203.0.113.7:443: TLSv1.3, chain complete, 70 days left, until 2027-01-29"
    )
    assert dict(finding.facts)["without certificate"] == "may verify the callback; a POST gets 403"


def test_a_chain_without_its_intermediate_is_a_problem() -> None:
    seen = public(chain=(certificate(),), chain_faults=("unable to get local issuer certificate",))
    findings = {one.code: one for one in judge_outside(seen)}
    assert findings["outside_chain"].level == "problem"
    assert "the leaf alone is sent" in findings["outside_chain"].why
    assert "fullchain.pem" in findings["outside_chain"].remedy


def test_a_development_certificate_is_fine_on_this_machine_alone() -> None:
    own = certificate(development=True)
    port = Outside(
        address="127.0.0.1:8443", public=False, look=look(chain=(own,), chain_faults=("self-signed",))
    )
    home = sound(outside=(port,), public_host=None, loopback_only=True)
    assert told(judge_outside, home) == {"outside": "ok", "outside_development": "note"}
    abroad = sound(outside=(port,))
    assert told(judge_outside, abroad)["outside_chain"] == "problem"


def test_the_wrong_name_is_a_problem_on_the_public_address() -> None:
    seen = public(chain=(certificate(names=("www.example.com",)),))
    assert told(judge_outside, seen)["outside_name"] == "problem"


def test_another_certificate_than_the_files_is_told() -> None:
    seen = public(chain=(certificate(sha256="99" * 32),))
    assert told(judge_outside, seen)["outside_another_certificate"] == "warning"


def test_a_port_that_asks_for_no_client_certificate_is_no_door_for_meta() -> None:
    assert told(judge_outside, public(asks_for=()))["outside_asks_nothing"] == "problem"


def test_turning_strangers_away_is_a_problem_under_ask_and_meant_under_demand() -> None:
    seen = public(status=None, ending="the connection was closed")
    assert told(judge_outside, seen)["outside_turned_away"] == "problem"
    demanding = sound(
        outside=(Outside(address="a:1", public=True, look=look(status=None, ending="closed")),),
        handshake="demand",
    )
    assert told(judge_outside, demanding) == {"outside": "ok"}


def test_another_answer_on_an_apps_path_warns() -> None:
    assert told(judge_outside, public(status=404))["outside_another_answer"] == "warning"


def test_an_address_behind_nat_that_does_not_answer_is_no_proof() -> None:
    assert told(judge_outside, silent()) == {"outside_not_seen": "warning"}
    assert told(judge_outside, silent(fault="unreachable")) == {"outside_not_seen": "note"}


def test_an_address_of_this_machine_that_does_not_answer_is_a_problem() -> None:
    assert told(judge_outside, silent(ours=True, fault="refused")) == {"outside_silent": "problem"}


def test_a_handshake_that_fails_is_a_problem_wherever() -> None:
    assert told(judge_outside, silent(fault="failed")) == {"outside_silent": "problem"}


def test_the_own_port_of_a_gateway_that_does_not_run_is_not_complained_of_twice() -> None:
    port = Outside(address="127.0.0.1:8443", public=False, fault="refused", detail="Connection refused")
    assert told(judge_outside, sound(running=None, outside=(port,))) == {}
    assert told(judge_outside, sound(outside=(port,))) == {"outside_silent": "problem"}


def test_without_public_url_that_is_noted_and_offline_says_nothing() -> None:
    assert told(judge_outside, sound(public_host=None, outside=())) == {"public_url_missing": "note"}
    assert told(judge_outside, sound(offline=True)) == {}


def test_a_port_for_load_balancers_alone_is_left_alone_and_that_is_said() -> None:
    assert told(judge_outside, sound(proxied=True, outside=())) == {"own_port_proxied": "note"}


def test_who_may_post_without_a_certificate_is_said_by_app() -> None:
    def strangers(**apps: str) -> str:
        seen = sound(outside=(Outside(address="a:1", public=True, look=look()),), apps=apps)
        return dict(only(seen).facts)["without certificate"]

    assert strangers(a="report") == "may verify the callback, and post with a right signature (report)"
    assert strangers(a="report", b="required") == "may verify the callback; a POST to b gets 403"
