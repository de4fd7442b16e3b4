"""Where is this message? One notification, followed through the spool, the dead letters and what memory has.

Asked is a notification's id, a delivery's (its `Idempotency-Key`, `+N` of a merged POST included), or what
stands in a body: a `wamid`, a Messenger id. The latter has no index, and gets none: an acknowledgement would
pay for it. It is looked for in the bodies that are there, newest first, for a bounded time, and the answer
says how far the look came.

What can be said is bounded by what is kept. A delivery that a target has taken leaves the spool; then memory
knows it for the next ten to twenty thousand notifications, and `spool.keep_delivered` for as long as it says.
"""

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import msgspec
import trio

from gateway.core.routing import UNROUTED
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dead_letter_place import Found
from gateway.delivery.dead_letter_record import DeadLetter
from gateway.delivery.message import rfc3339
from gateway.errors import DeadLetterError, UsageError
from gateway.spool.contract import Spool
from gateway.spool.history import AttemptRecord, TracedDelivery
from gateway.telemetry.whereabouts import Whereabouts

SEARCH_SECONDS: Final = 10.0
"""For a look through bodies, and as much for dead letters: about a million bodies of 500 bytes."""
MOST_FOUND: Final = 50
"""Notifications that hold what is looked for: a message and its statuses are some five."""
LEAST_CHARACTERS: Final = 8
"""Of what is looked for: less is in every body."""
MOST_CHARACTERS: Final = 300

_ID: Final = re.compile(r"([0-9a-f]{32})(?:-[A-Za-z0-9_-]{1,150}(?:\+[0-9]{1,5})?)?")
_TEXT: Final = re.compile(rf"[!-~]{{{LEAST_CHARACTERS},{MOST_CHARACTERS}}}")

