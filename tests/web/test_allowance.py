"""An allowance lasts for its window and no longer."""

from gateway.web.allowance import Allowance


def test_so_many_and_no_more() -> None:
    allowance = Allowance(3)
    assert [allowance.use(now=float(n)) for n in range(5)] == [True, True, True, False, False]


def test_a_new_window_brings_a_new_allowance() -> None:
    allowance = Allowance(2, window_seconds=60)
    assert [allowance.use(now=n) for n in (100, 159.9, 159.9, 160, 219, 219.9)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_a_restart_forgives() -> None:
    allowance = Allowance(1)
    assert allowance.use(now=0)
    allowance.restart()
    assert allowance.use(now=0)
    assert not allowance.use(now=0)
