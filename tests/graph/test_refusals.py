"""Errors of the Graph API become sentences with a remedy, and no secret."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graph.refusals import Limit, Scope, known_block, read_refusal, scrub

SAMPLES = Path(__file__).parents[1] / "data/payloads/_graph_api"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def error(code: object, message: str = "words of Meta's", **more: object) -> dict[str, object]:
    return {"error": {"message": message, "code": code, **more}}


def test_the_rate_limit_as_meta_documents_it() -> None:
    sample = json.loads((SAMPLES / "rate_limited.80008.json").read_text())
    refusal = read_refusal(sample["status"], sample["body"], minutes=17)
    assert refusal.limit == Limit(scope=Scope.ACCOUNT, minutes=17)
    assert refusal.what == "the rate limit of this account is reached (code 80008)"
    assert "--wait" in refusal.remedy
    assert refusal.trace == "AKestrelTrace01"


@pytest.mark.parametrize(
    ("status", "code", "scope"),
    [
        (400, 80008, Scope.ACCOUNT),
        (400, 80007, Scope.ACCOUNT),
        (400, 32, Scope.ACCOUNT),
        (400, 613, Scope.ACCOUNT),
        (400, 4, Scope.EVERYTHING),
        (400, 17, Scope.EVERYTHING),
        (429, None, Scope.ACCOUNT),
        (429, 99999, Scope.ACCOUNT),
        (400, "80008", Scope.ACCOUNT),
    ],
)
def test_every_limit_is_known_for_one(status: int, code: object, scope: Scope) -> None:
    limit = read_refusal(status, None if code is None else error(code)).limit
    assert limit is not None
    assert limit.scope is scope


@pytest.mark.parametrize(
    ("status", "body", "what", "remedy"),
    [
        (
            400,
            error(100),
            "does not take a parameter (words of Meta's) (code 100)",
            "WhatsApp Business Account",
        ),
        (400, error(100, error_subcode=33), "no such account", "give the token's system user access"),
        (401, error(190), "does not take the access token", "system user"),
        (401, error(190, error_subcode=463), "has expired (code 190, subcode 463)", "never expires"),
        (
            401,
            error(190, error_subcode=999),
            "does not take the access token",
            "whatsapp_business_management",
        ),
        (403, error(200), "not allowed to do this", "whatsapp_business_management"),
        (403, error(270), "not allowed to do this", "full control"),
        (403, error(10), "not allowed to do this", "permission"),
        (500, error(1), "Meta has trouble of its own", "later"),
        (503, error(2), "Meta has trouble of its own", "later"),
        (400, error(2200), "could not verify the callback URL", "gateway doctor"),
        (400, error(12345), "Meta refused (words of Meta's) (code 12345)", "errors"),
        (400, error(12345, error_user_msg="plain words"), "Meta refused (plain words)", "errors"),
        (502, None, "Meta has trouble of its own (HTTP status 502) (HTTP 502)", "later"),
        (401, None, "does not take the access token", "system user"),
        (302, None, "a redirect, and none is followed", "graph.base_url"),
        (404, [], "Meta refused (HTTP status 404)", "errors"),
    ],
)
def test_every_error_is_a_sentence_with_a_remedy(status: int, body: object, what: str, remedy: str) -> None:
    refusal = read_refusal(status, body)
    assert what in refusal.what
    assert remedy in refusal.remedy
    assert refusal.limit is None


def test_meta_quotes_the_token_and_we_do_not() -> None:
    body = error(100, "Malformed access token s3cret-token; EAAGm0PX4ZCpsBA; 264419870315578|abc_d-9")
    what = read_refusal(400, body, secrets=["s3cret-token"]).what
    assert "s3cret" not in what
    assert "EAAG" not in what
    assert "abc_d" not in what


@given(st.integers(100, 599), JSON, JSON)
def test_whatever_the_body_is_there_is_one_printable_line(status: int, body: object, inner: object) -> None:
    for content in (body, {"error": inner}, {"error": {"message": inner, "code": body}}):
        refusal = read_refusal(status, content, secrets=["hunter2"])
        assert refusal.what
        assert refusal.remedy
        assert refusal.what.isprintable()
        assert len(refusal.what) < 500
        assert refusal.trace.isprintable()


@given(st.text(), st.text(min_size=5))
def test_a_secret_never_survives(before: str, secret: str) -> None:
    if secret not in "[hidden]":
        assert secret not in scrub(f"{before}{secret}{before}", [secret]).replace("[hidden]", "")


def test_a_known_block_is_a_limit_that_no_call_has_found() -> None:
    block = known_block(7)
    assert block.status == 0
    assert block.limit == Limit(scope=Scope.ACCOUNT, minutes=7)
