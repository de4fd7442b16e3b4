"""What `gateway subscriptions` prints of many accounts."""

from pathlib import Path

import pytest

from gateway.cli.subscriptions import report
from gateway.graph.accounts import read_ids
from gateway.graph.errands import Outcome, Result
from gateway.graph.usage import UsageBook


def result(account: int, outcome: Outcome) -> Result:
    return Result(account=str(account), outcome=outcome, what="x\x1b[0m", remedy="do it")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.DONE, Outcome.UNCHANGED, Outcome.WOULD], 0),
        ([Outcome.DONE, Outcome.UNDECIDED], 2),
        ([Outcome.UNDECIDED, Outcome.FAILED], 1),
        ([Outcome.LIMITED], 1),
        ([Outcome.NOT_TRIED, Outcome.DONE], 1),
    ],
)
def test_the_exit_code_says_the_worst(outcomes: list[Outcome], code: int) -> None:
    assert report.exit_code([result(1, outcome) for outcome in outcomes]) == code


def test_of_many_a_terminal_is_shown_what_failed_and_a_pipe_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [result(1000 + number, Outcome.DONE) for number in range(60)] + [result(77, Outcome.FAILED)]
    monkeypatch.setattr("os.isatty", lambda _: True)
    report.print_results(results, UsageBook([]), what="account", as_json=False)
    shown = capsys.readouterr()
    assert "77" in shown.out
    assert "1000" not in shown.out
    assert "60 done, 1 failed" in shown.err
    assert shown.err.count("next step: do it") == 1
    monkeypatch.setattr("os.isatty", lambda _: False)
    report.print_results(results, UsageBook([]), what="account", as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 61


def test_what_remains_is_written_whole_and_can_be_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "rest.txt"
    file.write_text("1\n2\n3\n")
    results = [result(1, Outcome.DONE), result(2, Outcome.LIMITED), result(3, Outcome.NOT_TRIED)]
    report.write_rest(file, results, command="gateway subscriptions subscribe")
    assert read_ids(file.read_text()).ids == ("2", "3")
    assert "\x1b" not in file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["rest.txt"]


def test_what_remains_is_written_through_nobodys_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / ".rest.txt.part").symlink_to(precious)
    report.write_rest(
        tmp_path / "rest.txt", [result(2, Outcome.LIMITED)], command="gateway subscriptions list"
    )
    assert precious.read_text() == "mine"
    assert (tmp_path / "rest.txt").stat().st_mode & 0o777 == 0o600
