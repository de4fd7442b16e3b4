"""What `gateway trace` prints: one line a fact, at 80 columns, the same on a terminal and in a pipe."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from gateway.cli.gateways_report import told_of_absent
from gateway.delivery.message import rfc3339
from gateway.doctor.finding import plural, say_duration
from gateway.telemetry.redaction import visible

_CAME: Final = {
    "accepted": "with an accepted client certificate",
    "refused": "with a client certificate that was not accepted",
    "none": "without a client certificate",
}
_WIDTH: Final = 17
"""Of the column of states: the longest is `waits_for_another`."""


def lines(found: Mapping[str, Any], *, now_ms: int) -> Iterator[str]:
    """Return the report; `found` is what `/api/trace` answers."""
    for number, notification in enumerate(found["notifications"]):
        if number:
            yield ""
        yield from _notification(notification, now_ms)
    if found["remark"]:
        yield visible(f"{found['asked']}: {found['remark']}")
        if made := _made_at(found["asked"]):
            yield f"by its id it would have been accepted at {made}"
    if searched := found["searched"]:
        looked = (
            f"looked through {plural(searched['bodies'], 'body', 'bodies')} and"
            f" {plural(searched['dead_letters'], 'dead letter')}"
        )
        all_ = "that is all there is" if searched["complete"] else "not all: there was no time for more"
        yield f"{looked}; {all_}"
    if told := told_of_absent(found.get("gateways", [])):
        yield f"not asked for what it remembers: {told}"


def _notification(notification: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    yield f"notification {notification['notification']}"
    size = f", {notification['bytes']} bytes" if notification["bytes"] else ""
    accepted = notification["received_at"] or "at a time that is not known any more"
    app = f" for app {visible(notification['app'])}" if notification["app"] else ""
    yield f"  accepted {accepted}{app}{size}"
    if came := _CAME.get(notification["client_certificate"]):
        connection = notification["connection"]
        yield f"  came {came}" + (f", connection {visible(connection)}" if connection else "")
    by = [f"worker {notification['worker']}"] if notification["worker"] is not None else []
    by += [f"gateway {visible(notification['gateway'])}"] if notification.get("gateway") else []
    if by:
        yield f"  by {' of '.join(by)}"
    if not notification["deliveries"]:
        yield "  no target"
    width = max((len(one["target"]) for one in notification["deliveries"]), default=0)
    for delivery in notification["deliveries"]:
        what = "; ".join(_what(delivery, now_ms))
        yield f"  {visible(delivery['target']):{width}}  {delivery['state']:{_WIDTH}}  {what}".rstrip()
        for attempt in delivery["attempts"]:
            came_of = attempt["error"] or f"answered {attempt['status']}"
            yield (
                f"      attempt {attempt['number']} at {attempt['at']}: {visible(came_of)}"
                f" ({attempt['duration_ms']} ms)"
            )
        if delivery["dead_letter"]:
            there = f", on {visible(delivery['gateway'])}" if delivery.get("gateway") else ""
            yield f"      {visible(delivery['dead_letter'])}{there}"


def _what(delivery: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    match delivery["state"]:
        case "delivered":
            yield f"at {delivery['delivered_at']}"
            if delivery["status"]:
                yield f"attempt {delivery['attempt']}, answered {delivery['status']}"
            if delivery.get("gateway"):
                yield f"by {visible(delivery['gateway'])}"
            if delivery["kept"]:
                yield "kept: gateway replay can send it again"
        case "waiting" | "under_way":
            if due := delivery["next_attempt_at"]:
                seconds = datetime.fromisoformat(due).timestamp() - now_ms / 1000
                yield f"next attempt in {say_duration(seconds)}" if seconds >= 1 else "due now"
            elif delivery["state"] == "waiting":
                yield "due now"
        case "waits_for_another":
            yield "an earlier delivery of the same sender goes first"
        case "dead_letter":
            yield f"{delivery['reason']} at {delivery['died_at']}"
        case _:
            yield "taken or dropped; which of them is not known any more"


def _made_at(asked: str) -> str | None:
    """Say when a notification id was made (RFC 9562, UUID version 7: its first 48 bits); None: it is none."""
    try:
        made_ms = int(asked[:12], 16) if asked[12:13] == "7" and len(asked) >= 32 else None
        return None if made_ms is None else rfc3339(made_ms)
    except (ValueError, OverflowError, OSError):
        return None
