"""Calling the command line in this process."""

import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from gateway.cli import main
from tests.stories.rig import free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a command did."""

    code: int
    out: str
    err: str


def initialise(capsys: pytest.CaptureFixture[str], directory: Path, more: str = "") -> Path:
    """Have `gateway init` write a configuration, add an admin port of its own and `more`; return the file."""
    assert call(capsys, "init", str(directory)).code == 0
    config = directory / "gateway.yaml"
    with config.open("a") as file:
        file.write(f"\nadmin: {{address: '127.0.0.1:{free_port()}'}}\n{more}")
    return config


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Called:
    """Run `gateway ARGUMENTS`."""
    capsys.readouterr()
    with patch.object(sys, "argv", ["gateway", *arguments]):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        else:
            code = 0
    captured = capsys.readouterr()
    return Called(
        code=code if isinstance(code, int) else int(code is not None), out=captured.out, err=captured.err
    )
