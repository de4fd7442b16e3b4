"""What the doctor says: findings, each with a stable code."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong; somebody may want to know, or to do something some day."""
    WARNING = "warning"
    """It works, and will not for ever; or it may not work, and that cannot be seen from here."""
    PROBLEM = "problem"
    """Something does not work, or is about to end."""


class Area(StrEnum):
    """What a finding is about, in the order in which they are shown."""

    GATEWAY = "gateway"
    CERTIFICATE = "own certificate"
    ANCHORS = "trust anchors"
    CLIENTS = "clients"
    OUTSIDE = "from outside"
    TARGETS = "targets"
    SPOOL = "spool"
    MACHINE = "clock and names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found."""

    code: str
    """Stable: for scripts and for the documentation."""
    level: Level
    area: Area
    what: str
    """What is so."""
    why: str = ""
    """Why it matters, or how it is known."""
    remedy: str = ""
    """The next step."""
    facts: tuple[tuple[str, str], ...] = field(default=())
    """Labels and values that are not part of a sentence: a fingerprint, a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, in the order of their areas."""

    findings: tuple[Finding, ...]
    running: bool
    """A gateway answered at the admin port."""
    at: datetime

    @property
    def ok(self) -> bool:
        """There is no problem."""
        return not any(finding.level is Level.PROBLEM for finding in self.findings)

    def count(self, level: Level) -> int:
        """Return how many findings are of one level."""
        return sum(finding.level is level for finding in self.findings)


NAMES_SHOWN: Final = 8
"""Of one certificate; those of a content network have a hundred."""

_SECONDS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def say_duration(seconds: float) -> str:
    """Write a duration in its two largest units: `3 d 4 h`, `12 s`; whole seconds, never negative."""
    rest = max(0, int(seconds))
    parts: list[tuple[int, str]] = []
    for unit, size in _SECONDS:
        count, rest = divmod(rest, size)
        if count or (parts and len(parts) < 2):
            parts.append((count, unit))
        if len(parts) == 2:
            break
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def say_ago(at: datetime, now: datetime) -> str:
    """Write how long ago something was."""
    return f"{say_duration((now - at).total_seconds())} ago"


def say_milliseconds(seconds: float) -> str:
    """Write a short time: `0.42 ms`, `310 ms`."""
    milliseconds = seconds * 1000
    return f"{milliseconds:.2f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"


def say_names(names: Sequence[str]) -> str:
    """List the names of a certificate, a few of them where there are many."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return (", ".join(names[:NAMES_SHOWN]) + more) or "no host at all"


def plural(count: int, noun: str, several: str = "") -> str:
    """Write a count with its noun: `1 problem`, `2 problems`, `3 deliveries`."""
    return f"{count} {noun}" if count == 1 else f"{count} {several or noun + 's'}"
