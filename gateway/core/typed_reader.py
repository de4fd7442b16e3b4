"""Reading the usual envelope in one pass: entries with `changes` and nothing odd. The way of nearly
everything."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from gateway.core.anatomy import MAX_PIECES, STANDBY, Count, first_byte
from gateway.core.change import Change, bare_change, kinds_of

_Text = str | None
"""null stands for an absent member. Ids that are numbers go to the patient reader, which keeps their
digits."""


class _Metadata(msgspec.Struct, gc=False):
    phone_number_id: _Text = None
    display_phone_number: _Text = None


class _Items(msgspec.Struct, gc=False):
    """Only the presence of these counts: `Raw` skips them."""

    messages: msgspec.Raw | UnsetType = UNSET
    statuses: msgspec.Raw | UnsetType = UNSET
    errors: msgspec.Raw | UnsetType = UNSET


class _Value(_Items, gc=False):
    metadata: _Metadata | None = None
    display_phone_number: _Text = None
    standby: msgspec.Raw | UnsetType = UNSET


class _Change(msgspec.Struct, gc=False):
    value: _Value | None = None
    field: _Text = None


class _Entry(msgspec.Struct, gc=False):
    """An entry with anything else that counts as changes beside `changes` is for the patient reader."""

    changes: list[_Change]
    id: _Text = None
    messaging: None = None
    standby: None = None
    changed_fields: None = None


class _Top(msgspec.Struct, gc=False):
    entry: list[_Entry]
    object: _Text = None


class _Plain(_Top, forbid_unknown_fields=True, kw_only=True, gc=False):
    """What Meta sends: nothing at the top but these, so that it can be joined with others."""

    object: str


_plain: Final = msgspec.json.Decoder(_Plain)
_object: Final = msgspec.json.Decoder(_Top)
_array: Final = msgspec.json.Decoder(list[_Top])
_standby: Final = msgspec.json.Decoder(_Items)


def read_usual(raw: bytes) -> tuple[tuple[Change, ...], str] | None:
    """Read what nearly every notification is: its changes, and its object as `joinable_object` would say it.

    None: it is something else, whatever that may be.
    """
    try:
        top = _plain.decode(raw)
        pieces = len(top.entry)
        for entry in top.entry:
            if not entry.changes:
                return None
            pieces += len(entry.changes)
        if not top.entry or pieces > MAX_PIECES:
            return None
        changes = [
            _change(top.object, entry.id or "", change) for entry in top.entry for change in entry.changes
        ]
    except (msgspec.DecodeError, RecursionError):
        return None
    return tuple(changes), top.object


def read_typed(raw: bytes) -> tuple[Change, ...]:
    """Read an envelope of the usual shape.

    Raises:
        msgspec.ValidationError: JSON of another shape.
        msgspec.DecodeError: not JSON.
        RecursionError: nested too deeply.
        TooManyPiecesError: see `anatomy.MAX_PIECES`.
    """
    array = first_byte(raw) == b"["
    tops = _array.decode(raw) if array else [_object.decode(raw)]
    if not all(top.entry and all(entry.changes for entry in top.entry) for top in tops):
        raise msgspec.ValidationError("something is empty")
    # As the patient reader counts, so that what was read can be cut.
    count = Count()
    count.add(len(tops) if array else 0)
    for top in tops:
        count.add(len(top.entry) + sum(len(entry.changes) for entry in top.entry))
    return tuple(
        _change(top.object or "", entry.id or "", change)
        for top in tops
        for entry in top.entry
        for change in entry.changes
    )


def _change(object_: str, entry_id: str, change: _Change) -> Change:
    value = change.value
    field = change.field or ""
    if value is None:
        return bare_change(object_, field, entry_id)
    metadata = value.metadata
    # WhatsApp's `standby` keeps its items one level deeper, under `value.standby`.
    items = value if field != STANDBY or value.standby is UNSET else _standby.decode(value.standby)
    return Change(
        object=object_,
        field=field,
        kinds=kinds_of(
            messages=items.messages is not UNSET,
            statuses=items.statuses is not UNSET,
            errors=items.errors is not UNSET,
        ),
        entry_id=entry_id,
        phone_number_id=(metadata and metadata.phone_number_id) or "",
        display_phone_number=(metadata and metadata.display_phone_number) or value.display_phone_number or "",
    )
