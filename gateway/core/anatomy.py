"""Where the changes of an envelope stand in its bytes: the one walk that counts them, for reading and for cutting.

An envelope is taken apart into *units*: the pieces of raw JSON that count as one change each. Reading gives every
unit a `Change`, cutting keeps or drops whole units; both number them by this walk, so that positions agree.

The rules, for whatever Meta (or somebody with the app secret) may send:

- At the top stands one object, or an array of nothing but objects.
- A unit is an element of an entry's `changes`, `messaging`, `standby` or `changed_fields`.
- Odd shapes never vanish: an entry that is no object, one of those members (or `entry` itself) that is no array,
  and an entry that has no unit but does hold an object or array under a name nobody knows, are a unit each, as a
  whole. null stands for an absent member.
- Of a repeated name the last one counts, as in every common JSON parser (RFC 8259, section 4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

CHANGES: Final = "changes"
MESSAGING: Final = "messaging"
STANDBY: Final = "standby"
CHANGED_FIELDS: Final = "changed_fields"
CONTAINERS: Final = frozenset({CHANGES, MESSAGING, STANDBY, CHANGED_FIELDS})
"""The members of an entry whose elements are changes (Meta, "Webhooks, getting started" and Messenger's reference)."""

_as_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_as_array: Final = msgspec.json.Decoder(list[msgspec.Raw])

_WHITESPACE: Final = b" \t\n\r"
"""Of JSON (RFC 8259, section 2)."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an entry: raw bytes, or the units it holds."""

    name: str
    raw: bytes
    units: tuple[bytes, ...] | None
    """None: the member holds no units and is kept as it is."""
    whole: bool
    """The member is itself its only unit, since it is no array."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a top object."""

    raw: bytes
    members: tuple[Member, ...]
    whole: bool
    """The entry is itself one unit: no object, or an object whose content nobody knows."""


@dataclass(frozen=True, slots=True)
class Top:
    """One object at the top."""

    members: Mapping[str, bytes]
    """All members, raw, in order; `entry` among them."""
    entries: tuple[Entry, ...]
    whole: bool
    """`entry` is no array: it is itself one unit, the only entry here."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The whole body."""

    tops: tuple[Top, ...]
    array: bool


def dissect(raw: bytes) -> Anatomy | None:
    """Take a body apart; None where no object or array of objects is at the top.

    Raises:
        msgspec.DecodeError: not JSON.
        RecursionError: nested too deeply.
    """
    start = first_byte(raw)
    if start == b"{":
        return Anatomy(tops=(_top(raw),), array=False)
    if start != b"[":
        _as_array.decode(raw)  # tells apart what is no JSON from what is merely no object
        return None
    elements = [bytes(element) for element in _as_array.decode(raw)]
    if not all(first_byte(element) == b"{" for element in elements):
        return None
    return Anatomy(tops=tuple(_top(element) for element in elements), array=True)


def _top(raw: bytes) -> Top:
    members = members_of(raw)
    entry = members.get("entry", b"null")
    if first_byte(entry) == b"[":
        entries = tuple(_entry(element) for element in elements_of(entry))
        return Top(members=members, entries=entries, whole=False)
    if entry == b"null":
        return Top(members=members, entries=(), whole=False)
    return Top(members=members, entries=(Entry(raw=entry, members=(), whole=True),), whole=True)


def _entry(raw: bytes) -> Entry:
    if first_byte(raw) != b"{":
        return Entry(raw=raw, members=(), whole=True)
    members = tuple(_member(name, value) for name, value in members_of(raw).items())
    counted = any(member.units for member in members)
    unknown = any(
        first_byte(member.raw) in (b"{", b"[") for member in members if member.name not in CONTAINERS
    )
    return Entry(raw=raw, members=members, whole=unknown and not counted)


def _member(name: str, raw: bytes) -> Member:
    if name not in CONTAINERS or raw == b"null":
        return Member(name=name, raw=raw, units=None, whole=False)
    if first_byte(raw) == b"[":
        return Member(name=name, raw=raw, units=elements_of(raw), whole=False)
    return Member(name=name, raw=raw, units=(raw,), whole=True)


def members_of(raw: bytes) -> Mapping[str, bytes]:
    """Return the members of a raw object, in order."""
    return {name: bytes(value) for name, value in _as_object.decode(raw).items()}


def elements_of(raw: bytes) -> tuple[bytes, ...]:
    """Return the elements of a raw array."""
    return tuple(map(bytes, _as_array.decode(raw)))


def first_byte(raw: bytes) -> bytes:
    """Return the byte that tells what kind of JSON value this is; empty where there is none."""
    return raw[:1] if raw[:1] not in _WHITESPACE else raw.lstrip(_WHITESPACE)[:1]


def join_object(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Write an object of raw values."""
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + raw for name, raw in members) + b"}"


def join_array(elements: Sequence[bytes]) -> bytes:
    """Write an array of raw values."""
    return b"[" + b",".join(elements) + b"]"
