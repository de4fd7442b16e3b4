"""Meta's envelope: raw bytes -> changes, and changes -> raw bytes, without ever re-serialising a value.

Two readers give the same answer (a property test holds them to it): a typed one, which decodes the usual
shapes in one pass, and a patient one, which takes every shape. Cutting shares its walk over the bytes with
the latter.
"""

import re
from typing import Final

import msgspec

from gateway.core.anatomy import TooManyPiecesError
from gateway.core.change import Change, Kind
from gateway.core.cutting import cut
from gateway.core.joining import joinable_object
from gateway.core.patient_reader import read_patiently
from gateway.core.surrogates import Mended, mend
from gateway.core.typed_reader import read_typed, read_usual

__all__ = ["Change", "Envelope", "Kind", "Unparseable", "cut", "parse_envelope"]

MAX_DEPTH: Final = 250
"""Levels of nesting that are always read (Meta's samples have 12 at most); twice as many never are.

msgspec gives up where Python's recursion limit is, on whatever stack it is called. A fixed bound well below
that makes sure that what could be read can be cut later.
"""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A parsed notification: its changes in the order in which they stand in the bytes."""

    changes: tuple[Change, ...]
    object: str | None = None
    """Of an envelope that can be joined with others; None: it must go alone (see `joining`)."""


class Unparseable(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes are signed but not an envelope: not JSON, no object or array of objects at the top, or a
    multiple of what an envelope holds.
    """

    detail: str
    """Why; nothing of the content."""


def parse_envelope(raw: bytes) -> Envelope | Unparseable:
    """Parse the raw body of a notification. Never raises, whatever the bytes (depth, NUL, size).

    What is JSON but oddly shaped is no error: `anatomy` says what counts as a change then. Such a change has
    an empty field (and so goes where `*` goes, or nowhere), the kind `other`, and whatever ids could be read.
    """
    try:
        # JSON between systems is UTF-8 (RFC 8259, section 8.1); msgspec does not look into what it skips.
        if not raw.isascii():
            raw.decode("utf-8")
        usual = read_usual(raw)
        changes, object_ = usual if usual is not None else (_read(raw), None)
    except UnicodeDecodeError:
        return Unparseable(detail="not UTF-8")
    except RecursionError:
        return Unparseable(detail="nested too deeply")
    except TooManyPiecesError:
        return Unparseable(detail="too many changes")
    except msgspec.DecodeError as error:
        return Unparseable(detail=f"not JSON: {error}")
    if changes is None:
        return Unparseable(detail="no object or array of objects at the top")
    if _deeper_than(raw, MAX_DEPTH):
        return Unparseable(detail="nested too deeply")
    if usual is None and changes:
        object_ = joinable_object(raw)
    return Envelope(changes=changes, object=object_)


def _read(raw: bytes) -> tuple[Change, ...] | None:
    try:
        try:
            return read_typed(raw)
        except msgspec.ValidationError:
            return read_patiently(raw)
    except msgspec.DecodeError:
        # Half an emoji hides from the typed reader behind a shape that it does not know.
        mended = mend(raw)
        if mended is None:
            raise
        changes = read_patiently(mended.raw)
        return None if changes is None else tuple(_veiled(change, mended) for change in changes)


def _veiled(change: Change, mended: Mended) -> Change:
    return msgspec.structs.replace(
        change,
        object=mended.veil(change.object),
        field=mended.veil(change.field),
        entry_id=mended.veil(change.entry_id),
        phone_number_id=mended.veil(change.phone_number_id),
        display_phone_number=mended.veil(change.display_phone_number),
    )


_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_ESCAPE: Final = re.compile(rb"\\.")
_STRING: Final = re.compile(rb'"[^"]*"')


def _deeper_than(raw: bytes, levels: int) -> bool:
    """Whether valid JSON is nested more deeply (within a factor of two), without recursion."""
    if raw.count(b"[") + raw.count(b"{") <= levels:
        return False
    structure = _ESCAPE.sub(b"", raw).translate(None, _NOT_STRUCTURE)
    # Without two neighbouring quotes every bracket stays in or out of a string; few strings are left after
    # this.
    brackets = _STRING.sub(b"", structure.replace(b'""', b""))
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return bool(brackets)
