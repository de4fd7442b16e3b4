"""What several workers say, where some or all of them fail."""

import pytest

from gateway.errors import GatewayError, PeerError, SpoolUnavailableError
from gateway.process.spools import answers_of

AWAY = SpoolUnavailableError("the database: connection refused", remedy="start it")
SLOW = PeerError("a worker process did not answer within 5 s")


def test_who_fails_is_left_out() -> None:
    said: dict[int, int | GatewayError] = {0: SLOW, 1: 7, 2: AWAY, 3: 9}
    assert answers_of(said) == [7, 9]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "no worker answers now; ask again in a moment"),
        ({0: SLOW}, "no worker answers now; ask again in a moment"),
        ({0: SLOW, 1: AWAY}, "the database: connection refused; start it"),
    ],
)
def test_where_all_fail_it_is_told_why_if_one_knows(said: dict[int, int | GatewayError], why: str) -> None:
    with pytest.raises(SpoolUnavailableError) as caught:
        answers_of(said)
    assert str(caught.value) == why
