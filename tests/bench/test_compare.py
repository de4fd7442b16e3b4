"""The order of the measurements."""

from collections import Counter

from bench.compare import schedule
from bench.contenders import CONTENDERS


def test_everybody_is_measured_as_often_and_no_round_begins_as_the_last_did() -> None:
    planned = list(schedule(CONTENDERS, 3))
    counts = Counter((contender.name, kind) for _, contender, kind in planned)
    assert set(counts.values()) == {3}
    assert {name for name, kind in counts if kind == "handshake"} == {
        "bound",
        "gateway",
        "nginx",
        "granian",
        "uvicorn",
    }
    first_of_round = [next(one.name for n, one, _ in planned if n == number) for number in range(3)]
    assert len(set(first_of_round)) == 3


def test_nobody_is_measured_where_nobody_is() -> None:
    assert list(schedule([], 2)) == []
