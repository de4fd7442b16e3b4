"""Which dead letters are meant: by target, field, reason, and time of acceptance. Pure but for the
reading.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.core.globs import compile_globs
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DeadLetter, Reason
from gateway.errors import DeadLetterError, UsageError

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)(?: ago)?")
_UNIT_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is asked for; None: whatever it is. Times are Unix milliseconds, of acceptance."""

    target: str | None = None
    field: str | None = None
    """A pattern as in routes; one of the letter's fields must match."""
    reason: Reason | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def states_nothing(self) -> bool:
        """Whether it takes everything."""
        return self == Selection()

    def may_hold(self, day: str, hour: str) -> bool:
        """Whether there may be a match among what was accepted in an hour: one directory of a target."""
        first = f"{day} {hour}"
        return (self.since_ms is None or first >= _hour(self.since_ms)) and (
            self.until_ms is None or first <= _hour(self.until_ms)
        )

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter matches."""
        return (
            self.target in (None, letter.target)
            and self.reason in (None, letter.reason)
            and (self.since_ms is None or letter.received_at_ms >= self.since_ms)
            and (self.until_ms is None or letter.received_at_ms <= self.until_ms)
            and (self.field is None or any(map(compile_globs([self.field]), letter.summary.fields)))
        )


def select(
    store: DeadLetterStore, selection: Selection
) -> Iterator[tuple[Found, DeadLetter | DeadLetterError]]:
    """Go through the letters that match, oldest first, and through the files that cannot be read.

    Raises:
        DeadLetterError: the directory cannot be read.
    """
    for found in store.iterate(target=selection.target, may_hold=selection.may_hold):
        try:
            letter = store.read(found)
        except DeadLetterError as error:
            yield found, error
        else:
            if selection.takes(letter):
                yield found, letter


def parse_moment(text: str, *, now_ms: int, option: str) -> int:
    """Read `2h`, `2h ago`, or RFC 3339 (a date alone is its midnight, UTC) as Unix milliseconds.

    Raises:
        UsageError: neither.
    """
    if duration := _DURATION.fullmatch(text.strip()):
        return max(0, now_ms - round(float(duration[1]) * _UNIT_MS[duration[2]]))
    try:
        moment = datetime.fromisoformat(text.strip())
        unix_ms = round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r:.60} is no time", remedy="write 2h, 3d, 2026-01-02 or 2026-01-02T03:04:05Z"
        ) from None
    return max(0, unix_ms)


def _hour(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H")
