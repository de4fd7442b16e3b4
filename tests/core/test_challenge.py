"""Meta's verification GET: the challenge comes back exactly, and only for the right token."""

from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.challenge import ChallengeAccepted, ChallengeRefused, answer_challenge

TOKEN = b"kestrel token"
GOOD = b"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=kestrel+token"


def status(query: bytes, token: bytes = TOKEN) -> int:
    answer = answer_challenge(query, verify_token=token)
    return answer.status if isinstance(answer, ChallengeRefused) else 200


def test_the_challenge_comes_back() -> None:
    assert answer_challenge(GOOD, verify_token=TOKEN) == ChallengeAccepted(challenge=b"1158201444")


@given(challenge=st.binary(min_size=1), token=st.binary(min_size=1))
def test_any_challenge_comes_back_byte_for_byte(challenge: bytes, token: bytes) -> None:
    query = urlencode({"hub.mode": b"subscribe", "hub.challenge": challenge, "hub.verify_token": token})
    assert answer_challenge(query.encode(), verify_token=token) == ChallengeAccepted(challenge=challenge)


def test_the_callback_s_own_parameters_are_passed_over() -> None:
    """Meta keeps the query string of the callback URL; it may even be malformed, or repeated."""
    assert status(b"tenant=7&tenant=8&x=%zz&&=&" + GOOD + b"&y") == 200


def test_percent_encoded_names_count() -> None:
    assert status(b"hub%2Emode=subscribe&hub%2echallenge=1&hub.verify_token=kestrel%20token") == 200


@pytest.mark.parametrize(
    "token",
    [b"", b"kestrel", b"kestrel token ", b"Kestrel token", b"kestrel token\x00", "kestrel tök".encode()],
)
def test_a_wrong_token_is_403(token: bytes) -> None:
    query = b"hub.mode=subscribe&hub.challenge=1&hub.verify_token=" + quote_from_bytes(token).encode()
    assert status(query) == 403


def test_an_empty_configured_token_admits_nobody() -> None:
    assert status(b"hub.mode=subscribe&hub.challenge=1&hub.verify_token=", token=b"") == 403


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"hub.mode=subscribe",
        b"hub.mode=subscribe&hub.challenge=1",
        b"hub.mode=subscribe&hub.verify_token=kestrel+token",
        b"hub.challenge=1&hub.verify_token=kestrel+token",
        b"hub_mode=subscribe&hub_challenge=1&hub_verify_token=kestrel+token",
        GOOD + b"&hub.challenge=2",
        GOOD + b"&hub.mode=subscribe",
        GOOD + b"&hub.verify_token=kestrel+token",
        GOOD + b"&hub.verify%5Ftoken=other",
        GOOD.replace(b"subscribe", b"unsubscribe"),
        GOOD.replace(b"subscribe", b"Subscribe"),
        GOOD.replace(b"subscribe", b""),
        GOOD.replace(b"1158201444", b""),
        GOOD.replace(b"1158201444", b"1%2"),
        GOOD.replace(b"1158201444", b"1%zz"),
        GOOD.replace(b"&", b";"),
    ],
)
def test_missing_repeated_and_malformed_parameters_are_400(query: bytes) -> None:
    assert status(query) == 400


def test_a_wrong_token_is_not_told_from_a_missing_mode_by_its_token() -> None:
    """Whether the request is well-formed is judged before the token is looked at."""
    assert status(b"hub.mode=x&hub.challenge=1&hub.verify_token=wrong") == 400


@given(query=st.binary())
def test_no_query_makes_it_raise_or_be_accepted(query: bytes) -> None:
    assert status(query) in (400, 403)


def test_the_details_show_nothing_of_the_request() -> None:
    refusal = answer_challenge(GOOD.replace(b"kestrel", b"guessed"), verify_token=TOKEN)
    assert isinstance(refusal, ChallengeRefused)
    assert "guessed" not in refusal.detail
    assert "kestrel" not in refusal.detail
