"""Dead letter files: read or refused, and what was read is written and read again as it was."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gateway.core.seal import seal
from gateway.delivery.dead_letter_record import (
    ATTEMPTS_KEPT,
    DeadLetter,
    Reason,
    decode,
    encode,
    summarize,
)
from gateway.errors import DeadLetterError
from gateway.spool.history import AttemptRecord

SEAL_KEY: Final = b"0" * 32
_TIME: Final = 1_795_330_800_123


class DefectError(AssertionError):
    """A dead letter does not survive."""


def one(data: bytes) -> None:
    """Decode, encode, decode."""
    try:
        letter = decode(data, name="file")
    except DeadLetterError as error:
        if not str(error).startswith("file: ") or not error.remedy:
            raise DefectError(str(error)) from error
        return
    if ".." in letter.id or "/" in letter.id or "/" in letter.target:
        raise DefectError("an id names another place")
    summarize(letter.body)
    if len(letter.attempts) > ATTEMPTS_KEPT:
        return
    again = decode(encode(letter, seal_key=SEAL_KEY), name="file")
    sealed = seal(SEAL_KEY, app=letter.app, raw=letter.body)
    kept = again.attempts  # of many, the excerpts of the earlier ones are dropped
    if again != replace(letter, integrity=sealed, attempts=kept) or len(kept) != len(letter.attempts):
        raise DefectError("it is read back otherwise")


def seeds() -> Iterator[bytes]:
    """Letters with text and with bytes."""
    for body in (b'{"object":"page","entry":[{"changes":[{"field":"feed"}]}]}', b"\xff\x00"):
        letter = DeadLetter(
            id="0" * 32 + "-support",
            notification_id="0" * 32,
            app="main",
            target="support",
            url="http://127.0.0.1/",
            summary=summarize(body),
            reason=Reason.REFUSED,
            received_at_ms=_TIME,
            died_at_ms=_TIME + 5,
            attempts=(
                AttemptRecord(
                    number=1, at_ms=_TIME, status=422, error="", duration_ms=3, response_excerpt="no"
                ),
            ),
            headers={"Content-Type": "application/json"},
            body=body,
        )
        yield encode(letter, seal_key=SEAL_KEY)
