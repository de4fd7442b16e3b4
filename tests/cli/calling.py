"""Calling the command line in this process."""

import sys
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from gateway.cli import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a command did."""

    code: int
    out: str
    err: str


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
