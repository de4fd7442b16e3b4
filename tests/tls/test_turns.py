"""Connections are shared out among processes, and nobody waits for one that is not there."""

import os
from collections.abc import Iterator

import pytest

from gateway.tls.turns import Turns, make_board


@pytest.fixture
def board() -> Iterator[int]:
    descriptor = make_board(3)
    yield descriptor
    os.close(descriptor)


def is_anothers(turns: Turns) -> bool:
    """Ask anew: the other writes what is read here."""
    return turns.is_anothers


def test_whoever_has_more_than_another_lets_it_go_first(board: int) -> None:
    first, second = Turns(board, own=0), Turns(board, own=1)
    first.leave(2)
    assert not is_anothers(first)
    first.show(1)
    assert is_anothers(first)
    assert not is_anothers(second)
    second.show(1)
    assert not is_anothers(first)
    assert not is_anothers(second)
    assert first.shown[:2] == [1, 1]


def test_nobody_waits_for_one_that_is_not_there(board: int) -> None:
    first = Turns(board, own=0)
    first.show(100)
    assert is_anothers(first)
    first.leave(1)
    first.leave(2)
    assert not is_anothers(first)
