"""Phone number before account before app."""

import pytest

from gateway.graph.precedence import Level, decide, overridable_fields

URLS = ("https://phone/", "https://waba/", "https://app/")


def levels(*urls: str | None, known: tuple[bool, ...] = (True, True, True)) -> tuple[Level, ...]:
    names = ("phone number", "account", "app")
    return tuple(
        Level(name=name, url=url, known=one) for name, url, one in zip(names, urls, known, strict=True)
    )


@pytest.mark.parametrize(
    ("set_", "holds"),
    [
        ((URLS[0], URLS[1], URLS[2]), URLS[0]),
        ((None, URLS[1], URLS[2]), URLS[1]),
        ((None, None, URLS[2]), URLS[2]),
        ((URLS[0], None, URLS[2]), URLS[0]),
    ],
)
def test_the_first_that_is_set_holds(set_: tuple[str | None, ...], holds: str) -> None:
    decided = decide(levels(*set_))
    assert decided.holds is not None
    assert decided.holds.url == holds
    assert decided.otherwise.url == URLS[2]


def test_where_a_stronger_one_is_not_known_nothing_is_claimed() -> None:
    assert decide(levels(None, URLS[1], URLS[2], known=(False, True, True))).holds is None
    assert decide(levels(None, None, None, known=(True, True, False))).holds is None


def test_the_fields_are_those_of_conversations() -> None:
    fields = overridable_fields()
    assert {"messages", "calls", "standby"} <= set(fields)
    assert not {"account_update", "message_template_status_update", "security"} & set(fields)
