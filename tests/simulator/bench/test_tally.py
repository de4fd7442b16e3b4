"""What processes tell: the sum of two is as one that did both."""

import msgspec

from gateway.simulator.bench.tally import Said, Tally


def test_counts_are_added_and_extremes_kept() -> None:
    total = Tally()
    total.add(Tally(due=3, statuses={200: 2, 503: 1}, slowest_us=10, busy=0.9, seconds=5, latency={1: 2}))
    total.add(Tally(due=4, statuses={200: 4}, slowest_us=7, busy=0.1, seconds=6, latency={1: 1, 9: 3}))
    assert (total.due, total.accepted, total.slowest_us, total.busy, total.seconds) == (7, 6, 10, 0.9, 6)
    assert total.statuses == {200: 6, 503: 1}
    assert total.latencies().buckets == {1: 3, 9: 3}


def test_a_tally_survives_the_pipe() -> None:
    tally = Tally(due=3, statuses={200: 2}, latency={5: 2}, marks=b"\0\xff", faults={"no connection": 1})
    line = msgspec.json.encode(Said(tally=tally, done=True))
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=Said) == Said(tally=tally, done=True)
