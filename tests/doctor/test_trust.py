"""The gateway's own certificate, and the anchors."""

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.doctor.observed import ListFile
from gateway.doctor.trust import judge_anchors, judge_certificate, judge_term, short_name
from tests.doctor.seen import ANCHOR, NOW, ago, anchor, certificate, running, sound, the, told


@pytest.mark.parametrize(
    ("term_days", "left_days", "level"),
    [
        (90, 70, "ok"),
        (90, 31, "ok"),
        (90, 29, "note"),
        (90, 13, "warning"),
        (90, 2, "problem"),
        (90, -1, "problem"),
        (6, 5, "ok"),  # certificates for a week are renewed with a third left
        (6, 1.9, "note"),
        (6, 0.9, "warning"),
        (6, 0.1, "problem"),
        (9000, 29, "note"),
    ],
)
def test_days_left_are_judged_within_the_term(term_days: float, left_days: float, level: str) -> None:
    ends = NOW + timedelta(days=left_days)
    one = certificate(not_before=ends - timedelta(days=term_days), not_after=ends)
    assert judge_term(one, NOW)[0] == level


def test_one_that_is_not_yet_valid_is_a_problem() -> None:
    level, said = judge_term(certificate(not_before=NOW + timedelta(hours=1)), NOW)
    assert (level, said) == ("problem", "not valid before 2026-11-20 13:00 UTC")


def test_a_sound_certificate_is_told_with_its_days_and_fingerprint() -> None:
    (finding,) = judge_certificate(sound())
    assert (finding.level, finding.what) == ("ok", "hooks.example.com: 70 days left, until 2027-01-29")
    assert dict(finding.facts)["SHA-256"] == ":".join(["CD"] * 32)


def test_a_host_that_the_certificate_is_not_for_is_a_problem() -> None:
    finding = the(judge_certificate(sound(public_host="other.example.com")), "server_name")
    assert finding.level == "problem"
    assert "hooks.example.com" in finding.why


def test_an_anchor_is_told_with_subject_fingerprint_expiry_and_whom_it_admitted() -> None:
    (finding,) = judge_anchors(sound())
    facts = dict(finding.facts)
    assert finding.what == "meta: Meta root: 3650 days left, until 2036-11-17"
    assert facts["SHA-256"].replace(":", "").lower() == ANCHOR
    assert facts["subject"] == "CN=Meta root,O=Meta"
    assert facts["admitted"] == "3 min ago"


def test_without_a_gateway_nothing_is_said_of_whom_an_anchor_admitted() -> None:
    (finding,) = judge_anchors(sound(running=None))
    assert "admitted" not in dict(finding.facts)


def test_an_anchor_that_the_gateway_has_not_loaded_is_told() -> None:
    (finding,) = judge_anchors(sound(running=running(edge={"anchors": []})))
    assert "not loaded" in dict(finding.facts)["admitted"]


def test_digicert_alone_is_a_problem_that_tells_the_date_and_the_file() -> None:
    old = anchor("DigiCert High Assurance EV Root CA", organization="DigiCert Inc")
    finding = the(judge_anchors(sound(anchors=(old,))), "anchors_digicert_only")
    assert finding.level == "problem"
    assert finding.what == "meta: your anchors hold DigiCert roots only"
    assert "its own CA since 2026-03-31" in finding.why
    assert "meta-outbound-api-ca-2025-12.pem" in finding.remedy


def test_digicert_beside_metas_own_is_a_note() -> None:
    old = anchor("DigiCert Global Root G2", organization="DigiCert Inc", description=certificate())
    codes = told(judge_anchors, sound(anchors=(anchor(), old)))
    assert codes["anchor_digicert_obsolete"] == "note"
    assert "anchors_digicert_only" not in codes


def test_digicert_is_nobodys_business_where_the_client_is_not_meta() -> None:
    old = anchor("DigiCert Global Root G2", organization="DigiCert Inc")
    assert set(told(judge_anchors, sound(anchors=(old,), meta_clients=frozenset()))) == {"anchor"}


