"""A dead letter as a value and as JSON (contract, section 5). Pure; the files are in `dead_letter`.

`body` is what the target would have received: replayed, it is a notification of its own with nothing left
to cut.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

import msgspec

from gateway.core.envelope import Change, Envelope, parse_envelope
from gateway.core.routing import UNROUTED
from gateway.core.seal import seal
from gateway.delivery.message import LAST_MS, rfc3339
from gateway.errors import DeadLetterError
from gateway.spool.history import AttemptRecord

TARGET_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}|{UNROUTED}")
DELIVERY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
"""No dot and no slash: an id cannot name another place. 200 characters leave room for the temporary
name's own.
"""
APP_NAME: Final = re.compile(r"[!-~]{1,200}")
NOTIFICATION_ID: Final = re.compile(r"[0-9a-f]{32}")

EXCERPTS_KEPT: Final = 256
"""Of the last attempts: 1 MiB at most. Of earlier ones time, status and error are kept."""
ATTEMPTS_KEPT: Final = 10_000
"""The first half and the last of more: a schedule of one second makes 600 000 in a week, and a file must
stay one that can be read again (see MAX_FILE_BYTES there).
"""

UNSEALED: Final = "none: the bytes are damaged"
"""Fits no body: such a letter is replayed only where the operator says so."""

_REPAIR: Final = "correct the file, or discard it with gateway dead-letters discard"


class Reason(StrEnum):
    """Why a delivery died."""

    REFUSED = "refused"
    """The target answered with one of its `refuse_statuses`."""
    GAVE_UP = "gave_up"
    """Nothing but retryable failures until `give_up_after`."""
    UNROUTED = "unrouted"
    """No route takes it."""
    UNPARSEABLE = "unparseable"
    """Signed, but no envelope: not JSON, or no changes that could be cut."""
    DAMAGED = "damaged"
    """What the spool kept of it is not what came; its bytes are for people to look at."""
    DISCARDED_TARGET = "discarded_target"
    """Its target is no longer configured, and the operator gave it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the body is about; None where it says nothing, or its changes differ."""

    object: str | None
    fields: tuple[str, ...]
    kinds: tuple[str, ...]
    waba: str | None
    phone_number_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One delivery that no target took. Times are Unix milliseconds."""

    id: str
    notification_id: str
    app: str
    target: str
    """`_unrouted` where there was none."""
    url: str | None
    """The target's, without credentials; None where there was no target."""
    summary: Summary
    reason: Reason
    received_at_ms: int
    died_at_ms: int
    attempts: tuple[AttemptRecord, ...]
    headers: dict[str, str]
    """Content-Type and Gateway-* only."""
    body: bytes = field(repr=False)
    integrity: str = ""
    """The seal as it stands in the file; made when the file is written."""

    @property
    def directory(self) -> tuple[str, str, str]:
        """Target, day and hour (UTC) of acceptance: where the file stands below the store's directory."""
        moment = rfc3339(self.received_at_ms)
        return self.target, moment[:10], moment[11:13]


