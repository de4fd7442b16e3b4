"""Who has shown the token, and for how long that holds."""

from itertools import count

import pytest

from gateway.admin.dashboard.sessions import (
    IDLE_SECONDS,
    LIFE_SECONDS,
    MAX_SESSIONS,
    TRIES_AT_ONCE,
    Sessions,
    csrf_is_right,
)

TOKEN = b"the-admin-token-of-this-gateway-0123456789"


class Door:
    """Sessions with words that can be foretold."""

    def __init__(self) -> None:
        numbers = count()
        self.token = TOKEN
        self.sessions = Sessions(token=lambda: self.token, random_word=lambda: f"word-{next(numbers)}")


def test_the_token_opens_a_session_and_nothing_else_does() -> None:
    door = Door()
    for wrong in ("", "x", TOKEN.decode()[:-1], TOKEN.decode() + "x", "\u00e9", "\ud800"):
        assert door.sessions.open(wrong, 0) is None
    word = door.sessions.open(TOKEN.decode(), 0)
    assert word is not None
    session = door.sessions.find(word, 1)
    assert session is not None
    assert door.sessions.find("word-99", 1) is None
    assert TOKEN.decode() not in word
    assert TOKEN.decode() not in repr(session)
    assert word not in repr(session)


def test_without_a_token_nobody_gets_in() -> None:
    door = Door()
    door.token = b""
    assert door.sessions.open("", 0) is None


@pytest.mark.parametrize("end", [LIFE_SECONDS, LIFE_SECONDS + 1e6])
def test_a_session_ends_after_its_life_however_much_it_is_used(end: float) -> None:
    door = Door()
    word = door.sessions.open(TOKEN.decode(), 0) or ""
    for step in range(1, int(LIFE_SECONDS / 600)):
        assert door.sessions.find(word, step * 600) is not None
    assert door.sessions.find(word, end) is None


def test_a_session_that_is_not_used_ends_sooner() -> None:
    door = Door()
    word = door.sessions.open(TOKEN.decode(), 0) or ""
    assert door.sessions.find(word, IDLE_SECONDS - 1) is not None
    assert door.sessions.find(word, 2 * IDLE_SECONDS) is None


def test_a_session_ends_with_its_token_and_by_logging_out() -> None:
    door = Door()
    first, second = (door.sessions.open(TOKEN.decode(), 0) or "" for _ in range(2))
    door.sessions.close(first)
    door.sessions.close("word-99")
    assert door.sessions.find(first, 1) is None
    assert door.sessions.find(second, 1) is not None
    door.token = b"another"
    assert door.sessions.find(second, 2) is None


def test_the_session_that_was_used_least_recently_gives_way() -> None:
    door = Door()
    words = [door.sessions.open(TOKEN.decode(), number) or "" for number in range(MAX_SESSIONS)]
    door.sessions.find(words[0], 100)
    door.sessions.open(TOKEN.decode(), 101)
    assert door.sessions.find(words[0], 102) is not None
    assert door.sessions.find(words[1], 102) is None


def test_every_session_has_a_word_of_its_own_for_its_forms() -> None:
    door = Door()
    one, other = (door.sessions.find(door.sessions.open(TOKEN.decode(), 0) or "", 0) for _ in range(2))
    assert one is not None
    assert other is not None
    assert csrf_is_right(one, one.csrf)
    assert not csrf_is_right(one, other.csrf)
    assert not csrf_is_right(one, "")
    assert not csrf_is_right(one, "\u00e9")


def test_tries_are_counted_for_all_together() -> None:
    door = Door()
    assert [door.sessions.may_be_wrong(1000) for _ in range(TRIES_AT_ONCE + 3)].count(True) == TRIES_AT_ONCE
    assert not door.sessions.may_be_wrong(1001)
    assert door.sessions.may_be_wrong(1002)
