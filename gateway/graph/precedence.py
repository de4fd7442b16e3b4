"""Which callback URL holds for what: phone number before account before app. Pure.

Source: Meta, "Override the callback URL": per message, and only for messaging-type fields; template and
account fields always go to the app's URL.
"""

from dataclasses import dataclass

from gateway.core.fields import FIELDS
from gateway.graph.comparison import WHATSAPP


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One of the places where a callback URL may be set, the strongest first."""

    name: str
    """`phone number`, `account`, `app`."""
    url: str | None
    """None: not set."""
    known: bool = True
    """False: nobody has asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedence:
    """What holds for the messages of one phone number, or of one account."""

    levels: tuple[Level, ...]
    holds: Level | None
    """Where messaging-type fields go; None: that cannot be told."""
    otherwise: Level
    """Where all other fields go: the app's own."""


def decide(levels: tuple[Level, ...]) -> Precedence:
    """Take the first level that is set; nothing below one that is not known."""
    holds: Level | None = None
    for level in levels:
        if not level.known:
            break
        if level.url is not None:
            holds = level
            break
    return Precedence(levels=levels, holds=holds, otherwise=levels[-1])


def overridable_fields() -> tuple[str, ...]:
    """Return the fields of WhatsApp that an override applies to."""
    return tuple(field.name for field in FIELDS if field.object == WHATSAPP and field.overridable)
