"""When to try again, and when to give up: a returned decision."""

from dataclasses import dataclass
from typing import Final

JITTER: Final = 0.2
"""Each step of a schedule is spread by +-20 % (contract, section 2), so that retries do not come in lockstep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """A target's retry settings."""

    schedule_seconds: tuple[float, ...]
    """Never empty; the last step repeats."""
    give_up_after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAt:
    """Try again at this time (Unix, milliseconds)."""

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The delivery becomes a dead letter (or is dropped, for a shadow target)."""


def step_ms(policy: RetryPolicy, *, attempt: int, jitter: float) -> int:
    """Milliseconds between attempt number `attempt` (1...) and the next; `jitter` is uniform in [0, 1)."""
    raise NotImplementedError


def decide_retry(
    policy: RetryPolicy,
    *,
    attempt: int,
    started_ms: int,
    now_ms: int,
    retry_after_seconds: float | None,
    jitter: float,
) -> RetryAt | GiveUp:
    """Decide after attempt number `attempt` has failed retryably.

    `started_ms` is when the give-up clock started: acceptance, or replay. `retry_after_seconds` is honoured as a
    lower bound of the next step, itself bounded by the longest step of the schedule. The last attempt falls on the
    give-up time: a next time beyond it is moved to it, and a failure at or after it gives up.
    """
    raise NotImplementedError
