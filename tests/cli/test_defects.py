"""A defect that ends the process is told by kind and place, and never in its own words."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.defects import places

MAIN = """\
import sys, threading
from gateway.cli.defects import tell_without_texts

tell_without_texts()

def break_down():
    try:
        raise ValueError("canary")
    except ValueError as error:
        raise ExceptionGroup("canary", [RuntimeError("canary")]) from error

class Left:
    def __del__(self):
        break_down()

{how}
"""


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("break_down()", 1),
        ("thread = threading.Thread(target=break_down); thread.start(); thread.join()", 0),
        ("Left()", 0),
    ],
    ids=["main thread", "thread", "finalizer"],
)
def test_kind_and_place_are_told_and_the_words_are_not(tmp_path: Path, how: str, code: int) -> None:
    path = tmp_path / "broken.py"
    path.write_text(MAIN.format(how=how))
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code
    assert "canary" not in done.stdout + done.stderr
    assert f"{path}:10 in break_down" in done.stderr
    assert "builtins.RuntimeError" in done.stderr
    assert "builtins.ValueError" in done.stderr
    assert "please report it" in done.stderr


def test_what_was_suppressed_stays_so() -> None:
    def fail() -> None:
        try:
            int("no number")
        except ValueError:
            raise KeyError("second") from None

    with pytest.raises(KeyError) as caught:
        fail()
    told = list(places(caught.value))
    assert told[0] == "builtins.KeyError"
    assert not any("ValueError" in line for line in told)


def test_the_command_line_tells_defects_so() -> None:
    script = "import sys; from gateway import cli; cli.build_group = lambda: 1 / 0; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "builtins.ZeroDivisionError" in done.stderr
    assert "division by zero" not in done.stderr
