"""What became of each delivery of the demo, judged against what had to become of it. Pure.

The judge sees only what a bystander sees: what Meta sent, what targets received, and the dead-letter files.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.simulator.payloads import as_meta_writes
from gateway.simulator.scenario import APP, ORIGINAL_TARGET, Expected, Notification
from gateway.simulator.target import Received


class State(StrEnum):
    """How a journey stands."""

    UNDER_WAY = "under way"
    AS_EXPECTED = "as expected"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFile:
    """A dead letter as it lies on disk."""

    path: str
    """Relative to the dead-letter directory."""
    mode: int
    content: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        encoded = self.content.get("body_base64")
        return (
            base64.b64decode(encoded) if encoded is not None else str(self.content.get("body", "")).encode()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """One delivery: what came of it, and why it went there."""

    label: str
    target: str
    answers: tuple[int, ...]
    """What the target answered, attempt by attempt."""
    end: str
    """`delivered`, the reason of the dead letter, or empty while under way."""
    because: str
    """The routes that matched."""
    share: str
    """`1 of 4 changes`; empty where it carries the whole notification."""
    state: State
    difference: str
    """What is not as it should be; empty where all is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a bystander has seen so far."""

    received: Mapping[str, Sequence[Received]]
    """By target."""
    dead_letters: Sequence[DeadLetterFile]


def judge(
    sent: Sequence[Notification], evidence: Evidence, *, because: Callable[[Notification, str], str]
) -> tuple[Journey, ...]:
    """Judge every delivery that is expected; `because(notification, target)` tells why it goes there."""
    journeys = []
    for notification in sent:
        ids = _ids_of(notification.body, evidence)
        for expected in notification.line.deliveries:
            reason = because(notification, expected.target)
            journeys.append(_judge_one(notification, expected, ids, evidence, reason))
    return tuple(journeys)


def strays(sent: Sequence[Notification], evidence: Evidence) -> tuple[str, ...]:
    """Tell what arrived, or was buried, that nobody expected: a wrong route, or something delivered twice."""
    expected = {
        (identifier, delivery.target)
        for notification in sent
        for identifier in _ids_of(notification.body, evidence)
        for delivery in notification.line.deliveries
    }
    found = []
    for target, received in evidence.received.items():
        found += [
            f"{target} received {one.notification_id or 'something without an id'}, which is not for it"
            for one in received
            if (one.notification_id, target) not in expected
        ]
    found += [
        f"{letter.path} is a dead letter that nobody expected"
        for letter in evidence.dead_letters
        if (letter.content.get("notification_id"), letter.content.get("target")) not in expected
    ]
    for notification in sent:
        ids = _ids_of(notification.body, evidence)
        if len(ids) > 1:
            found.append(f"{notification.line.label}: stored {len(ids)} times, under different ids")
    return tuple(found)


def _ids_of(body: bytes, evidence: Evidence) -> frozenset[str]:
    """The ids under which these bytes were stored: the archive and `_unrouted` keep the original bytes."""
    archived = {one.notification_id for one in evidence.received.get(ORIGINAL_TARGET, ()) if one.body == body}
    buried = {str(one.content.get("notification_id")) for one in evidence.dead_letters if one.body == body}
    return frozenset(archived | buried)


def _judge_one(
    notification: Notification, expected: Expected, ids: frozenset[str], evidence: Evidence, because: str
) -> Journey:
    received = [one for one in evidence.received.get(expected.target, ()) if one.notification_id in ids]
    letters = [
        one
        for one in evidence.dead_letters
        if one.content.get("notification_id") in ids and one.content.get("target") == expected.target
    ]
    answers = tuple(one.status for one in received)
    if letters:
        end = str(letters[0].content.get("reason"))
    else:
        end = "delivered" if answers and 200 <= answers[-1] < 300 else ""
    if not end:
        state, difference = State.UNDER_WAY, ""
    else:
        problems = [
            *_in_end(expected, answers, end),
            *_in_requests(notification, expected, received),
            *_in_letters(notification, expected, letters, attempts=len(received)),
            *([] if because else ["no route explains it"]),
        ]
        difference = "; ".join(problems)
        state = State.DIFFERS if problems else State.AS_EXPECTED
    return Journey(
        label=notification.line.label,
        target=expected.target,
        answers=answers,
        end=end,
        because=because,
        share=_share(notification, expected),
        state=state,
        difference=difference,
    )


def _in_end(expected: Expected, answers: tuple[int, ...], end: str) -> list[str]:
    problems = [] if end == expected.end else [f"ended as {end}, not as {expected.end}"]
    if expected.end == "gave_up":
        # How many fit in before it gives up is up to jitter; fewer than three would be no schedule.
        fits = len(answers) >= 3 and set(answers) == set(expected.answers)
    else:
        fits = answers == expected.answers
    return problems if fits else [*problems, f"answers {list(answers)}, expected {list(expected.answers)}"]


def _in_requests(notification: Notification, expected: Expected, received: Sequence[Received]) -> list[str]:
    problems = []
    if [one.attempt for one in received] != list(range(1, len(received) + 1)):
        problems.append(f"Gateway-Attempt went {[one.attempt for one in received]}")
    if len({one.key for one in received}) > 1 or any(not one.key for one in received):
        problems.append("Idempotency-Key is not the same over all attempts")
    for one in received:
        if not one.signature_fits:
            problems.append("X-Hub-Signature-256 does not fit the body")
        if one.headers.get("gateway-app") != APP:
            problems.append("Gateway-App is wrong")
        problems += _in_body(notification, expected, one.body)
    return list(dict.fromkeys(problems))


def _in_letters(
    notification: Notification, expected: Expected, letters: Sequence[DeadLetterFile], *, attempts: int
) -> list[str]:
    if not letters:
        return [] if expected.end == "delivered" else ["no dead letter"]
    problems = [] if len(letters) == 1 else [f"{len(letters)} dead letters of one delivery"]
    letter = letters[0]
    if letter.mode != 0o600:
        problems.append(f"the dead letter's mode is {letter.mode:o}")
    if not letter.path.endswith(f"/{letter.content.get('id')}.json"):
        problems.append(f"the dead letter {letter.path} is not named by its id")
    if len(letter.content.get("attempts", ())) != attempts:
        problems.append(
            f"the dead letter tells of {len(letter.content.get('attempts', ()))} attempts, not {attempts}"
        )
    return problems + _in_body(notification, expected, letter.body)


def _in_body(notification: Notification, expected: Expected, body: bytes) -> list[str]:
    sent, got = _changes(notification.body), _changes(body)
    if expected.target == ORIGINAL_TARGET or expected.fields == tuple(field for field, _ in sent):
        return [] if body == notification.body else ["the body is not the original bytes"]
    fields = tuple(field for field, _ in got)
    problems = (
        [] if fields == expected.fields else [f"it carries {list(fields)}, expected {list(expected.fields)}"]
    )
    if any(value not in body or value not in notification.body for _, value in got):
        problems.append("a value is not byte-identical to what was sent")
    return problems


def _share(notification: Notification, expected: Expected) -> str:
    carried, sent = len(expected.fields), len(_changes(notification.body))
    return f"{carried} of {sent} changes" if carried < sent else ""


def _changes(body: bytes) -> list[tuple[str, bytes]]:
    """Field and bytes of the value of each change, as Meta writes them; none where it is not JSON."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return []
    return [
        (str(change.get("field")), as_meta_writes(change.get("value")))
        for envelope in (parsed if isinstance(parsed, list) else [parsed])
        for entry in envelope.get("entry", [])
        for change in entry.get("changes", [])
    ]
