"""The programs that the checks of deploy/ run: found, or the check is skipped with the reason."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
_PATH: Final = f"{os.environ['PATH']}:/usr/sbin:/sbin"
"""haproxy lies where people without root do not look."""


def program(name: str) -> str:
    """Return where a program lies; the test that asks is skipped where there is none."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def run(*command: str | Path, stdin: str = "") -> str:
    """Run a program to its end and return what it printed; it must succeed."""
    done = subprocess.run(
        [program(str(command[0])), *map(str, command[1:])],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
