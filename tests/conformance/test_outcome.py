"""The table at the end, and the exit code: what was not looked at is no pass."""

import pytest

from conformance.outcome import Outcome, failed, judged, passed, skipped, tell


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([passed("a", "b", "c")], 0),
        ([passed("a", "b", "c"), skipped("a", "d", "e")], 0),
        ([passed("a", "b", "c"), failed("a", "d", "e")], 1),
        ([skipped("a", "d", "not installed")], 1),
        ([], 1),
    ],
)
def test_the_exit_code(outcomes: list[Outcome], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(outcomes) == code
    told = capsys.readouterr().out
    assert all(one.detail in told for one in outcomes)


def test_each_outcome_is_a_row_and_the_last_line_counts(capsys: pytest.CaptureFixture[str]) -> None:
    tell([judged("tls", "suites", good=True, detail="three"), skipped("slow", "slowhttptest", "missing")])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "passed   tls   suites        three",
        "skipped  slow  slowhttptest  missing",
        "1 passed, 0 FAILED, 1 skipped",
    ]
