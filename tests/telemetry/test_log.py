"""The log: JSON lines or a console format, on stderr."""

import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway.settings.values import Secret
from gateway.telemetry.log import Level, configure_logging, get_logger, is_journal, wants_colours, wants_json

log = get_logger("test")
PASSWORD = "hunter2"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class FullDisk(io.StringIO):
    """A stderr whose disk is full for some time."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def write(self, text: str) -> int:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_events_are_json_lines_with_time_level_and_component(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", json=True)
    log.warning("request_refused", status=401, detail="a\nb\u2028\udcff")
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(line.pop("timestamp")))
    assert line == {
        "event": "request_refused",
        "level": "warning",
        "component": "test",
        "status": 401,
        "detail": "a\nb\u2028\udcff",
    }


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_events_below_the_level_are_left_out(
    capsys: pytest.CaptureFixture[str], level: Level, shown: list[str]
) -> None:
    configure_logging(level=level, json=True)
    log.debug("event")
    log.info("event")
    log.warning("event")
    log.error("event")
    assert [line["level"] for line in lines(capsys)] == shown


def test_a_logger_made_before_the_configuration_obeys_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="debug", json=True)
    log.debug("event")
    configure_logging(level="error", json=True)
    log.debug("event")
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_and_bytes_are_not_printed_even_if_passed(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    configure_logging(level="info", json=as_json)
    secret = Secret(b"hunter2", source="env X")
    log.info("event", one=secret, two=b"hunter2", three={"x": secret}, admin_token="hunter2")
    captured = capsys.readouterr()
    assert captured.err
    assert "hunter2" not in captured.err


def test_the_console_format_is_one_line_an_event_whatever_strangers_send(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="info", json=False)
    log.info(
        "handshake_refused", subject="CN=\x1b[2J\r\nfaked line", reason="\x1b[2J\u202e", nested=["\x1b[2J"]
    )
    captured = capsys.readouterr().err
    assert captured.removesuffix("\n").isprintable()
    assert "handshake refused" in captured


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_is_told_without_values_of_variables(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    configure_logging(level="info", json=as_json)

    def stumble(secret: str) -> int:
        return int(f"x{len(secret)}")

    with pytest.raises(ValueError) as caught:
        stumble(PASSWORD)
    log.error("event", exc_info=caught.value)
    captured = capsys.readouterr().err
    assert "ValueError" in captured
    assert "stumble" in captured
    assert PASSWORD not in captured


def test_a_log_that_cannot_be_written_raises_nothing_and_says_later_what_was_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure_logging(level="info", json=True)
    stream = FullDisk(failures=3)
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in range(5):
        log.info("event")
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("lost_lines") for line in told] == [3, None]


def test_a_closed_stderr_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging(level="info", json=True)
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    log.info("event")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    log.info("event")


def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert wants_json("auto", io.StringIO())
    assert not wants_json("auto", Terminal())
    assert wants_json("json", Terminal())
    assert not wants_json("console", io.StringIO())


def test_a_journal_is_told_by_the_file_that_stderr_is(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as stream:
        found = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


def test_the_journal_gets_priorities_and_no_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="debug", json=True, journal=True)
    log.debug("event")
    log.info("event")
    log.warning("event")
    log.error("event")
    told = capsys.readouterr().err.splitlines()
    assert [line[:3] for line in told] == ["<7>", "<6>", "<4>", "<3>"]
    assert json.loads(told[2][3:]) == {"event": "event", "level": "warning", "component": "test"}


def test_each_line_of_a_traceback_has_its_priority_in_the_journal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", json=False, journal=True)
    log.error("event", exc_info=ValueError("x"))
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "<3>error   event"
    assert len(told) > 1
    assert all(line.startswith("<3>") for line in told)


def test_colours_are_for_terminals_and_not_for_who_has_said_no() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert wants_colours(Terminal(), {})
    assert wants_colours(Terminal(), {"NO_COLOR": ""})
    assert not wants_colours(Terminal(), {"NO_COLOR": "1"})
    assert not wants_colours(Terminal(), {"TERM": "dumb"})
    assert not wants_colours(io.StringIO(), {})
