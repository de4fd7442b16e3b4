"""What the load client prints."""

import pytest

from bench.load import read_outcome
from bench.processes import BenchError

LINE = (
    "ok=16500 bad=2 rps=3299.5 p50=4.21ms p90=9.00ms p99=48.70ms p999=60.10ms max=77.01ms over250=0 "
    "over1000=0 began=1795395688.915 ended=1795395693.920 cpu=1.25\n"
)


def test_its_line_is_read() -> None:
    outcome = read_outcome(LINE)
    assert (outcome.ok, outcome.bad, outcome.rps) == (16500, 2, 3299.5)
    assert (outcome.p50, outcome.p99, outcome.p999, outcome.max) == (4.21, 48.7, 60.1, 77.01)
    assert outcome.ended - outcome.began == pytest.approx(5.005)


@pytest.mark.parametrize("line", ["", "ok=1 bad=2", LINE.replace("rps=3299.5", "rps=...")])
def test_another_line_is_no_measurement(line: str) -> None:
    with pytest.raises(BenchError):
        read_outcome(line)
