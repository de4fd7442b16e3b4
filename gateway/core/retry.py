"""When to try again, and when to give up: a returned decision."""

from dataclasses import dataclass
from typing import Final

JITTER: Final = 0.2
"""Each step of a schedule is spread by +-20 % (contract, section 2), so that retries do not come in
lockstep."""


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
    base_seconds = policy.schedule_seconds[min(max(attempt, 1), len(policy.schedule_seconds)) - 1]
    spread = 1 + JITTER * (2 * jitter - 1)
    # At least a millisecond: a step of nothing would make the dispatcher spin.
    return max(1, round(base_seconds * 1000 * spread))


def give_up_at_ms(policy: RetryPolicy, started_ms: int) -> int:
    """Return when a give-up clock that started then ends."""
    return started_ms + round(policy.give_up_after_seconds * 1000)


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

    `started_ms` is when the give-up clock started: acceptance, or replay. `retry_after_seconds` is honoured
    as a lower bound of the next step, itself bounded by the longest step of the schedule. The last attempt
    falls on the give-up time: a next time beyond it is moved to it, and a failure at or after it gives up.

    The next time is always counted from now. A clock that was set back, so that now is before the start,
    therefore neither hurries nor strands a delivery; it only moves the end away by as much.
    """
    end_ms = give_up_at_ms(policy, started_ms)
    if now_ms >= end_ms:
        return GiveUp()
    delay_ms = step_ms(policy, attempt=attempt, jitter=jitter)
    if retry_after_seconds is not None and retry_after_seconds > 0:
        asked_ms = round(min(retry_after_seconds, max(policy.schedule_seconds)) * 1000)
        delay_ms = max(delay_ms, asked_ms)
    return RetryAt(at_ms=min(now_ms + delay_ms, end_ms))
