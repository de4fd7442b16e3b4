"""Reading any envelope, whatever its shape: Messenger's and Instagram's items, `changed_fields`, and the
odd."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from gateway.core.anatomy import (
    CHANGED_FIELDS,
    CHANGES,
    MESSAGING,
    STANDBY,
    Entry,
    Member,
    Top,
    dissect,
    first_byte,
    members_of,
)
from gateway.core.change import Change, bare_change, kinds_of

_ABSENT: Final = b"null"

_FIELD_OF_ITEM: Final = {
    "postback": "messaging_postbacks",
    "delivery": "message_deliveries",
    "read": "message_reads",
    "reaction": "message_reactions",
}
"""Key of a `messaging[]` item -> Meta's subscription name for it (contract, 2); `message` is looked into."""

_INTEGER: Final = re.compile(rb"-?[0-9]+")


def read_patiently(raw: bytes) -> tuple[Change, ...] | None:
    """Read an envelope of any shape; None where no object or array of objects is at the top.

    Raises:
        msgspec.DecodeError: not JSON.
        RecursionError: nested too deeply.
        TooManyPiecesError: see `anatomy.MAX_PIECES`.
    """
    body = dissect(raw)
    if body is None:
        return None
    return tuple(change for top in body.tops for change in _of_top(top))


def _of_top(top: Top) -> Iterator[Change]:
    object_ = _text(top.members.get("object", _ABSENT))
    if top.whole:
        yield bare_change(object_, "", "")
    for entry in top.entries:
        yield from _of_entry(object_, entry)


def _of_entry(object_: str, entry: Entry) -> Iterator[Change]:
    entry_id = next((_id(member.raw) for member in entry.members if member.name == "id"), "")
    if entry.whole:
        yield bare_change(object_, "", entry_id)
        return
    for member in entry.members:
        for unit in member.units:
            yield _of_unit(object_, entry_id, member, unit)


def _of_unit(object_: str, entry_id: str, member: Member, unit: bytes) -> Change:
    if member.whole:
        return bare_change(object_, "", entry_id)
    if member.name == CHANGES:
        return _of_change(object_, entry_id, unit)
    field = _text(unit) if member.name == CHANGED_FIELDS else _field_of_item(member.name, unit)
    return bare_change(object_, field, entry_id)


def _of_change(object_: str, entry_id: str, unit: bytes) -> Change:
    change = _members(unit)
    field = _text(change.get("field", _ABSENT))
    value = _members(change.get("value", _ABSENT))
    metadata = _members(value.get("metadata", _ABSENT))
    # WhatsApp's `standby` keeps its items one level deeper, under `value.standby`.
    items = _members(value[STANDBY]) if field == STANDBY and STANDBY in value else value
    return Change(
        object=object_,
        field=field,
        kinds=kinds_of(messages="messages" in items, statuses="statuses" in items, errors="errors" in items),
        entry_id=entry_id,
        phone_number_id=_id(metadata.get("phone_number_id", _ABSENT)),
        display_phone_number=_id(metadata.get("display_phone_number", _ABSENT))
        or _id(value.get("display_phone_number", _ABSENT)),
    )


def _field_of_item(container: str, unit: bytes) -> str:
    """Return Meta's subscription name for an item of `messaging[]` or `standby[]`."""
    item = _members(unit)
    if not item:
        return ""
    if container == STANDBY:
        return STANDBY
    if "message" in item:
        echo = _members(item["message"]).get("is_echo") == b"true"
        return "message_echoes" if echo else "messages"
    return next((field for key, field in _FIELD_OF_ITEM.items() if key in item), MESSAGING)


def _members(raw: bytes) -> Mapping[str, bytes]:
    """Members of a raw object; nothing where it is no object."""
    return members_of(raw) if first_byte(raw) == b"{" else {}


def _text(raw: bytes) -> str:
    """Decode a raw JSON string; empty where it is none."""
    return msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else ""


def _id(raw: bytes) -> str:
    """Read an id, a string or an integer, as text, digit by digit; empty where it is neither."""
    return raw.decode("ascii") if _INTEGER.fullmatch(raw) else _text(raw)
