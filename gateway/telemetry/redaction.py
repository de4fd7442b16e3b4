"""The second line of defence of the log: what must not be printed is not, whoever passed it (law 8).

The first line is that nobody passes it. Pure.
"""

from collections.abc import Mapping
from typing import Final

MAX_TEXT_CHARACTERS: Final = 2048
"""Of one text in one event: a stranger's certificate may hold a subject of megabytes."""

_HIDDEN_KEYS: Final = (
    "token",
    "password",
    "authorization",
    "app_secret",
    "signing_secret",
    "api_key",
    "cookie",
)
"""A field whose name contains one of these is hidden, whatever its value."""

_PHONE_KEYS: Final = frozenset(
    {"display_phone_number", "phone_number", "phone", "wa_id", "from", "recipient_id"}
)
"""Fields that hold a phone number: the last four digits are enough to tell two apart."""

_SHOWN_DIGITS: Final = 4

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


def redact(key: str, value: object) -> Plain:
    """Make a field fit to print: plain JSON values, without bytes, secrets, phone numbers or endless text."""
    if any(hidden in key.lower() for hidden in _HIDDEN_KEYS):
        return "[hidden]"
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _phone(value) if key in _PHONE_KEYS else _bounded(str(value))
        case bytes() | bytearray() | memoryview():
            return f"[{len(value)} bytes]"
        case Mapping():
            return {str(name): redact(str(name), item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [redact(key, item) for item in value]
        case _:
            # A Secret's repr names its source alone; other objects of ours keep their bytes out of theirs.
            return _bounded(repr(value))


def visible(text: str) -> str:
    """Escape what could steer a terminal or begin a line of its own: strangers' texts hold anything."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _bounded(text: str) -> str:
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    return f"{text[:MAX_TEXT_CHARACTERS]}[{len(text) - MAX_TEXT_CHARACTERS} more]"


def _phone(text: str) -> str:
    return f"[...{text[-_SHOWN_DIGITS:]}]" if len(text) > _SHOWN_DIGITS else "[...]"