class _Attempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at: str
    status: int | None
    error: str
    duration_ms: int
    response_excerpt: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The file, key by key, in its order."""

    schema: Literal[1]
    id: str
    notification_id: str
    app: str
    target: str
    url: str | None
    object: str | None
    fields: list[str]
    kinds: list[str]
    waba: str | None
    phone_number_id: str | None
    reason: Reason
    received_at: str
    died_at: str
    attempts: list[_Attempt]
    headers: dict[str, str]
    body: str | None = None
    body_base64: str | None = None
    integrity: str


_decoder: Final = msgspec.json.Decoder(_File)


def summarize(body: bytes) -> Summary:
    """Read from the body what it is about; nothing where it does not parse."""
    envelope = parse_envelope(body)
    changes = envelope.changes if isinstance(envelope, Envelope) else ()

    def shared(read: Callable[[Change], str]) -> str | None:
        values = {read(change) for change in changes}
        return (values.pop() or None) if len(values) == 1 else None

    return Summary(
        object=shared(lambda change: change.object),
        fields=tuple(dict.fromkeys(change.field for change in changes)),
        kinds=tuple(sorted({str(kind) for change in changes for kind in change.kinds})),
        waba=shared(lambda change: change.entry_id),
        phone_number_id=shared(lambda change: change.phone_number_id),
    )


def encode(letter: DeadLetter, *, seal_key: bytes) -> bytes:
    """Return the file's content, sealed anew; of what is damaged nothing vouches for the bytes."""
    text: str | None
    try:
        text, binary = letter.body.decode("utf-8"), None
    except UnicodeDecodeError:
        text, binary = None, base64.b64encode(letter.body).decode("ascii")
    file = _File(
        schema=1,
        id=letter.id,
        notification_id=letter.notification_id,
        app=letter.app,
        target=letter.target,
        url=letter.url,
        object=letter.summary.object,
        fields=list(letter.summary.fields),
        kinds=list(letter.summary.kinds),
        waba=letter.summary.waba,
        phone_number_id=letter.summary.phone_number_id,
        reason=letter.reason,
        received_at=rfc3339(letter.received_at_ms),
        died_at=rfc3339(letter.died_at_ms),
        attempts=_attempts(letter.attempts),
        headers=letter.headers,
        body=text,
        body_base64=binary,
        integrity=(
            UNSEALED if letter.reason is Reason.DAMAGED else seal(seal_key, app=letter.app, raw=letter.body)
        ),
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def _attempts(records: tuple[AttemptRecord, ...]) -> list[_Attempt]:
    if len(records) > ATTEMPTS_KEPT:
        records = records[: ATTEMPTS_KEPT // 2] + records[-ATTEMPTS_KEPT // 2 :]
    quoted = len(records) - EXCERPTS_KEPT
    return [
        _Attempt(
            at=rfc3339(record.at_ms),
            status=record.status,
            error=record.error,
            duration_ms=record.duration_ms,
            response_excerpt=record.response_excerpt if position >= quoted else "",
        )
        for position, record in enumerate(records)
    ]


def decode(content: bytes, *, name: str) -> DeadLetter:
    """Read a file's content; the seal is not judged here.

    Raises:
        DeadLetterError: what is wrong with it, and where; `name` is the file as the operator knows it.
    """

    def wrong(what: str) -> DeadLetterError:
        return DeadLetterError(f"{name}: {what}", remedy=_REPAIR)

    def checked(key: str, value: str, pattern: re.Pattern[str]) -> str:
        if not pattern.fullmatch(value):
            raise wrong(f"{key} is not valid")
        return value

    def moment(key: str, text: str) -> int:
        try:
            return _parse_moment(text)
        except (ValueError, OverflowError):
            raise wrong(f"{key} is not a time like 2026-01-02T03:04:05.678Z") from None

    try:
        file = _decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # msgspec names the key and the expected type, never the value.
        raise wrong(f"not a dead letter: {error}") from None
    if (file.body is None) == (file.body_base64 is None):
        raise wrong("exactly one of body and body_base64 must be there")
    try:
        body = file.body.encode() if file.body is not None else _unpack(file.body_base64 or "")
    except ValueError:
        raise wrong("body is not text, or body_base64 is not base64") from None
    return DeadLetter(
        id=checked("id", file.id, DELIVERY_ID),
        notification_id=checked("notification_id", file.notification_id, NOTIFICATION_ID),
        app=checked("app", file.app, APP_NAME),
        target=checked("target", file.target, TARGET_NAME),
        url=file.url,
        summary=Summary(
            object=file.object,
            fields=tuple(file.fields),
            kinds=tuple(file.kinds),
            waba=file.waba,
            phone_number_id=file.phone_number_id,
        ),
        reason=file.reason,
        received_at_ms=moment("received_at", file.received_at),
        died_at_ms=moment("died_at", file.died_at),
        attempts=tuple(
            AttemptRecord(
                number=number,
                at_ms=moment(f"attempts[{number - 1}].at", attempt.at),
                status=attempt.status,
                error=attempt.error,
                duration_ms=attempt.duration_ms,
                response_excerpt=attempt.response_excerpt,
            )
            for number, attempt in enumerate(file.attempts, start=1)
        ),
        headers=file.headers,
        body=body,
        integrity=file.integrity,
    )


def _unpack(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _parse_moment(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    unix_ms = round(moment.timestamp() * 1000)
    if not 0 <= unix_ms <= LAST_MS:
        raise ValueError("before 1970, or after 9999")
    return unix_ms
