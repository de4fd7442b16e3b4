"""Tables for eyes."""

import pytest

from gateway.cli.table import print_table


def test_strangers_texts_are_text_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(("name", "count"), [("[/x]\x1b[31m", "7")], right=("count",), whole=("name",))
    shown = capsys.readouterr().out
    assert "[/x]\\x1b[31m" in shown
    assert "\x1b[31m" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
