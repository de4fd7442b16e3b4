"""What a run over many accounts says on stderr."""

import pytest

from gateway.cli.subscriptions.screen import Screen, say_countdown
from gateway.graph.errands import Outcome, Result
from gateway.graph.usage import Usage

USAGE = Usage(business="1", kind="whatsapp_business_management", percent=90)
DONE = Result(account="735190284461207", outcome=Outcome.DONE, what="subscribe")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (419.3, "7 min"),
        (419, "6 min 59 s"),
        (3600, "1 h"),
    ],
)
def test_a_countdown_is_told_to_the_second(seconds: float, said: str) -> None:
    assert say_countdown(seconds) == said


def test_in_a_pipe_each_thing_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(total=2) as screen:
        for _ in range(3):
            screen.pausing("1", 9.0, (USAGE,))
        for _ in range(2):
            for left in (420.0, 419.0, 0.0):
                screen.waiting(left, 2)
        screen.progress(1, 2, DONE)
    assert capsys.readouterr().err.splitlines() == [
        "slowing down, 9 s before each call: 90 % of whatsapp_business_management is used up",
        "rate limit: waiting 7 min for 2 accounts",
        "rate limit: waiting 7 min for 2 accounts",
    ]


def test_on_a_terminal_there_is_a_bar_and_a_countdown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with Screen(total=3) as screen:
        screen.progress(1, 3, DONE)
        screen.pausing("1", 9.0, (USAGE,))
        screen.waiting(419.0, 1)
    told = capsys.readouterr().err
    assert "1/3" in told
    assert "rate limit, 1 account waiting: 6 min 59 s" in told
