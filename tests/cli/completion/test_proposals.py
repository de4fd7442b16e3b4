"""What a shell proposes: names, whatever state the configuration is in."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.cli.completion import proposals
from gateway.cli.completion.proposals import (
    complete_app,
    complete_field,
    complete_kind,
    complete_sample,
    complete_target,
)
from gateway.cli.output import GlobalOptions

CONFIG = """\
apps: {main: {path: /a}, other: nonsense}
targets:
  support: &one {url: not even a URL}
  "$(reboot)": *one
  sales: *one
"""


def context(config: Path | None) -> Any:
    """Return what typer gives, as far as it is looked at."""
    return SimpleNamespace(find_root=lambda: SimpleNamespace(params={"config": config}))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        "gateway.cli.completion.proposals.options", GlobalOptions(config=tmp_path / "elsewhere")
    )
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    return tmp_path / "gateway.yaml"


def test_names_come_from_a_configuration_that_check_would_refuse(config: Path) -> None:
    assert complete_target(context(config), "") == ["support", "sales"]
    assert complete_target(context(config), "su") == ["support"]
    assert complete_app(context(config), "") == ["main", "other"]


def test_what_is_no_name_is_never_typed_into_a_shell(config: Path) -> None:
    assert complete_target(context(config), "$") == []


def test_an_option_after_the_command_goes_before_the_one_in_front(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "options", GlobalOptions(config=config, chosen=True))
    assert complete_app(context(Path("/nowhere")), "m") == ["main"]


@pytest.mark.parametrize(
    "content", [None, "", "[]", "targets: 3", "targets: [a", "\0", "targets: {a: &x [*x]}"]
)
def test_what_cannot_be_read_proposes_nothing(config: Path, content: str | None) -> None:
    config.unlink() if content is None else config.write_text(content)
    assert complete_target(context(config), "s") == []


def test_fields_kinds_and_samples_are_those_there_are() -> None:
    assert "messages" in complete_field("mess")
    assert complete_kind("s") == ["status"]
    assert "messages.image" in complete_sample("messages.im")
