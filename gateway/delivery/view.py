"""How a target is, for people: in metrics, on the admin port, and by the commands."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.core.breaker import State
from gateway.core.pausing import Pause
from gateway.delivery.message import rfc3339
from gateway.spool.history import AttemptRecord


class TargetState(StrEnum):
    """What a target's state is called."""

    DELIVERING = "delivering"
    OPEN = "open"
    RECOVERING = "recovering"
    PAUSED = "paused"


UNKNOWN: Final = "unknown"
"""The state of a target that the configuration has lost while deliveries wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """The state of one target."""

    state: TargetState
    breaker: State
    opened_at_ms: int | None
    """Unix time; None while the breaker is closed."""
    pause: Pause | None
    """What is going on."""
    rate_per_second: float | None
    """At which what has gathered goes out; None: no limit."""
    not_before_ms: int | None = 0
    """Nothing is sent before: a pause, or an open breaker's next probe; None: until somebody resumes."""
    last_failure: AttemptRecord | None = None
    """The last attempt that the target did not take, since the process began."""


def next_attempt_ms(not_before_ms: int | None, due_ms: int | None, now_ms: int) -> int | None:
    """Return when the next attempt starts, as far as that is a question of time; None: it is not.

    `due_ms` is when the next delivery is due that nobody has in hand; None: there is none.
    """
    if due_ms is None or not_before_ms is None:
        return None
    return max(due_ms, not_before_ms, now_ms)


def shown_view(view: TargetView) -> dict[str, object]:
    """Return it fit for JSON."""
    return {
        "state": str(view.state),
        "breaker": {
            "open": view.opened_at_ms is not None,
            "state": str(view.breaker),
            "opened_at": None if view.opened_at_ms is None else rfc3339(view.opened_at_ms),
        },
        "pause": shown_pause(view.pause),
        "rate_per_second": view.rate_per_second,
        "last_error": shown_failure(view.last_failure),
    }


def shown_failure(record: AttemptRecord | None) -> dict[str, object] | None:
    """Return it fit for JSON, without what the target has written: that may quote a notification."""
    if record is None:
        return None
    return {"at": rfc3339(record.at_ms), "status": record.status, "error": record.error}


def shown_pause(pause: Pause | None) -> dict[str, object] | None:
    """Return it fit for JSON; null where none is going on."""
    if pause is None:
        return None
    return {
        "from": rfc3339(pause.from_ms),
        "until": None if pause.until_ms is None else rfc3339(pause.until_ms),
        "reason": pause.reason,
    }
