"""What is kept whole of what no route takes."""

from gateway.ingress.unrouted import CopyBudget


def test_a_burst_then_so_many_a_second_and_a_burst_again_after_quiet() -> None:
    budget = CopyBudget(per_second=10, burst=100)
    kept = [sum(budget.take(second + number / 1000) for number in range(1000)) for second in range(20)]
    assert 108 <= kept[0] <= 111
    assert all(9 <= number <= 11 for number in kept[1:])
    assert sum(budget.take(100.0) for _ in range(1000)) == 100


def test_a_clock_that_stands_still_earns_nothing() -> None:
    budget = CopyBudget(per_second=10, burst=3)
    assert [budget.take(5.0) for _ in range(5)] == [True, True, True, False, False]
