"""Which notifications get lines of their own, and how many lines trouble may write (`log.notifications`)."""

from collections import defaultdict
from collections.abc import Callable
from typing import Final, Literal
from zlib import crc32

from gateway.telemetry.line_budget import LineBudget

NotificationLog = Literal["problems", "sample", "all"]

SAMPLE: Final = 100
"""With `sample`, one notification in so many; chosen by its id (whatever an edited dead letter makes of it),
so that its deliveries are told of too."""

TROUBLE_LINES_PER_SECOND: Final = 1.0
"""Of one event and one target, after a burst: a target that fails one POST in ten at 3,300/s would write
8 GB a day, and the lines would all say the same."""


def is_told(setting: NotificationLog, notification_id: str) -> bool:
    """Say whether a notification, and what becomes of it, gets lines of its own."""
    match setting:
        case "problems":
            return False
        case "sample":
            return crc32(notification_id.encode("utf-8", "replace")) % SAMPLE == 0
        case "all":
            return True


class TroubleLines:
    """Allows lines about deliveries in trouble: all of what is told anyway, of the rest what a disk bears."""

    def __init__(self, setting: Callable[[], NotificationLog], *, clock: Callable[[], float]) -> None:
        """`setting` is asked each time; `clock` is any monotonic one, in seconds."""
        self.setting = setting
        self._clock = clock
        self._budgets: defaultdict[tuple[str, str], LineBudget] = defaultdict(
            lambda: LineBudget(lines_per_second=TROUBLE_LINES_PER_SECOND)
        )

    def take(self, event: str, *, target: str, notification_id: str) -> int | None:
        """Return how many lines of that event and target were left out since the last one; None: leave this
        one out too."""
        if is_told(self.setting(), notification_id):
            return 0
        return self._budgets[event, target].take(self._clock())
