"""Meta's envelope: raw bytes -> changes, and changes -> raw bytes, without ever re-serialising a value."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from gateway.core import anatomy
from gateway.core.anatomy import CHANGED_FIELDS, CHANGES, MESSAGING, STANDBY

_MAX_DEPTH: Final = 250
"""Levels of nesting that are read: Meta's deepest sample has 11, and msgspec gives up at Python's recursion limit.

A fixed bound well below that limit makes sure that what could be read can be cut later, from a deeper stack.
"""


class Kind(StrEnum):
    """What a change of a messaging-type field is about, read from the keys of its value (contract, 2)."""

    MESSAGE = "message"
    STATUS = "status"
    ERROR = "error"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a notification: what routing looks at. Its position is its place in `Envelope.changes`."""

    object: str
    """`whatsapp_business_account`, `page`, ...; empty where the envelope names none."""
    field: str
    kinds: frozenset[Kind]
    """Never empty."""
    entry_id: str
    """`entry.id` as text: the WABA id for most fields of WhatsApp, `"0"` in dashboard tests; may be empty."""
    phone_number_id: str
    """`value.metadata.phone_number_id`; empty where there is none."""
    display_phone_number: str
    """`value.metadata.display_phone_number` or `value.display_phone_number`; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A parsed notification: its changes in the order in which they stand in the bytes."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unparseable:
    """The bytes are signed but not an envelope: not JSON, or no object or array of objects at the top."""

    detail: str


# --- reading ----------------------------------------------------------------------------------------------------
#
# Two readers give the same answer (a property test holds them to it): a typed one, which decodes the usual shape in
# one pass and refuses everything odd, and a patient one over `anatomy`, which takes everything.

_ABSENT: Final = b"null"

_Id = str | None
"""Ids that are numbers are left to the patient reader, which keeps their digits as written."""


class _Metadata(msgspec.Struct, gc=False):
    phone_number_id: _Id = None
    display_phone_number: _Id = None


class _Value(msgspec.Struct, gc=False):
    metadata: _Metadata | None = None
    display_phone_number: _Id = None
    messages: msgspec.Raw | UnsetType = UNSET
    statuses: msgspec.Raw | UnsetType = UNSET
    errors: msgspec.Raw | UnsetType = UNSET
    standby: msgspec.Raw | UnsetType = UNSET


class _Change(msgspec.Struct, gc=False):
    value: _Value | None = None
    field: str | None = None


class _Entry(msgspec.Struct, gc=False):
    changes: list[_Change]
    id: _Id = None
    messaging: None = None
    standby: None = None
    changed_fields: None = None


class _Top(msgspec.Struct, gc=False):
    entry: list[_Entry]
    object: str | None = None


_typed_object: Final = msgspec.json.Decoder(_Top)
_typed_array: Final = msgspec.json.Decoder(list[_Top])

_OTHER: Final = frozenset({Kind.OTHER})
_KINDS: Final[Mapping[tuple[bool, bool, bool], frozenset[Kind]]] = {
    (False, False, False): _OTHER,
    (False, False, True): frozenset({Kind.ERROR}),
    (False, True, False): frozenset({Kind.STATUS}),
    (False, True, True): frozenset({Kind.STATUS}),
    (True, False, False): frozenset({Kind.MESSAGE}),
    (True, False, True): frozenset({Kind.MESSAGE}),
    (True, True, False): frozenset({Kind.MESSAGE, Kind.STATUS}),
    (True, True, True): frozenset({Kind.MESSAGE, Kind.STATUS}),
}
"""By whether the value has `messages`, `statuses`, `errors`: errors count only beside neither of the others."""

_FIELD_OF_ITEM: Final = {
    "postback": "messaging_postbacks",
    "delivery": "message_deliveries",
    "read": "message_reads",
    "reaction": "message_reactions",
}
"""Key of a `messaging[]` item -> Meta's subscription name for it; `message` is looked into."""


