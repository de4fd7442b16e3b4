"""Where the changes of an envelope stand in its bytes: the one walk that counts them.

An envelope is taken apart into *units*: the pieces of raw JSON that count as one change each. Reading gives
every unit a `Change`, cutting keeps or drops whole units; both number them by this walk, so that positions
agree.

The rules, for whatever Meta (or somebody with the app secret) may send:

- At the top stands one object, or an array of nothing but objects.
- A unit is an element of an entry's `changes`, `messaging`, `standby` or `changed_fields`.
- Odd shapes never vanish. One unit, whole, is each of these: an entry that is no object; `entry`, or one of
  those members, that is no array; an entry, or an object of an array at the top, that has no unit but holds
  objects or arrays under names nobody knows. null stands for an absent member.
- Of a repeated name the last one counts, as in every common JSON parser (RFC 8259, section 4).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

CHANGES: Final = "changes"
MESSAGING: Final = "messaging"
STANDBY: Final = "standby"
CHANGED_FIELDS: Final = "changed_fields"
_HOLDERS: Final = frozenset({CHANGES, MESSAGING, STANDBY, CHANGED_FIELDS})
"""Members of an entry whose elements are changes (Meta, "Webhooks, getting started"; Messenger Platform)."""

MAX_PIECES: Final = 50_000
"""Objects of an array at the top, entries and units together: fifty times what Meta sends at once (at most
1000 updates). More is nobody's message, and would keep the thread that answers everybody for seconds.
"""

_as_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_as_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_as_anything: Final = msgspec.json.Decoder(msgspec.Raw)

_WHITESPACE: Final = b" \t\n\r"
"""Of JSON (RFC 8259, section 2)."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an entry."""

    name: str
    raw: bytes
    units: tuple[bytes, ...]
    """Empty for a member that goes along with every cut."""
    whole: bool
    """The member is its own only unit, since it is no array."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a top object."""

    raw: bytes
    members: tuple[Member, ...]
    whole: bool
    """The entry is one unit."""


@dataclass(frozen=True, slots=True)
class Top:
    """One object at the top."""

    raw: bytes
    members: Mapping[str, bytes]
    """All of them, raw, in order; `entry` among them."""
    entries: tuple[Entry, ...]
    whole: bool
    """The object is one unit."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The whole body."""

    tops: tuple[Top, ...]
    array: bool


class TooManyPiecesError(ValueError):
    """The body has more than `MAX_PIECES`."""


class Count:
    """Counts the pieces of one body."""

    def __init__(self) -> None:
        self._pieces = 0

    def add(self, pieces: int) -> None:
        """Raises TooManyPiecesError."""
        self._pieces += pieces
        if self._pieces > MAX_PIECES:
            raise TooManyPiecesError


def dissect(raw: bytes) -> Anatomy | None:
    """Take a body apart; None where no object or array of objects is at the top.

    Raises:
        msgspec.DecodeError: not JSON.
        RecursionError: nested too deeply.
        TooManyPiecesError: see `MAX_PIECES`.
    """
    count = Count()
    match first_byte(raw):
        case b"{":
            return Anatomy(tops=(_top(raw, count, in_array=False),), array=False)
        case b"[":
            elements = _elements_of(raw, count)
            if all(first_byte(element) == b"{" for element in elements):
                tops = tuple(_top(element, count, in_array=True) for element in elements)
                return Anatomy(tops=tops, array=True)
        case _:
            _as_anything.decode(raw)  # raises where it is not even JSON
    return None


def _top(raw: bytes, count: Count, *, in_array: bool) -> Top:
    members = members_of(raw)
    entry = members.get("entry", b"null")
    whole = entry != b"null" and first_byte(entry) != b"["
    entries: tuple[Entry, ...] = ()
    if not whole and entry != b"null":
        entries = tuple(_entry(element, count) for element in _elements_of(entry, count))
    if in_array and not any(_counts(entry) for entry in entries):
        # On its own it is a body without changes; beside others it would vanish when they are cut apart.
        whole = whole or _holds_unknown(value for name, value in members.items() if name != "entry")
    return Top(raw=raw, members=members, entries=() if whole else entries, whole=whole)


def _entry(raw: bytes, count: Count) -> Entry:
    if first_byte(raw) != b"{":
        return Entry(raw=raw, members=(), whole=True)
    members = tuple(_member(name, value, count) for name, value in members_of(raw).items())
    whole = not any(member.units for member in members) and _holds_unknown(
        member.raw for member in members if member.name not in _HOLDERS
    )
    return Entry(raw=raw, members=members, whole=whole)


def _member(name: str, raw: bytes, count: Count) -> Member:
    if name not in _HOLDERS or raw == b"null":
        return Member(name=name, raw=raw, units=(), whole=False)
    if first_byte(raw) == b"[":
        return Member(name=name, raw=raw, units=_elements_of(raw, count), whole=False)
    return Member(name=name, raw=raw, units=(raw,), whole=True)


def _counts(entry: Entry) -> bool:
    return entry.whole or any(member.units for member in entry.members)


def _holds_unknown(values: Iterable[bytes]) -> bool:
    return any(first_byte(value) in (b"{", b"[") for value in values)


def members_of(raw: bytes) -> Mapping[str, bytes]:
    """Return the members of a raw object, in order."""
    return {name: bytes(value) for name, value in _as_object.decode(raw).items()}


def _elements_of(raw: bytes, count: Count) -> tuple[bytes, ...]:
    elements = _as_array.decode(raw)
    count.add(len(elements))
    return tuple(map(bytes, elements))


def first_byte(raw: bytes) -> bytes:
    """Return the byte that tells what kind of JSON value this is; empty where there is none."""
    return raw[:1] if raw[:1] not in _WHITESPACE else raw.lstrip(_WHITESPACE)[:1]


def join_object(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Write an object of raw values."""
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + raw for name, raw in members) + b"}"


def join_array(elements: Sequence[bytes]) -> bytes:
    """Write an array of raw values."""
    return b"[" + b",".join(elements) + b"]"
