"""Meta's envelope: raw bytes -> changes, and changes -> raw bytes, without ever re-serialising a value."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


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


def parse_envelope(raw: bytes) -> Envelope | Unparseable:
    """Parse the raw body of a notification. Never raises, whatever the bytes (depth, NUL, size)."""
    raise NotImplementedError


def cut(raw: bytes, selection: Collection[int]) -> bytes:
    """Return the envelope with only the selected changes (positions in `Envelope.changes`).

    Every value is byte-identical to what stands in `raw`; if all changes are selected, `raw` itself.
    """
    raise NotImplementedError
