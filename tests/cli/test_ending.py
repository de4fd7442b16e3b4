"""How a command line ends, and what it takes before and after the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.ending import ending
from gateway.cli.output import options
from gateway.errors import GatewayError, UsageError
from tests.cli.calling import call


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=os.environ | environ,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def _options_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    monkeypatch.setattr(options, "config", options.config)


@pytest.mark.usefixtures("_options_as_before")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--config", "{}", "check"),
        ("check", "--config", "{}"),
        ("--config", "elsewhere.yaml", "check", "--config={}"),
        ("dead-letters", "list", "--config", "{}"),
        ("dead-letters", "--config", "{}", "list"),
        ("run", "--config", "{}"),
        ("send", "--field", "messages", "--config", "{}"),
    ],
)
def test_the_configuration_is_named_before_the_command_or_after_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    path = tmp_path / "mine.yaml"
    called = call(capsys, *(one.format(path) for one in arguments))
    assert called.code == 2
    told = called.out + called.err
    assert str(path) in told
    assert "elsewhere" not in told


@pytest.mark.usefixtures("_options_as_before")
def test_the_environment_names_it_where_no_option_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "environment.yaml"))
    assert "environment.yaml" in call(capsys, "check").out
    named = call(capsys, "check", "--config", str(tmp_path / "option.yaml")).out
    assert "option.yaml" in named
    assert "environment.yaml" not in named


def test_the_paragraphs_of_help_flow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = call(capsys, "dead-letters", "replay", "--help").out
    assert "where none runs, this command takes the spool and does it itself" in told


def test_what_is_no_letter_in_the_encoding_is_escaped() -> None:
    ended = run("fields", "messages", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert ended.returncode == 0, ended.stderr
    assert rb"\u" in ended.stdout


@pytest.mark.parametrize("arguments", [("fields", "--json"), ("--version",), ("fields", "--help")])
def test_a_reader_that_goes_away_is_no_mistake(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments], stdout=writer, stderr=subprocess.PIPE
    ) as command:
        os.close(writer)
        _, errors = command.communicate(timeout=60)
    assert (command.returncode, errors) == (1, b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    called = call(capsys, "certs", "make", str(tmp_path / "below"))
    assert called.code == 1
    assert called.err == f"{tmp_path / 'below'}: Permission denied\n"


def test_a_path_that_cannot_be_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    called = call(capsys, "certs", "make", str(tmp_path / "file" / "below"))
    assert called.code == 1
    assert called.err == f"{tmp_path / 'file' / 'below'}: Not a directory\n"


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ExceptionGroup("", [ExceptionGroup("", [UsageError("so", remedy="not so")])]), 2, "so; not so\n"),
        (BaseExceptionGroup("", [KeyboardInterrupt(), GatewayError("late")]), 130, "interrupted\nlate\n"),
        (OSError(28, "No space left on device", "/x"), 1, "/x: No space left on device\n"),
        (OSError("just so"), 1, "just so\n"),
    ],
)
def test_what_was_foreseen_ends_with_a_sentence(
    capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, told: str
) -> None:
    with pytest.raises(SystemExit) as ended, ending():
        raise raised
    assert ended.value.code == code
    assert capsys.readouterr().err == told


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), ending():
        raise ZeroDivisionError
    with pytest.raises(ExceptionGroup), ending():
        raise ExceptionGroup("", [OSError("foreseen"), ZeroDivisionError()])