def parse_envelope(raw: bytes) -> Envelope | Unparseable:
    """Parse the raw body of a notification. Never raises, whatever the bytes (depth, NUL, size).

    What is JSON but oddly shaped is no error: see `anatomy` for what counts as a change then. Such a change has an
    empty field (and so goes where `*` goes, or nowhere), the kind `other`, and whatever ids could be read.
    """
    try:
        if not raw.isascii():
            raw.decode("utf-8")
        changes = _read_typed(raw)
        if changes is None:
            changes = _read_patiently(raw)
    except UnicodeDecodeError:
        return Unparseable(detail="not UTF-8")
    except RecursionError:
        return Unparseable(detail="nested too deeply")
    except msgspec.DecodeError as error:
        return Unparseable(detail=f"not JSON: {error}")
    if changes is None:
        return Unparseable(detail="no object or array of objects at the top")
    if _deeper_than(raw, _MAX_DEPTH):
        return Unparseable(detail="nested too deeply")
    return Envelope(changes=changes)


def _read_typed(raw: bytes) -> tuple[Change, ...] | None:
    """Read the usual shape; None where something is unusual."""
    try:
        array = anatomy.first_byte(raw) == b"["
        tops = _typed_array.decode(raw) if array else [_typed_object.decode(raw)]
    except msgspec.ValidationError:
        return None
    if not all(entry.changes for top in tops for entry in top.entry):
        return None
    return tuple(
        _typed_change(top.object or "", entry.id, change)
        for top in tops
        for entry in top.entry
        for change in entry.changes
    )


def _typed_change(object_: str, entry_id: _Id, change: _Change) -> Change:
    value = change.value
    field = change.field or ""
    if value is None:
        return _bare_change(object_, field, entry_id or "")
    metadata = value.metadata
    kinds = _kinds_of(value.messages is not UNSET, value.statuses is not UNSET, value.errors is not UNSET)
    if field == STANDBY and value.standby is not UNSET and kinds is _OTHER:
        kinds = _kinds_of_standby(bytes(value.standby))
    display = (metadata.display_phone_number if metadata else None) or value.display_phone_number
    return Change(
        object=object_,
        field=field,
        kinds=kinds,
        entry_id=entry_id or "",
        phone_number_id=(metadata.phone_number_id if metadata else None) or "",
        display_phone_number=display or "",
    )


def _kinds_of(messages: bool, statuses: bool, errors: bool) -> frozenset[Kind]:
    return _KINDS[messages, statuses, errors]


def _kinds_of_standby(raw: bytes) -> frozenset[Kind]:
    """WhatsApp's `standby` keeps its items one level deeper, under `value.standby`."""
    return _kinds_of_value(_members(raw))


def _kinds_of_value(value: Mapping[str, bytes]) -> frozenset[Kind]:
    return _kinds_of("messages" in value, "statuses" in value, "errors" in value)


def _bare_change(object_: str, field: str, entry_id: str) -> Change:
    return Change(
        object=object_,
        field=field,
        kinds=_OTHER,
        entry_id=entry_id,
        phone_number_id="",
        display_phone_number="",
    )


def _read_patiently(raw: bytes) -> tuple[Change, ...] | None:
    """Read any shape; None where no object or array of objects is at the top."""
    body = anatomy.dissect(raw)
    if body is None:
        return None
    return tuple(change for top in body.tops for change in _changes_of_top(top))


def _changes_of_top(top: anatomy.Top) -> Iterator[Change]:
    object_ = _text(top.members.get("object", _ABSENT))
    for entry in top.entries:
        if top.whole or (entry.whole and not entry.members):
            yield _bare_change(object_, "", "")
            continue
        entry_id = _id(next((member.raw for member in entry.members if member.name == "id"), _ABSENT))
        if entry.whole:
            yield _bare_change(object_, "", entry_id)
            continue
        for member in entry.members:
            for unit in member.units or ():
                if member.whole:
                    yield _bare_change(object_, "", entry_id)
                elif member.name == CHANGES:
                    yield _change_of_unit(object_, entry_id, unit)
                else:
                    yield _bare_change(object_, _field_of_item(member.name, unit), entry_id)


def _change_of_unit(object_: str, entry_id: str, unit: bytes) -> Change:
    change = _members(unit)
    field = _text(change.get("field", _ABSENT))
    value = _members(change.get("value", _ABSENT))
    metadata = _members(value.get("metadata", _ABSENT))
    kinds = _kinds_of_value(value)
    if field == STANDBY and kinds is _OTHER:
        kinds = _kinds_of_standby(value.get(STANDBY, _ABSENT))
    display = _id(metadata.get("display_phone_number", _ABSENT))
    return Change(
        object=object_,
        field=field,
        kinds=kinds,
        entry_id=entry_id,
        phone_number_id=_id(metadata.get("phone_number_id", _ABSENT)),
        display_phone_number=display or _id(value.get("display_phone_number", _ABSENT)),
    )