NOT_FOUND: Final = (
    "not in the spool, not among the dead letters, and not among the last notifications that memory knows:"
    " delivered and not kept (spool.keep_delivered), dropped, or never here"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be found: either."""

    text: str
    notification_id: str | None
    needles: tuple[bytes, ...]


def read_asked(text: str) -> Asked:
    """Read what somebody asks for.

    Raises:
        UsageError: it can be neither an id nor what stands in a body.
    """
    text = text.strip()
    if match := _ID.fullmatch(text):
        return Asked(text=text, notification_id=match[1], needles=())
    if not _TEXT.fullmatch(text) or '"' in text or "\\" in text:
        raise UsageError(
            "that is neither the id of a notification or a delivery nor a message id",
            remedy="give 32 hexadecimal digits, NOTIFICATION-TARGET, or a wamid, without spaces",
        )
    raw = text.encode("ascii")
    # Meta escapes slashes in some bodies.
    return Asked(
        text=text, notification_id=None, needles=tuple(dict.fromkeys((raw, raw.replace(b"/", b"\\/"))))
    )


class TakenPart(msgspec.Struct, kw_only=True):
    """That a target has taken a delivery."""

    at_ms: int
    attempt: int
    status: int
    gateway: str | None = None
    """Which has delivered it, where there are several."""


class NotificationPart(msgspec.Struct, kw_only=True):
    """What one process knows of a notification."""

    id: str
    app: str | None = None
    received_ms: int | None = None
    size_bytes: int | None = None
    worker: int | None = None
    gateway: str | None = None
    """Which has accepted it, where there are several."""
    presented: str | None = None
    connection: str | None = None
    targets: list[str] = []
    """As routed, where memory has it."""
    deliveries: list[TracedDelivery] = []
    taken: dict[str, TakenPart] = {}
    """By target."""


class Part(msgspec.Struct, kw_only=True):
    """What one process knows."""

    notifications: list[NotificationPart]
    bodies: int = 0
    """Looked through."""
    complete: bool = True


async def find_part(
    asked: Asked,
    *,
    spool: Spool,
    whereabouts: Whereabouts | None = None,
    worker: int = 0,
    targets: Collection[str] = (),
    shared: bool = False,
) -> Part:
    """Say what the spool and the memory of one process have.

    `targets` are those that it may have delivered to. `shared`: others have the same spool, so that what is
    in there does not tell who has accepted it.
    """
    if asked.notification_id is not None:
        ids, bodies, complete = [asked.notification_id], 0, True
    else:
        ids, bodies, complete = await _look_through(spool, asked.needles)
    found = []
    for id_ in ids:
        part = recall_one(id_, whereabouts or Whereabouts(), worker=worker, targets=targets)
        traced = await spool.trace(id_)
        if traced is not None:
            part = part or NotificationPart(id=id_, worker=None if shared else worker)
            part = msgspec.structs.replace(
                part,
                app=traced.app,
                received_ms=traced.received_at_ms,
                size_bytes=traced.size_bytes,
                deliveries=list(traced.deliveries),
            )
        if part is not None:
            found.append(part)
    return Part(notifications=found, bodies=bodies, complete=complete)


def recall(ids: Iterable[str], whereabouts: Whereabouts, *, worker: int, targets: Collection[str]) -> Part:
    """Say what the memory of one process has of these: the rest another tells of a spool that they share."""
    found = (recall_one(id_, whereabouts, worker=worker, targets=targets) for id_ in ids)
    return Part(notifications=[one for one in found if one is not None])


def recall_one(
    notification_id: str, whereabouts: Whereabouts, *, worker: int, targets: Collection[str]
) -> NotificationPart | None:
    """Say what memory has: how it came, if this process has accepted it, and who has taken it from here."""
    came = whereabouts.of(notification_id)
    routed = () if came is None else came.targets
    taken = {
        target: TakenPart(at_ms=one.at_ms, attempt=one.attempt, status=one.status)
        for target, one in whereabouts.taken_by(notification_id, (*routed, *targets)).items()
    }
    if came is None:
        return NotificationPart(id=notification_id, taken=taken) if taken else None
    return NotificationPart(
        id=notification_id,
        app=came.app,
        received_ms=came.received_ms,
        worker=worker,
        presented=came.presented,
        connection=came.connection,
        targets=list(routed),
        taken=taken,
    )


async def _look_through(spool: Spool, needles: Sequence[bytes]) -> tuple[list[str], int, bool]:
    """Return what was found, how many bodies were looked at, and whether those were all."""
    found: list[str] = []
    bodies, before = 0, None
    ends_at = trio.current_time() + SEARCH_SECONDS
    while True:
        page = await spool.mentions(needles, before=before)
        found += page.notifications
        bodies, before = bodies + page.bodies, page.before
        if before is None or len(found) > MOST_FOUND or trio.current_time() > ends_at:
            return found[:MOST_FOUND], bodies, before is None and len(found) <= MOST_FOUND


class LetterPart(msgspec.Struct, kw_only=True):
    """A dead letter, without its body, and without what the target has written."""

    id: str
    notification_id: str
    app: str
    received_at_ms: int
    target: str
    reason: str
    died_at_ms: int
    attempts: list[AttemptRecord]
    path: str
    gateway: str | None = None
    """On whose disk it is, where there are several."""


class Letters(msgspec.Struct, kw_only=True):
    """Dead letters that belong to what is asked."""

    found: list[LetterPart]
    looked_at: int = 0
    complete: bool = True


def find_letters(
    asked: Asked, parts: Sequence[Part], store: DeadLetterStore, *, targets: Iterable[str]
) -> Letters:
    """Find the dead letters of these notifications, for these targets and those that memory knows; and, of a
    message id, all that hold it. It blocks, for `SEARCH_SECONDS` at most.

    A letter that cannot be read is passed over: `gateway dead-letters list` says what is wrong with it.
    """
    known = [one for part in parts for one in part.notifications]
    ids = {one.id for one in known} | ({asked.notification_id} if asked.notification_id else set())
    names = {*targets, *(name for one in known for name in one.targets), UNROUTED}
    letters: dict[str, LetterPart] = {}
    for identifier in (f"{id_}{way}-{name}" for id_ in ids for name in names for way in ("", f"-{UNROUTED}")):
        one = store.find(identifier, thorough=False)
        if one is not None and (letter := _read(store, one)) is not None:
            letters[one.id] = _letter_part(one, letter, store)
    looked_at, complete = 0, True
    if asked.notification_id is None:
        clock = time.monotonic
        ends = clock() + SEARCH_SECONDS
        for one in store.iterate_back():
            if clock() > ends or len(letters) > MOST_FOUND:
                complete = False
                break
            looked_at += 1
            letter = None if one.id in letters else _read(store, one)
            if letter is not None and any(needle in letter.body for needle in asked.needles):
                letters[one.id] = _letter_part(one, letter, store)
    return Letters(found=list(letters.values()), looked_at=looked_at, complete=complete)


async def trace_letters(
    asked: Asked, parts: Sequence[Part], store: DeadLetterStore, *, targets: Iterable[str]
) -> dict[str, object]:
    """Complete what processes know by the dead letters, and make the answer of it."""
    return answer(asked, parts, await letters_of(asked, parts, store, targets=targets))


async def letters_of(
    asked: Asked, parts: Sequence[Part], store: DeadLetterStore, *, targets: Iterable[str]
) -> Letters:
    """Do as `find_letters`, in a thread."""
    return await trio.to_thread.run_sync(
        partial(find_letters, asked, parts, store, targets={*targets, *store.counts()})
    )


def merge_letters(parts: Sequence[Letters]) -> Letters:
    """Make one of what several gateways have; one that several have (a directory that they share) counts
    once."""
    found = {one.id: one for part in reversed(parts) for one in part.found}
    return Letters(
        found=list(found.values()),
        looked_at=sum(part.looked_at for part in parts),
        complete=all(part.complete for part in parts),
    )


def name_gateway(name: str, parts: Sequence[Part], letters: Letters) -> tuple[list[Part], Letters]:
    """Note of what a gateway knows that it is the one: who has accepted and delivered, and has the letter."""

    def named(one: NotificationPart) -> NotificationPart:
        taken = {target: msgspec.structs.replace(taken, gateway=name) for target, taken in one.taken.items()}
        # Who knows how it came has accepted it.
        return msgspec.structs.replace(one, taken=taken, gateway=name if one.presented is not None else None)

    return [
        msgspec.structs.replace(part, notifications=[named(one) for one in part.notifications])
        for part in parts
    ], msgspec.structs.replace(
        letters, found=[msgspec.structs.replace(one, gateway=name) for one in letters.found]
    )


def _letter_part(found: Found, letter: DeadLetter, store: DeadLetterStore) -> LetterPart:
    return LetterPart(
        id=found.id,
        notification_id=letter.notification_id,
        app=letter.app,
        received_at_ms=letter.received_at_ms,
        target=letter.target,
        reason=str(letter.reason),
        died_at_ms=letter.died_at_ms,
        attempts=[replace(one, response_excerpt="") for one in letter.attempts],
        path=f"{store.directory}/{found.name}",
    )


def _read(store: DeadLetterStore, found: Found) -> DeadLetter | None:
    try:
        return store.read(found)
    except DeadLetterError:
        return None


def answer(asked: Asked, parts: Sequence[Part], letters: Letters) -> dict[str, object]:
    """Make the answer of `GET /api/trace` (`admin.actions.Actions.trace`)."""
    known: dict[str, NotificationPart] = {}
    for one in (one for part in parts for one in part.notifications):
        former = known.get(one.id)
        known[one.id] = one if former is None else _join(former, one)
    by_notification: dict[str, list[LetterPart]] = {}
    for letter in letters.found:
        by_notification.setdefault(letter.notification_id, []).append(letter)
        if letter.notification_id not in known:
            known[letter.notification_id] = NotificationPart(
                id=letter.notification_id, app=letter.app, received_ms=letter.received_at_ms
            )
    notifications = sorted(known.values(), key=lambda one: (-(one.received_ms or 0), one.id))
    return {
        "asked": asked.text,
        "notifications": [_shown_notification(one, by_notification.get(one.id, [])) for one in notifications],
        "searched": None
        if asked.notification_id is not None
        else {
            "bodies": sum(part.bodies for part in parts),
            "dead_letters": letters.looked_at,
            "complete": letters.complete and all(part.complete for part in parts),
        },
        "remark": "" if notifications else NOT_FOUND,
    }


def _join(one: NotificationPart, other: NotificationPart) -> NotificationPart:
    """Join what two processes know: one accepted it, another may have got it back from a dead letter."""
    first, second = (one, other) if one.presented is not None else (other, one)
    return msgspec.structs.replace(
        first,
        app=first.app or second.app,
        received_ms=first.received_ms or second.received_ms,
        worker=second.worker if first.worker is None else first.worker,
        gateway=first.gateway or second.gateway,
        size_bytes=first.size_bytes or second.size_bytes,
        targets=[*first.targets, *second.targets],
        deliveries=[*first.deliveries, *second.deliveries],
        taken={**second.taken, **first.taken},
    )


def _shown_notification(part: NotificationPart, letters: Sequence[LetterPart]) -> dict[str, object]:
    rows: dict[str, dict[str, object]] = {}
    for target in part.targets:
        rows[f"{part.id}-{target}"] = _shown(target, "gone")
    for target, taken in part.taken.items():
        rows[f"{part.id}-{target}"] = _shown(
            target,
            "delivered",
            delivered_at=rfc3339(taken.at_ms),
            attempt=taken.attempt,
            status=taken.status,
            gateway=taken.gateway,
        )
    for letter in letters:
        rows[letter.id] = _shown(
            letter.target,
            "dead_letter",
            attempt=len(letter.attempts),
            attempts=[_shown_attempt(one) for one in letter.attempts],
            dead_letter=letter.path,
            reason=letter.reason,
            gateway=letter.gateway,
            died_at=rfc3339(letter.died_at_ms),
        )
    for delivery in part.deliveries:
        rows[delivery.id] = {**rows.get(delivery.id, {}), **_shown_delivery(delivery)}
    return {
        "notification": part.id,
        "app": part.app,
        "received_at": None if part.received_ms is None else rfc3339(part.received_ms),
        "worker": part.worker,
        "gateway": part.gateway,
        "client_certificate": part.presented,
        "connection": part.connection,
        "bytes": part.size_bytes,
        "deliveries": [{"delivery": id_, **row} for id_, row in rows.items()],
    }


def _shown_delivery(delivery: TracedDelivery) -> dict[str, object]:
    if delivery.delivered_ms is not None:
        return _shown(delivery.target, "delivered", delivered_at=rfc3339(delivery.delivered_ms), kept=True)
    state = "under_way" if delivery.under_way_ms is not None else "waiting"
    return _shown(
        delivery.target,
        "waits_for_another" if delivery.waits_for_another else state,
        attempt=delivery.attempt,
        attempts=[_shown_attempt(one) for one in delivery.attempts],
        next_attempt_at=rfc3339(delivery.due_ms) if delivery.due_ms else None,
    )


_EMPTY: Final[Mapping[str, object]] = {
    "attempt": None,
    "attempts": [],
    "next_attempt_at": None,
    "delivered_at": None,
    "status": None,
    "kept": False,
    "dead_letter": None,
    "reason": None,
    "died_at": None,
    "gateway": None,
}


def _shown(target: str, state: str, **more: object) -> dict[str, object]:
    return {"target": target, "state": state, **_EMPTY, **more}


def _shown_attempt(record: AttemptRecord) -> dict[str, object]:
    """Return it fit for JSON, without what the target has written: that may quote the notification."""
    return {
        "number": record.number,
        "at": rfc3339(record.at_ms),
        "status": record.status,
        "error": record.error,
        "duration_ms": record.duration_ms,
    }
