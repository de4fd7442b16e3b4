"""A change: what routing looks at, and what can be read from the keys of its value."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec


class Kind(StrEnum):
    """What a change of a messaging-type field is about, read from the keys of its value (contract, 2)."""

    MESSAGE = "message"
    STATUS = "status"
    ERROR = "error"
    OTHER = "other"


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change of a notification. Its position is its place in `Envelope.changes`."""

    object: str
    """`whatsapp_business_account`, `page`, ...; empty where the envelope names none."""
    field: str
    """Empty where it is missing, or where the shape is odd (see `anatomy`)."""
    kinds: frozenset[Kind]
    """Never empty."""
    entry_id: str
    """`entry.id` as text: the WABA id for most fields of WhatsApp, `"0"` in dashboard tests; may be empty."""
    phone_number_id: str
    """`value.metadata.phone_number_id`; empty where there is none."""
    display_phone_number: str
    """`value.metadata.display_phone_number` or `value.display_phone_number`; empty where there is none."""


_OTHER: Final = frozenset({Kind.OTHER})
_STATUS: Final = frozenset({Kind.STATUS})
_MESSAGE: Final = frozenset({Kind.MESSAGE})
_MESSAGE_AND_STATUS: Final = frozenset({Kind.MESSAGE, Kind.STATUS})

_KINDS: Final[Mapping[tuple[bool, bool, bool], frozenset[Kind]]] = {
    (False, False, False): _OTHER,
    (False, False, True): frozenset({Kind.ERROR}),
    (False, True, False): _STATUS,
    (False, True, True): _STATUS,
    (True, False, False): _MESSAGE,
    (True, False, True): _MESSAGE,
    (True, True, False): _MESSAGE_AND_STATUS,
    (True, True, True): _MESSAGE_AND_STATUS,
}


def kinds_of(*, messages: bool, statuses: bool, errors: bool) -> frozenset[Kind]:
    """Return the kinds of a value by which of these keys it has.

    Errors make a kind only beside neither of the others: out-of-band, they belong to no message.
    """
    return _KINDS[messages, statuses, errors]


def bare_change(object_: str, field: str, entry_id: str) -> Change:
    """Make a change that has no value, or none whose keys mean anything here."""
    return Change(
        object=object_,
        field=field,
        kinds=_OTHER,
        entry_id=entry_id,
        phone_number_id="",
        display_phone_number="",
    )
