"""Named events with fields, not sentences. The only importer of structlog.

Events go to stderr: JSON lines, or a console format on a terminal. No secret, token, message text or full phone
number is ever a field (law 8).
"""

from typing import Literal, Protocol

import structlog


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


def configure_logging(*, level: Literal["debug", "info", "warning", "error"], json: bool) -> None:
    """Set up structlog once, at start."""
    raise NotImplementedError
