"""The scripts that `gateway completion` prints, in the shells that they are for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import call

SCRIPTS = Path(sys.executable).parent
BASH = """\
eval "$(gateway completion bash)"
COMP_WORDS=({words}); COMP_CWORD={position}
_gateway_completion gateway
echo "${{COMPREPLY[@]}}"
complete -p gateway meta-webhook-gateway
"""


def in_bash(directory: Path, *words: str) -> list[str]:
    """Return what bash proposes for the last word, and the commands that it completes."""
    script = BASH.format(words=" ".join(words), position=len(words) - 1)
    environ = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=directory, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_bash_completes_commands_and_targets_under_both_names(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("targets: {support: {}, sales: {}}\n")
    proposed, *commands = in_bash(tmp_path, "gateway", "dead")
    assert proposed == "dead-letters"
    assert [line.split()[-1] for line in commands] == ["gateway", "meta-webhook-gateway"]
    before = ("gateway", "--config", "my.yaml", "targets", "pause", "s")
    assert in_bash(tmp_path, *before)[0] == "support sales"
    after = ("gateway", "replay", "--config", "my.yaml", "--target", "su")
    assert in_bash(tmp_path, *after)[0] == "support"


@pytest.mark.parametrize(("shell", "check"), [("zsh", "-n"), ("fish", "--no-execute")])
def test_the_other_scripts_are_scripts_of_their_shells(
    shell: str, check: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = call(capsys, "completion", shell).out
    assert "_GATEWAY_COMPLETE=complete_" + shell in script
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, check, str(tmp_path / "script")], check=True)


def test_the_shell_is_the_users_own_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert call(capsys, "completion").out.startswith("complete --command gateway")
    monkeypatch.setenv("SHELL", "/bin/dash")
    refused = call(capsys, "completion")
    assert refused.code == 2
    assert "name it: bash, zsh or fish" in refused.err
