"""Joining envelopes: raw bytes in, one envelope with all their entries out, never re-serialising a value."""

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.core.anatomy import first_byte


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An envelope in which everything stands in `object` and `entry`."""

    object: str
    entry: msgspec.Raw


_one: Final = msgspec.json.Decoder(_Plain)
_several: Final = msgspec.json.Decoder(list[_Plain])


def joinable_object(raw: bytes) -> str | None:
    """Return the object of an envelope that can be joined with others; None where it must go alone.

    That is: one object or an array of them, each with the member `object`, the same text in all, the member
    `entry`, an array, and no other member, since a merged envelope could keep those of one only. A delivery
    of such a notification can be joined, too: cutting leaves these members alone.
    """
    try:
        tops = _tops(raw)
    except (ValueError, RecursionError):
        return None
    objects = {top.object for top in tops}
    return objects.pop() if len(objects) == 1 else None


def join(bodies: Sequence[bytes]) -> bytes:
    """Return one envelope, `{"object":...,"entry":[...]}`, with all entries of several, raw and in order.

    It is never longer than the bodies together, since each loses an object's worth of wrapping.

    Raises:
        ValueError: one of them is not joinable, or their objects differ.
    """
    tops = [top for raw in bodies for top in _tops(raw)]
    if len({top.object for top in tops}) != 1:
        raise ValueError("the objects differ")
    entries = (bytes(top.entry).strip()[1:-1].strip() for top in tops)
    return b'{"object":%s,"entry":[%s]}' % (
        msgspec.json.encode(tops[0].object),
        b",".join(filter(None, entries)),
    )


def _tops(raw: bytes) -> list[_Plain]:
    """Raises ValueError (msgspec's errors and UnicodeDecodeError are such) or RecursionError."""
    tops = _several.decode(raw) if first_byte(raw) == b"[" else [_one.decode(raw)]
    if not tops or not all(first_byte(bytes(top.entry)) == b"[" for top in tops):
        raise ValueError("no object, or its entry is no array")
    return tops
