"""Named events with fields, not sentences. The only importer of structlog.

Events go to stderr: JSON lines, or a console format on a terminal. No secret, token, message text or full
phone number is ever a field (law 8); `redaction` is the second line of defence. `events` holds the table.
"""

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, Literal, Protocol, TextIO

import structlog

from gateway.settings.model import Log
from gateway.telemetry.console import render_console
from gateway.telemetry.line_writer import LineWriter
from gateway.telemetry.redaction import redact

Level = Literal["debug", "info", "warning", "error"]
_LEVELS: Final[Mapping[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_PRIORITIES: Final[Mapping[str, str]] = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>"}
"""Before each line that the journal reads: sd-daemon(3)."""

_UNREDACTED: Final = frozenset({"event", "level", "timestamp", "exc_info"})
"""Set by us or by structlog; a traceback is kept whole."""

UNKNOWN_WIDTH: Final = 80
"""Of a terminal that does not say: a serial line."""

_FIRST: Final = ("timestamp", "level", "event", "component", "worker")

FLUSH_SECONDS: Final = 1.0
"""For what was logged last, when the process ends: a reader that has not read by then is not there."""


class Logger(Protocol):
    """What a module needs of a logger: `log.info("handshake_refused", reason=...)`."""

    def debug(self, event: str, **fields: object) -> object: ...
    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


def get_logger(component: str) -> Logger:
    """Return a logger whose events carry `component`."""
    logger: Logger = structlog.get_logger(component=component)
    return logger


def wants_json(format_: Literal["auto", "json", "console"], stream: TextIO) -> bool:
    """Read `log.format`: `auto` is the console format on a terminal, JSON lines everywhere else."""
    return format_ == "json" or (format_ == "auto" and not stream.isatty())


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether a stream is read by systemd's journal, as systemd.exec(5) has it of `JOURNAL_STREAM`."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


def wants_colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Colours are for terminals, and not for who has said no (no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def apply_log_settings(log: Log) -> None:
    """Set up the log as the configuration has it, for the stderr that this process has."""
    configure_logging(
        level=log.level,
        json=wants_json(log.format, sys.stderr),
        journal=is_journal(sys.stderr, os.environ),
    )


def configure_logging(*, level: Level, json: bool, journal: bool = False) -> None:
    """Set up structlog, at start; events below `level` cost next to nothing.

    For the `journal`, which notes the time and has a field for the level, lines have no time and begin with
    their priority.
    """
    processors: list[structlog.typing.Processor] = [structlog.processors.add_log_level]
    if not journal:
        processors.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    processors += [_redact_event, structlog.processors.format_exc_info]
    processors.append(structlog.processors.JSONRenderer(default=repr) if json else _console)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_JournalLogger if journal else _StderrLogger,
        # Uncached: a second call (a test, a reload of log.level) takes effect on loggers that exist.
        cache_logger_on_first_use=False,
    )


@contextmanager
def written_aside() -> Iterator[None]:
    """Log through a thread for as long as this lasts: whoever serves must not wait for who reads its log.

    At the end what is left is written. Where it cannot be, stderr is let go of: what else the process has to
    say there must not keep it from ending.
    """
    descriptor = sys.stderr.fileno()
    _StderrLogger.writer = writer = LineWriter(descriptor)
    try:
        yield
    finally:
        _StderrLogger.writer = None
        if not writer.close(seconds=FLUSH_SECONDS):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _console(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    colours = wants_colours(sys.stderr, os.environ)
    return render_console(event, colours=colours, width=_terminal_width(sys.stderr))


def _terminal_width(stream: TextIO) -> int | None:
    """Return how many characters a line of the terminal has; None: it is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or UNKNOWN_WIDTH
    except (OSError, ValueError):
        return None


class _StderrLogger:
    """Writes whole lines to stderr.

    A log that cannot be written (its disk is full, its reader is gone) must not cost a notification: the line
    is dropped, and the next one that gets through says how many were (`lost_lines`).
    """

    lost_lines = 0
    writer: LineWriter | None = None
    """Who writes, while `written_aside`."""

    def __init__(self, *_: object) -> None: ...

    def _write(self, line: str) -> None:
        cls = _StderrLogger
        told, cls.lost_lines = cls.lost_lines, 0
        if cls.writer is not None:
            cls.writer.put(line, tells_lost=told)
            return
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # ValueError: stderr is closed
            cls.lost_lines = told + 1

    debug = info = warning = error = _write


class _JournalLogger(_StderrLogger):
    """Begins each line with its priority, those of a traceback too: the journal takes each for an entry."""

    def _at(self, level: str, text: str) -> None:
        priority = _PRIORITIES[level]
        self._write("\n".join(priority + line for line in text.split("\n")))

    def debug(self, line: str) -> None:
        self._at("debug", line)

    def info(self, line: str) -> None:
        self._at("info", line)

    def warning(self, line: str) -> None:
        self._at("warning", line)

    def error(self, line: str) -> None:
        self._at("error", line)


def tell_worker(number: int) -> None:
    """Have every event of this process carry the number of its worker."""
    _whose["worker"] = number


_whose: Final[dict[str, int]] = {}


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key not in _UNREDACTED:
            event[key] = redact(key, value)
    event.update(_whose)
    if _StderrLogger.writer is not None:
        _StderrLogger.lost_lines += _StderrLogger.writer.take_lost()
    if _StderrLogger.lost_lines:
        event["lost_lines"] = _StderrLogger.lost_lines
    # What every line has comes first: who reads JSON lines reads their beginnings.
    return {key: event.pop(key) for key in _FIRST if key in event} | dict(event)
