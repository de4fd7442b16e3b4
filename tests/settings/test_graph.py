"""Meta's side of the set-up: its token is named, looked for, and read by nobody but the command."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError, UsageError
from gateway.settings.graph import Graph
from gateway.settings.load import Loaded, load_settings
from gateway.settings.secret import SecretReference

Load = Callable[..., Loaded]


def test_without_any_key_the_defaults_hold(good: str, load: Load) -> None:
    graph = load(good).settings.graph
    assert graph == Graph()
    assert (graph.version, graph.base_url) == ("v25.0", "https://graph.facebook.com")
    assert graph.token.source == "env META_ACCESS_TOKEN"
    assert graph.token.trouble == ""


def test_a_gateway_without_the_token_starts_all_the_same(good: str, load: Load) -> None:
    graph = load(good + "graph: {token: {env: META_ACCESS_TOKEN}}\n").settings.graph
    assert graph.token.trouble == "the environment variable META_ACCESS_TOKEN is not set"
    assert load(good + "graph: {token: {file: none}}\n").settings.graph.token.trouble.endswith(
        "cannot be read"
    )


def test_the_token_is_in_no_repr_and_in_no_list_of_opened_files(good: str, load: Load, site: Path) -> None:
    """What is not opened is not watched either: a new token reloads nothing."""
    (site / "token").write_text("EAAhunter2")
    loaded = load(good + "graph: {token: {file: token}}\n")
    assert "hunter2" not in repr(loaded)
    assert site / "token" not in loaded.opened
    assert loaded.settings.graph.token.read({}).reveal() == b"EAAhunter2"


def test_a_token_is_read_when_it_is_needed() -> None:
    reference = SecretReference(env="T")
    assert reference.read({"T": "one\n"}).reveal() == b"one"
    for environ, words in (({}, "is not set"), ({"T": ""}, "is empty"), ({"T": "a\nb"}, "several lines")):
        with pytest.raises(UsageError, match=words) as caught:
            reference.read(environ)
        assert caught.value.remedy


def test_references_are_equal_whatever_was_found_there() -> None:
    assert SecretReference(env="T") == SecretReference(env="T", trouble="is not set")
    assert SecretReference(env="T") != SecretReference(env="U")


def test_accounts_come_from_a_file_each_once(good: str, load: Load, site: Path) -> None:
    (site / "shops.txt").write_text("# ours\n0123\n5\n0123\n")
    graph = load(good + "graph: {subscriptions: [{waba: {file: shops.txt}}, {waba: 7}]}\n").settings.graph
    assert [entry.waba for entry in graph.subscriptions] == [("0123", "5"), ("7",)]


def test_a_pattern_in_a_file_is_no_account(good: str, load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"'1000\*' is a pattern"):
        load(good + "graph: {subscriptions: [{waba: {file: ids.txt}}]}\n")


def test_files_of_accounts_that_are_not_there_hide_nothing_else(good: str, site: Path) -> None:
    """`check` then loads a second time, without the lists, to look at the rest."""
    text = good + "graph: {subscriptions: [{waba: {file: a}}, {waba: {file: b}}]}\n"
    (site / "gateway.yaml").write_text(text)
    load_settings(site / "gateway.yaml", environ={}, with_secrets=False, with_lists=False)
