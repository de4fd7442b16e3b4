"""Named events with fields, not sentences. The only importer of structlog.

Events go to stderr: JSON lines, or a console format on a terminal. No secret, token, message text or full
phone number is ever a field (law 8); `redaction` is the second line of defence. `events` holds the table.
"""

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, Protocol, TextIO

import structlog

from gateway.telemetry.redaction import redact, visible

Level = Literal["debug", "info", "warning", "error"]
_LEVELS: Final[Mapping[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_UNREDACTED: Final = frozenset({"event", "level", "timestamp", "exc_info"})
"""Set by us or by structlog; a traceback is kept whole."""


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


def configure_logging(*, level: Level, json: bool) -> None:
    """Set up structlog, at start; events below `level` cost next to nothing."""
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
        if json
        else [_escape_controls, _console()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact_event,
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_StderrLogger,
        # Uncached: a second call (a test, a reload of log.level) takes effect on loggers that exist.
        cache_logger_on_first_use=False,
    )


def _console() -> structlog.dev.ConsoleRenderer:
    # The default with rich installed prints the values of local variables: secrets, bodies.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


class _StderrLogger:
    """Writes whole lines to stderr.

    A log that cannot be written (its disk is full, its reader is gone) must not cost a notification: the line
    is dropped, and the next one that gets through says how many were (`lost_lines`).
    """

    lost_lines = 0

    def __init__(self, *_: object) -> None: ...

    def _write(self, line: str) -> None:
        cls = type(self)
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # ValueError: stderr is closed
            cls.lost_lines += 1
        else:
            cls.lost_lines = 0

    debug = info = warning = error = _write


def tell_worker(number: int) -> None:
    """Have every event of this process carry the number of its worker."""
    _whose["worker"] = number


_whose: Final[dict[str, int]] = {}


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key not in _UNREDACTED:
            event[key] = redact(key, value)
    event.update(_whose)
    if _StderrLogger.lost_lines:
        event["lost_lines"] = _StderrLogger.lost_lines
    return event


def _escape_controls(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = visible(value)
    return event
