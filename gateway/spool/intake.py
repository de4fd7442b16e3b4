"""What any spool checks of its arguments, on the caller's side, before they share a batch with others."""

from collections.abc import Sequence

from gateway.core.pausing import Pauses
from gateway.spool.contract import Lease, Notification, RetryLater, Settlement

MAX_TIME_MS = 2**53
"""The year 287396: integers above it lose digits in JSON."""


def check_notification(notification: Notification) -> None:
    """Hold ids, names and times to what every store can keep.

    Raises:
        ValueError: one of them is not printable text, or out of range. (A dead letter may have been edited.)
    """
    texts = [notification.id, notification.body.app]
    for delivery in notification.deliveries:
        texts += (delivery.id, delivery.target)
    for text in texts:
        if not text or not text.isprintable():
            raise ValueError(f"an id or a name is empty or not printable: {text!a}")
    if not 0 <= notification.received_at_ms < MAX_TIME_MS:
        raise ValueError(f"received_at_ms is out of range: {notification.received_at_ms}")


def check_settlements(settled: Sequence[tuple[Lease, Settlement]]) -> None:
    """Hold records of attempts to the leases that they were made under, and groups to one time.

    Raises:
        ValueError: the record of another attempt or of none, or a group whose members would come apart.
    """
    together: dict[str, tuple[str, int, int]] = {}
    for lease, settlement in settled:
        if not isinstance(settlement, RetryLater):
            continue
        if not lease.attempting:
            raise ValueError("a retry of what was leased without an attempt")
        if settlement.record.number != lease.attempt:
            raise ValueError(f"the record of attempt {settlement.record.number} for attempt {lease.attempt}")
        if settlement.group is not None:
            where = (lease.target, lease.attempt, settlement.at_ms)
            if together.setdefault(settlement.group, where) != where:
                raise ValueError(f"the members of {settlement.group} have not one time and one attempt")


def check_pauses(target: str, pauses: Pauses) -> None:
    """Hold the pauses of a target to what every store can keep, and to their order.

    Raises:
        ValueError: a text is not printable, or the times are not in order.
    """
    if not target or not all(text.isprintable() for text in (target, *(pause.reason for pause in pauses))):
        raise ValueError("a name is empty, or a reason is not printable")
    last_ms = -1
    for pause in pauses:
        end_ms = MAX_TIME_MS - 1 if pause.until_ms is None else pause.until_ms
        if not last_ms < pause.from_ms <= end_ms < MAX_TIME_MS:
            raise ValueError(f"pauses overlap, or are out of range: {pauses}")
        last_ms = max(pause.from_ms, end_ms - 1)