def test_a_staged_anchor_saves_nobody_from_the_advice() -> None:
    old = anchor("DigiCert", organization="DigiCert Inc")
    staged = anchor(staged=True)
    findings = list(judge_anchors(sound(anchors=(old, staged))))
    assert the(findings, "anchors_digicert_only").level == "problem"
    assert dict(findings[1].facts)["admits"] == "nobody: it is staged"


def test_an_anchor_that_nobody_used_beside_one_that_somebody_did_is_named() -> None:
    idle = anchor("Old root", description=certificate("CN=Old root", sha256="12" * 32))
    edge = {
        "anchors": [
            {"client": "meta", "sha256": ANCHOR, "last_seen_at": ago(hours=1)},
            {"client": "meta", "sha256": "12" * 32, "last_seen_at": None},
        ]
    }
    finding = the(judge_anchors(sound(anchors=(anchor(), idle), running=running(edge=edge))), "anchor_unused")
    assert finding.level == "note"
    assert "Old root" in finding.what


@pytest.mark.parametrize(
    ("subject", "name"),
    [("CN=Meta\\, Inc,C=US", "Meta, Inc"), ("O=Only,C=US", "O=Only,C=US"), ("", "(no subject)")],
)
def test_the_short_name_is_the_common_name(subject: str, name: str) -> None:
    assert short_name(certificate(subject)) == name


def test_an_anchor_that_ends_is_a_problem_alone_and_a_note_beside_its_successor() -> None:
    term = {"not_before": NOW - timedelta(days=3000), "not_after": NOW + timedelta(days=1)}
    ending = certificate("CN=Old root", sha256="12" * 32, **term)
    old = anchor(description=ending)
    (alone,) = judge_anchors(sound(anchors=(old,), running=None))
    assert (alone.level, alone.remedy.partition(",")[0]) == ("problem", "add its successor beside it")
    first, second = judge_anchors(sound(anchors=(old, anchor()), running=None))
    assert (first.level, second.level) == ("note", "ok")
    first, _ = judge_anchors(sound(anchors=(old, anchor(staged=True)), running=None))
    assert first.level == "problem"


def test_a_bundle_of_public_roots_is_one_warning_and_no_list_of_them() -> None:
    many = tuple(anchor(f"Root {number}", organization="DigiCert Inc") for number in range(140))
    (finding,) = judge_anchors(sound(anchors=many))
    assert (finding.code, finding.level) == ("anchors_bundle", "warning")
    assert "140 anchors" in finding.what


@pytest.mark.parametrize(
    ("outdated", "strict", "level"),
    [("", False, "ok"), ("has expired", False, "warning"), ("has expired", True, "problem")],
)
def test_a_revocation_list_is_told_and_an_old_one_loudly(outdated: str, strict: bool, level: str) -> None:
    one = ListFile(
        client="meta",
        path=Path("/c/meta.crl"),
        issuer="CN=Meta root",
        revoked=3,
        next_update=NOW,
        outdated=outdated,
        strict=strict,
    )
    finding = the(judge_anchors(sound(lists=(one,))), "revocation_list")
    assert finding.level == level
    assert dict(finding.facts)["issuer"] == "CN=Meta root"


@pytest.mark.parametrize(("days", "level"), [(90, "ok"), (13, "note"), (2, "warning")])
def test_the_client_certificate_last_admitted_is_told_with_its_days(days: int, level: str) -> None:
    until = (NOW + timedelta(days=days)).isoformat()
    edge = {
        "anchors": [],
        "certificates": [
            {"name": "server", "not_after": until, "days_left": days},
            {"name": "client:meta", "not_after": until, "days_left": days},
        ],
    }
    finding = the(judge_anchors(sound(running=running(edge=edge))), "client_certificate")
    assert finding.level == level
    assert f"has {days} days left" in finding.what
