"""--help is enough: every command has an example that works, and tells its exit codes."""

import shlex
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.cli import build_group
from gateway.cli.help_pages import EXAMPLES, help_page
from tests.cli.calling import call

SELF_EXPLAINED = {"completion"}
WIDTH = 80


def commands(command: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return every command that can be called, by its words."""
    command = command or build_group()
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for own_name, one in below.items():
        if not name:  # commands are imported when their context is made
            one = one.make_context(own_name, [], resilient_parsing=True).command
        yield from commands(one, f"{name} {own_name}".strip())


EVERY = dict(commands())


def test_every_command_has_examples_and_no_example_is_of_none() -> None:
    assert EXAMPLES.keys() == EVERY.keys() - SELF_EXPLAINED


@pytest.mark.parametrize("name", EVERY)
def test_a_page_has_a_purpose_an_example_and_exit_codes(name: str) -> None:
    page = str(EVERY[name].help)
    assert len(page.partition("\n")[0]) > 20, "the first paragraph is the purpose"
    assert "\n    gateway " in page or 'eval "$(gateway' in page
    assert "xit code" in page


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_options_of_the_examples_exist_and_their_lines_fit(name: str) -> None:
    options = {option for parameter in EVERY[name].params for option in parameter.opts}
    for example in EXAMPLES[name]:
        assert len(example) + 6 <= WIDTH
        words = shlex.split(example, comments=True)
        assert words[0] == "gateway"
        rest = " ".join(words[3:] if words[1] == "--config" else words[1:])
        assert f"{rest} ".startswith(f"{name} ")
        given = {word for word in rest.split() if word.startswith("--")}
        assert given <= options, example


def test_paragraphs_flow_and_commands_to_copy_stay_lines() -> None:
    page = help_page("none", "One\ntwo.\n\nThree:\n    gateway a\n    gateway b\n\nFour\nfive.")
    assert page == "One two.\n\nThree:\n    gateway a\n    gateway b\n\nFour five."


def test_every_option_says_what_it_does() -> None:
    for name, command in EVERY.items():
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


def test_a_page_is_shown_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setattr(sys, "argv", ["/somewhere/pytest"])
    shown = call(capsys, "targets", "pause", "--help").out
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert "     gateway targets pause support --for 2h --reason 'database upgrade'" in shown
    assert sys.argv[0] not in shown
