"""Patterns: `*` and `?`, and everything else for itself."""

import re
import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.globs import compile_globs


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*", "", True),
        ("*", "anything\nat all", True),
        ("**", "", True),
        ("?", "", False),
        ("?", "a", True),
        ("?", "\n", True),
        ("?", "ä", True),
        ("?", "ab", False),
        ("messages", "messages", True),
        ("messages", "Messages", False),
        ("messages", "messages ", False),
        ("messages", "message_echoes", False),
        ("message_template_*", "message_template_status_update", True),
        ("message_template_*", "message_template_", True),
        ("message_template_*", "template_category_update", False),
        ("*_update", "account_update", True),
        ("*_update", "account_update_", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "axxbxxbxxc", True),
        ("a*b*c", "ac", False),
        ("a?c", "abc", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("[!a]", "b", False),
        ("a.c", "abc", False),
        ("a.c", "a.c", True),
        ("a\\*", "a*", False),
        ("a\\*", "a\\x", True),
        ("{a,b}", "a", False),
        ("", "", True),
        ("", "a", False),
        ("a", "a\n", False),
    ],
)
def test_shell_patterns(pattern: str, text: str, matches: bool) -> None:
    assert compile_globs([pattern])(text) is matches


def test_any_of_several_patterns_is_enough() -> None:
    glob = compile_globs(["messages", "template_*", "?"])
    assert [text for text in ("messages", "template_x", "y", "yy", "*") if glob(text)] == [
        "messages",
        "template_x",
        "y",
        "*",
    ]


def test_a_key_that_is_not_stated_matches_everything_and_an_empty_list_nothing() -> None:
    assert compile_globs(None)("") is True
    assert compile_globs(None)("x") is True
    assert compile_globs([])("x") is False


@given(pattern=st.text("ab*?.\n", max_size=8), text=st.text("ab.*\n", max_size=10))
def test_it_agrees_with_fnmatch_where_that_knows_no_brackets(pattern: str, text: str) -> None:
    assert compile_globs([pattern])(text) is fnmatchcase(text, pattern)


@given(text=st.text(max_size=10))
def test_a_text_without_wildcards_matches_itself_alone(text: str) -> None:
    pattern = re.sub(r"[*?]", "x", text)
    assert compile_globs([pattern])(pattern)
    assert not compile_globs([pattern])(pattern + "x")


def test_many_stars_do_not_take_for_ever() -> None:
    """Field names come from outside: a pattern must not turn one of them into minutes of work."""
    started = time.perf_counter()
    # Backtracking would take longer than the universe has; 10 s leave room for a busy machine.
    assert compile_globs(["*a" * 12 + "b"])("a" * 20_000) is False
    assert time.perf_counter() - started < 10
