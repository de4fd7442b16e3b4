"""Order by sender: which deliveries must not overtake each other (contract, section 4, "Order"). Pure.

Each change names the phone number that it came to and, at any depth, the users that it is about. Two
deliveries that share any such pair go in order of acceptance; a change that names nobody goes in order with
the others of its entry. A pair is stored as 64 bits of a hash: two that meet by chance make one delivery
wait for another, and no more.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

import msgspec

from gateway.core.envelope import cut

IDENTIFIERS: Final = frozenset(
    {"user_id", "from_user_id", "recipient_user_id", "wa_id", "from", "recipient_id"}
)
"""Names of members whose value is a user."""

_ODD: Final = (ValueError, LookupError, TypeError, ArithmeticError, RecursionError)
_LIST_OF_ITEMS: Final = ("changes", "messaging", "standby")


def order_keys(raw: bytes, selection: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the keys of a delivery, ascending, at least one: those of its changes, or of the whole body."""
    try:
        body = raw if selection is None else cut(raw, selection)
        pairs = set(_pairs(msgspec.json.decode(body)))
    except _ODD:  # whatever was stored, it has a place in the order
        pairs = set()
    return tuple(sorted(map(_key, pairs or {("", "", "")})))


def _key(pair: tuple[str, str, str]) -> int:
    texts = [text.encode("utf-8", "surrogatepass") for text in pair]
    content = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big", signed=True)


def _pairs(payload: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (what it is, phone number, identifier) for each change."""
    for envelope in payload if isinstance(payload, list) else [payload]:
        for entry in _items(envelope, "entry"):
            entry_id = _text(entry.get("id"))
            changes = [item for name in _LIST_OF_ITEMS for item in _items(entry, name)]
            for change in changes:
                value = change.get("value")
                metadata = value.get("metadata") if isinstance(value, dict) else None
                phone = _text(metadata.get("phone_number_id")) if isinstance(metadata, dict) else ""
                users = set(_identifiers(change))
                yield from (("user", phone, user) for user in users)
                if not users:
                    yield ("entry", "", entry_id)
            if not changes:
                yield ("entry", "", entry_id)


def _items(holder: Any, name: str) -> list[dict[str, Any]]:
    found = holder.get(name) if isinstance(holder, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _identifiers(change: Any) -> Iterator[str]:
    left = [change]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            for name, value in one.items():
                if name in IDENTIFIERS and (text := _text(value)):
                    yield text
                left.append(value)
        elif isinstance(one, list):
            left += one


def _text(value: Any) -> str:
    """Return an id, written as a text or as a number; empty for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
