"""Secrets are compared in constant time: every decision about one rests on `hmac.compare_digest`."""

import hmac
from collections.abc import Callable

import pytest

from gateway.admin.guard import token_is_right
from gateway.core.challenge import ChallengeAccepted, answer_challenge
from gateway.core.seal import seal, unseal
from gateway.core.signature import VerifiedBody, sign, verify_signature
from gateway.settings.values import Secret

KEY = b"0123456789abcdef"
QUERY = b"hub.mode=subscribe&hub.challenge=1&hub.verify_token=" + KEY

DECISIONS: dict[str, Callable[[], bool]] = {
    "payload signature": lambda: isinstance(
        verify_signature(app="a", raw=b"b", header_values=[sign(KEY, b"b").encode()], secrets=[KEY]),
        VerifiedBody,
    ),
    "verify token": lambda: isinstance(answer_challenge(QUERY, verify_token=KEY), ChallengeAccepted),
    "admin token": lambda: token_is_right([b"Bearer " + KEY], token=KEY),
    "seal of a dead letter": lambda: isinstance(
        unseal([KEY], app="a", raw=b"b", integrity=seal(KEY, app="a", raw=b"b"), accept_edited=False),
        VerifiedBody,
    ),
    "a secret that is loaded anew": lambda: Secret(KEY, source="env A") == Secret(KEY, source="env A"),
}


@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS.keys())
def test_the_right_secret_counts_by_the_comparison_in_constant_time_alone(
    decide: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert decide()
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: False)
    assert not decide()
