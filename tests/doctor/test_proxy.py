"""Load balancer and gateway, and the PROXY header between them."""

from typing import Any

import pytest

from gateway.core.proxy_header import NOT_EXPECTED, NOT_FROM_BALANCER, NOT_SENT, OTHER_VERSION
from gateway.doctor.observed import Observations
from gateway.doctor.proxy import judge_proxy
from tests.doctor.seen import ANCHOR, ago, running, sound, told


def judged(
    *details: str, proxied: bool = True, at: str | None = None, admitted: str | None = None, **changes: Any
) -> Observations:
    """Return what is seen where connections were refused, and the last one was admitted at a time."""
    refusals = [
        {
            "at": at or ago(minutes=1),
            "reason": "protocol",
            "detail": detail,
            "address": "192.0.2.9",
            **changes,
        }
        for detail in details
    ]
    anchors = [{"client": "meta", "sha256": ANCHOR, "last_seen_at": admitted, "staged": False}]
    edge = {"apps": {}, "anchors": anchors, "secrets": [], "refusals": refusals}
    return sound(running=running(edge=edge), proxied=proxied)


@pytest.mark.parametrize(
    ("detail", "proxied", "step"),
    [
        (NOT_SENT, True, "switch the PROXY protocol on"),
        (OTHER_VERSION, True, "listen.proxy_protocol: any"),
        (NOT_FROM_BALANCER, True, "listen.proxy_from"),
        ("a malformed PROXY header (version 1)", True, "see what stands between"),
        (NOT_EXPECTED, False, "switch the PROXY protocol off"),
    ],
)
def test_where_nobody_was_admitted_it_is_a_problem_with_its_next_step(
    detail: str, proxied: bool, step: str
) -> None:
    (finding,) = judge_proxy(judged(detail, detail, proxied=proxied))
    assert finding.level == "problem"
    assert finding.what.startswith("2 connections refused over the PROXY header, last 1 min ago: ")
    assert step in finding.remedy
    assert dict(finding.facts) == {"from": "192.0.2.9"}


@pytest.mark.parametrize(
    ("refused", "admitted", "level"),
    [
        (ago(minutes=1), ago(hours=1), "problem"),
        (ago(minutes=1), ago(minutes=5), "warning"),
        (ago(minutes=5), ago(minutes=1), "warning"),
        (ago(hours=1), ago(minutes=1), "note"),
        (ago(days=2), None, "note"),
    ],
    ids=["since a change", "some of them", "some of them, too", "mended", "long ago"],
)
def test_how_bad_it_is_depends_on_who_was_admitted_since(
    refused: str, admitted: str | None, level: str
) -> None:
    assert told(judge_proxy, judged(NOT_SENT, at=refused, admitted=admitted)) == {
        "proxy_header_refused": level
    }


@pytest.mark.parametrize(("detail", "proxied"), [(NOT_SENT, False), (NOT_EXPECTED, True)])
def test_what_the_configuration_says_otherwise_by_now_is_history(detail: str, proxied: bool) -> None:
    assert told(judge_proxy, judged(detail, proxied=proxied)) == {}


def test_other_refusals_are_none_of_it() -> None:
    assert told(judge_proxy, judged("wrong version number")) == {}
    assert told(judge_proxy, judged(NOT_SENT, reason="limit")) == {}
    assert told(judge_proxy, sound(running=None, proxied=True)) == {}
