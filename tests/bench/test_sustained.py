"""What is late and what is lost."""

from bench.sustained import judge


def test_late_and_lost_are_told_apart() -> None:
    acked = {"a", "b", "c", "d"}
    delivered = {"a": 99.0, "b": 104.9, "c": 105.1, "unacknowledged": 200.0}
    assert judge(acked, delivered, ended=100.0) == (1, 1, 5.099999999999994)


def test_everything_in_time_is_neither() -> None:
    assert judge({"a"}, {"a": 98.0}, ended=100.0) == (0, 0, -2.0)
