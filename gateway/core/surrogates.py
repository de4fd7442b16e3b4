r"""Half an emoji: `\ud83d` without its other half, as a text has it that was cut in the wrong place.

The grammar of JSON allows it and leaves open what it means (RFC 8259, section 8.2); msgspec refuses it. One
such text must not make a dead letter of a notification with a thousand changes, so the halves are put aside
for the time of reading or cutting, and stand in the result as they stood.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_ESCAPE: Final = re.compile(
    rb"""
      \\u[dD][89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2}
    | (?P<half> \\u[dD][89a-fA-F][0-9a-fA-F]{2})
    | \\ .?
    """,
    re.DOTALL | re.VERBOSE,
)
"""Any escape; two halves that belong together are one. Escape by escape, so that the second backslash of
`\\\\` begins none.
"""
_PRIVATE_USE: Final = range(0xE000, 0xF900)
"""Code points that stand for nothing, so that they can stand in for a half."""
_PRIVATE: Final = re.compile(
    rb"\\u(?:[eE][0-9a-fA-F]{3}|[fF][0-8][0-9a-fA-F]{2}) | \xee[\x80-\xbf]{2} | \xef[\x80-\xa3][\x80-\xbf]",
    re.VERBOSE,
)
"""One of them, as an escape or as a character in UTF-8."""


@dataclass(frozen=True, slots=True)
class Mended:
    """A body in which every half has a stand-in."""

    raw: bytes
    halves: Mapping[int, bytes]
    """Code point of the stand-in -> the escape as it was written."""

    def veil(self, text: str) -> str:
        """Put U+FFFD for each half in a text that was read: no UTF-8 could hold a half, and which stand-in a
        half has depends on what else is in the body.
        """
        return text.translate(dict.fromkeys(self.halves, "\N{REPLACEMENT CHARACTER}"))

    def restore(self, cut: bytes) -> bytes:
        """Put the halves back, in one pass."""
        # In values the stand-in is still an escape; in names that were written anew it is a character.
        written = {_escape(point): half for point, half in self.halves.items()}
        written |= {chr(point).encode(): half for point, half in self.halves.items()}
        return _PRIVATE.sub(lambda match: written.get(match[0], match[0]), cut)


def mend(raw: bytes) -> Mended | None:
    """Replace each half by a stand-in that occurs nowhere else; None where there is no half, or no stand-in
    left.

    Three passes, however many halves there are.
    """
    written = set(_ESCAPE.findall(raw)) - {b""}
    if not written:
        return None
    used = {_point(text) for text in set(_PRIVATE.findall(raw))}
    stand_ins = dict(zip(sorted(written), (p for p in _PRIVATE_USE if p not in used), strict=False))
    if len(stand_ins) < len(written):
        return None
    escapes = {half: _escape(point) for half, point in stand_ins.items()}
    mended = _ESCAPE.sub(lambda match: escapes.get(match[0], match[0]), raw)
    return Mended(raw=mended, halves={point: half for half, point in stand_ins.items()})


def _escape(point: int) -> bytes:
    return b"\\u%04x" % point


def _point(text: bytes) -> int:
    """Return the code point of what `_PRIVATE` matched."""
    return int(text[2:], 16) if text[:1] == b"\\" else ord(text.decode())
