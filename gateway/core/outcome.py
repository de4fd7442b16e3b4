"""The outcome of an attempt, read from the target's answer (contract, section 4)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from a target."""

    status: int
    retry_after: str | None
    """The raw `Retry-After` value, where there was exactly one."""
    excerpt: str
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
    retry_after_seconds: float | None
    """What the target asked for, not yet bounded; None where it asked for nothing (or nonsense)."""


Outcome = Delivered | Refused | Retryable


def classify(answer: Answer | NoAnswer, *, refuse_statuses: frozenset[int], now_ms: int) -> Outcome:
    """Read an outcome from an answer; `now_ms` (Unix) is what an HTTP-date in `Retry-After` is compared with."""
    raise NotImplementedError
