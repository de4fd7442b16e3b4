"""Did you mean ...? What a name that is not known most resembles."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_SIMILAR: Final = 0.75
"""`mian` is to `main` as this (two letters changed places); `retries` is to `metrics` as 0.71, and is
no slip of the pen."""
_TELLING_CHARACTERS: Final = 4
"""From this length on, the beginning of one name alone says that this one is meant."""
_QUOTES: Final = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"
"""Curly quotes and their kin, which word processors put for plain ones; YAML takes them as text."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most likely meant, or None."""
    names = list(known)
    plain = without_quotes(name).lower()
    if near := get_close_matches(plain, names, n=1, cutoff=_SIMILAR):
        return near[0]
    begun = [one for one in names if one.startswith(plain)]
    return begun[0] if len(begun) == 1 and len(plain) >= _TELLING_CHARACTERS else None


def without_quotes(text: str) -> str:
    """Drop what surrounds a text by mistake: curly quotes and spaces."""
    return text.strip(_QUOTES + " ")