def _field_of_item(container: str, unit: bytes) -> str:
    """Return Meta's subscription name for an item of `messaging[]`, `standby[]` or `changed_fields[]`."""
    if container == CHANGED_FIELDS:
        return _text(unit)
    item = _members(unit)
    if not item:
        return ""
    if container == STANDBY:
        return STANDBY
    if "message" in item:
        echo = _members(item["message"]).get("is_echo") == b"true"
        return "message_echoes" if echo else "messages"
    return next((name for key, name in _FIELD_OF_ITEM.items() if key in item), MESSAGING)


def _members(raw: bytes) -> Mapping[str, bytes]:
    """Members of a raw object; nothing where it is no object."""
    return anatomy.members_of(raw) if anatomy.first_byte(raw) == b"{" else {}


def _text(raw: bytes) -> str:
    """Decode a raw JSON string; empty where it is none."""
    return msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else ""


_INTEGER: Final = re.compile(rb"-?[0-9]+")


def _id(raw: bytes) -> str:
    """Read an id that is a string or an integer as text, digit by digit; empty where it is neither."""
    return raw.decode("ascii") if _INTEGER.fullmatch(raw) else _text(raw)


_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_ESCAPE: Final = re.compile(rb"\\.")
_STRING: Final = re.compile(rb'"[^"]*"')


def _deeper_than(raw: bytes, levels: int) -> bool:
    """Whether valid JSON is nested more deeply (within a factor of two), without recursion."""
    if raw.count(b"[") + raw.count(b"{") <= levels:
        return False
    structure = _ESCAPE.sub(b"", raw).translate(None, _NOT_STRUCTURE)
    # Two neighbouring quotes leave every bracket on the side of a string it is on; most strings are gone with this.
    brackets = _STRING.sub(b"", structure.replace(b'""', b""))
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return bool(brackets)


# --- cutting ----------------------------------------------------------------------------------------------------


def cut(raw: bytes, selection: Collection[int]) -> bytes:
    """Return the envelope with only the selected changes (positions in `Envelope.changes`).

    Every value is byte-identical to what stands in `raw`; if all changes are selected, `raw` itself. The other
    members of top objects and entries stay, raw and in order; what holds no selected change is left out.

    Raises:
        ValueError: nothing is selected, or a position that the envelope does not have, or it is no envelope.
    """
    wanted = frozenset(selection)
    try:
        body = anatomy.dissect(raw)
    except msgspec.DecodeError as error:
        raise ValueError("only an envelope can be cut") from error
    if body is None:
        raise ValueError("only an envelope can be cut")
    positions = count()
    tops = [cut_top for top in body.tops if (cut_top := _cut_top(top, wanted, positions)) is not None]
    total = next(positions)
    if not wanted or min(wanted) < 0 or max(wanted) >= total:
        raise ValueError(f"the selection does not fit an envelope of {total} changes")
    if len(wanted) == total:
        return raw
    return anatomy.join_array(tops) if body.array else tops[0]


def _cut_top(top: anatomy.Top, wanted: frozenset[int], positions: Iterator[int]) -> bytes | None:
    entries = [kept for entry in top.entries if (kept := _cut_entry(entry, wanted, positions)) is not None]
    if not entries:
        return None
    new_entry = entries[0] if top.whole else anatomy.join_array(entries)
    return anatomy.join_object(
        [(name, new_entry if name == "entry" else value) for name, value in top.members.items()]
    )


def _cut_entry(entry: anatomy.Entry, wanted: frozenset[int], positions: Iterator[int]) -> bytes | None:
    if entry.whole:
        return entry.raw if next(positions) in wanted else None
    members: list[tuple[str, bytes]] = []
    anything = False
    for member in entry.members:
        if member.units is None:
            members.append((member.name, member.raw))
            continue
        units = [unit for unit in member.units if next(positions) in wanted]
        if units:
            anything = True
            members.append((member.name, units[0] if member.whole else anatomy.join_array(units)))
    return anatomy.join_object(members) if anything else None
