"""What became of each examination, and the table at the end."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Only PASSED is a pass."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One examination."""

    section: str
    name: str
    state: State
    detail: str
    """What was seen; of a skipped one, why."""


def passed(section: str, name: str, detail: str) -> Outcome:
    """Record what is as it should be."""
    return Outcome(section=section, name=name, state=State.PASSED, detail=detail)


def failed(section: str, name: str, detail: str) -> Outcome:
    """Record what is not."""
    return Outcome(section=section, name=name, state=State.FAILED, detail=detail)


def skipped(section: str, name: str, detail: str) -> Outcome:
    """Record what was not looked at."""
    return Outcome(section=section, name=name, state=State.SKIPPED, detail=detail)


def judged(section: str, name: str, *, good: bool, detail: str) -> Outcome:
    """Record what is as it should be, or is not."""
    return (passed if good else failed)(section, name, detail)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows in columns; the last is left as long as it is."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]


def tell(outcomes: Iterable[Outcome]) -> int:
    """Print the table; return the exit code: 0 if nothing failed and something passed."""
    told = list(outcomes)
    rows = [(one.state.value, one.section, one.name, one.detail) for one in told]
    counts = Counter(one.state for one in told)
    lines = columns(rows) if rows else []
    lines.append(", ".join(f"{counts[state]} {state}" for state in State))
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    return 0 if counts[State.PASSED] and not counts[State.FAILED] else 1
