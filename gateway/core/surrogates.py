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
    \\(?: u[dD][89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2}
      | (?P<half> u[dD][89a-fA-F][0-9a-fA-F]{2})
      | . )
    """,
    re.DOTALL | re.VERBOSE,
)
"""Any escape, from left to right, so that the second backslash of `\\\\` begins none."""
_PRIVATE_USE: Final = range(0xE000, 0xF900)
"""Code points that stand for nothing, so that they can stand in for a half."""


@dataclass(frozen=True, slots=True)
class Mended:
    """A body in which every half has a stand-in."""

    raw: bytes
    halves: Mapping[int, bytes]
    """Code point of the stand-in -> the escape as it was written."""

    def restore(self, cut: bytes) -> bytes:
        """Put the halves back."""
        for point, half in self.halves.items():
            # In values the stand-in is still an escape; in names that were written anew it is a character.
            cut = cut.replace(_escape(point), half).replace(chr(point).encode(), half)
        return cut


def mend(raw: bytes) -> Mended | None:
    """Replace each half by a stand-in that occurs nowhere else; None where there is no half, or no stand-in
    left."""
    written = {match[0] for match in _ESCAPE.finditer(raw) if match["half"]}
    lower = raw.lower()
    free = (point for point in _PRIVATE_USE if _escape(point) not in lower and chr(point).encode() not in raw)
    stand_ins = dict(zip(sorted(written), free, strict=False))
    if not written or len(stand_ins) < len(written):
        return None
    mended = _ESCAPE.sub(
        lambda match: _escape(stand_ins[match[0]]) if match["half"] else match[0],
        raw,
    )
    return Mended(raw=mended, halves={point: half for half, point in stand_ins.items()})


def _escape(point: int) -> bytes:
    return b"\\u%04x" % point
