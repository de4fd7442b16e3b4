"""The outcome of an attempt, read from the target's answer (contract, section 4)."""

import re
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_DELAY_SECONDS: Final = re.compile(r"[0-9]+")
_MAX_DELAY_SECONDS: Final = 10**9
"""About 30 years: more than any schedule, and far from what a float or an int parser chokes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from a target."""

    status: int
    retry_after: str | None
    """The raw `Retry-After` value, where there was exactly one."""
    excerpt: str = field(repr=False)
    """The first bytes of the answer's body (4 KiB at most are read), decoded with replacement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """The attempt ended without an answer: time-out, refused connection, broken TLS, DNS."""

    error: str
    """One line, without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """2xx."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One of `refuse_statuses`: a dead letter at once."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retryable:
    """Everything else."""

    status: int | None
    error: str
    """Why there was no answer; empty after an answer."""
    retry_after_seconds: float | None
    """What the target asked for, not yet bounded; None where it asked for nothing (or nonsense)."""


Outcome = Delivered | Refused | Retryable


def classify(answer: Answer | NoAnswer, *, refuse_statuses: frozenset[int], now_ms: int) -> Outcome:
    """Read an outcome from an answer; `now_ms` (Unix) is what an HTTP-date in `Retry-After` is compared
    with."""
    match answer:
        case NoAnswer(error=error):
            return Retryable(status=None, error=error, retry_after_seconds=None)
        case Answer(status=status) if 200 <= status <= 299:
            return Delivered(status=status)
        case Answer(status=status) if status in refuse_statuses:
            return Refused(status=status)
        case Answer(status=status, retry_after=retry_after):
            seconds = None if retry_after is None else _retry_after_seconds(retry_after, now_ms=now_ms)
            return Retryable(status=status, error="", retry_after_seconds=seconds)


def _retry_after_seconds(value: str, *, now_ms: int) -> float | None:
    """Read `delay-seconds` or an HTTP-date (RFC 9110, 10.2.3); None for nonsense and for a time that is
    past."""
    text = value.strip(" \t")
    if _DELAY_SECONDS.fullmatch(text):
        digits = text.lstrip("0") or "0"
        return float(_MAX_DELAY_SECONDS if len(digits) > 9 else int(digits))
    try:
        date = parsedate_to_datetime(text)
        # HTTP-dates are in GMT; the asctime form does not say so (RFC 9110, 5.6.7).
        at = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = at.timestamp() - now_ms / 1000
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(seconds, float(_MAX_DELAY_SECONDS)) if seconds >= 0 else None
