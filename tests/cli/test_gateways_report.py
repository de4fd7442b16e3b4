"""How the gateways on one database are told of."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from gateway.cli.gateways_report import differences, draw_gateways, lines_of_gateways, told_of_gateways

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def one(name: str, state: str = "answers", *, own: bool = False, silent: float = 0.4) -> dict[str, Any]:
    return {
        "gateway": name,
        "own": own,
        "state": state,
        "version": "0.1.0",
        "directory": "/srv/spool",
        "started_at": "2026-11-23T10:00:00.000Z",
        "last_heard_at": "2026-11-23T11:59:59.000Z",
        "silent_seconds": silent,
    }


OWN = one("db-a:11", own=True)


@pytest.mark.parametrize(
    ("gateways", "said"),
    [
        ([], ""),
        ([OWN], ""),
        ([OWN, one("db-b:12")], "2 of 2 gateways answered"),
        ([OWN, one("db-b:12", "no_answer")], "1 of 2 gateways answered; db-b:12 did not answer in time"),
        (
            [OWN, one("db-b:12"), one("db-c:13", "silent", silent=240.0)],
            "2 of 3 gateways answered; db-c:13 not heard of for 4 min",
        ),
        ([one("db-b:12")], "this gateway is stopped: the others tell what follows (1 of 1 answered)"),
        (
            [one("db-b:12"), one("db-c:13", "silent", silent=240.0)],
            "this gateway is stopped: the others tell what follows (1 of 2 answered);"
            " db-c:13 not heard of for 4 min",
        ),
    ],
)
def test_who_answered_is_one_sentence_and_who_did_not_is_named(
    gateways: list[dict[str, Any]], said: str
) -> None:
    assert told_of_gateways(gateways) == said


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_says_which_one_was_asked(width: int) -> None:
    console = Console(width=width, record=True, force_terminal=False)
    for part in draw_gateways([OWN, one("db-b.internal.example.com:12345", "silent", silent=240.0)], NOW):
        console.print(part)
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "db-a:11 (this one)" in text
    assert "2 h" in text
    assert "4 min ago" in text
    assert list(draw_gateways([OWN], NOW)) == []


def test_in_a_pipe_each_is_a_line_without_the_signs_that_a_stranger_put_into_its_name() -> None:
    lines = list(lines_of_gateways([OWN, one("db\tb\x1b[31m:12")]))
    assert lines[0].split("\t")[:3] == ["replica", "db-a:11", "answers"]
    assert [len(line.split("\t")) for line in lines] == [7, 7]
    assert "\x1b" not in lines[1]


def test_where_they_see_a_target_differently_each_is_told() -> None:
    view = {
        "gateways": [{"gateway": "db-a:11", "state": "delivering"}, {"gateway": "db-b:12", "state": "open"}]
    }
    assert differences(view) == "delivering on db-a:11, open on db-b:12"
    assert differences({}) == ""
