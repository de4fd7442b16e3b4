"""What commands print: fit for a terminal, whoever wrote it."""

import json

import pytest

from gateway.cli.output import err, json_text, out_json


@pytest.mark.parametrize(
    "text", ["\x1b[31m", "\x9b31m", "\x9d0;title\x9c", "\u202egnp.exe", "a\u2028b", "\x7f", "\ud800"]
)
def test_json_steers_no_terminal_and_says_the_same(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    out_json({text: [text]})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {text: [text]}
    assert all(character.isprintable() or character == "\n" for character in printed)


def test_ordinary_text_stays_as_it_is() -> None:
    assert json_text(["Grüße, 世界 🎉", "👩\u200d🔧"]) == '["Grüße, 世界 🎉", "👩\u200d🔧"]'


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "\x9b31m", "\u202egnp.exe", "a\rb", "\x7f"])
def test_no_complaint_steers_a_terminal_whomever_it_quotes(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    err(f"the admin port answered 500: {text}\n\tmore")
    told = capsys.readouterr().err
    assert told.endswith("\n\tmore\n")
    assert all(character.isprintable() or character in "\n\t" for character in told)
