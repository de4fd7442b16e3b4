"""The errors of the gateway: a small tree, whose classes say who is at fault.

Errors carry data and a remedy. Foreign exceptions become one of these at one boundary and nowhere else.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

RESTART_REMEDY: Final = "restart the gateway for this, or put back what was there"
"""Of a problem that nothing is wrong with but that a running gateway cannot take it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One complaint about the configuration: where it is, what is wrong, what to do."""

    file: Path
    line: int
    """1-based; 0 where the complaint is about the file as a whole."""
    column: int
    """1-based; 0 where the complaint is about the file as a whole."""
    key_path: str
    """Dotted, with list positions in brackets: `targets.support.retry.schedule[2]`; empty for the file."""
    message: str
    remedy: str

    def __str__(self) -> str:
        """Print as `FILE:LINE:COLUMN: key.path: what is wrong; what to do`; without numbers where there is no
        place."""
        where = f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)
        key = f"{self.key_path}: " if self.key_path else ""
        return f"{where}: {key}{self.message}; {self.remedy}"

    def plain(self) -> dict[str, object]:
        """Return it fit for JSON."""
        return asdict(self) | {"file": str(self.file)}


class GatewayError(Exception):
    """Whatever the gateway raises on purpose. `remedy` names the next step."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class ConfigurationError(GatewayError):
    """The operator's fault: the configuration, or a file that it names, cannot be used."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class UsageError(GatewayError):
    """The operator's fault: the command was called with arguments that do not fit."""


class SpoolLockedError(GatewayError):
    """The operator's fault: another process holds this spool directory."""


class SpoolUnavailableError(GatewayError):
    """Ours, passing: nothing can be stored now (disk full, no room). Meta gets 503 and comes again."""


class SpoolBrokenError(GatewayError):
    """Ours, final: the disk failed (EIO) or the file is damaged. The process ends; nothing is overwritten."""


class DeadLetterError(GatewayError):
    """A dead-letter file cannot be written, read, or trusted."""


class PeerError(GatewayError):
    """The other side of a connection is at fault."""
