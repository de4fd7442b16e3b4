"""Cutting an envelope: raw bytes in, raw bytes out, with fewer changes."""

from collections.abc import Collection, Iterator
from itertools import count
from typing import Final

import msgspec

from gateway.core.anatomy import Anatomy, Entry, Top, dissect, join_array, join_object
from gateway.core.surrogates import Mended, mend

_NO_ENVELOPE: Final = "only an envelope can be cut"


def cut(raw: bytes, selection: Collection[int]) -> bytes:
    """Return the envelope with only the selected changes (positions in `Envelope.changes`).

    Every value is byte-identical to what stands in `raw`; if all changes are selected, `raw` itself. The
    other members of top objects and entries stay, raw and in order; entries and objects of an array that hold
    no selected change are left out.

    Raises:
        ValueError: nothing is selected, or a position that the envelope does not have; or `raw` is no
        envelope.
    """
    wanted = frozenset(selection)
    body, mended = _dissect(raw)
    positions = count()
    tops = [kept for top in body.tops if (kept := _cut_top(top, wanted, positions)) is not None]
    total = next(positions)
    if not wanted or min(wanted) < 0 or max(wanted) >= total:
        raise ValueError(f"the selection does not fit an envelope of {total} changes")
    if len(wanted) == total:
        return raw
    whole = join_array(tops) if body.array else tops[0]
    return mended.restore(whole) if mended else whole


def _dissect(raw: bytes) -> tuple[Anatomy, Mended | None]:
    mended = None
    try:
        body = dissect(raw)
    except msgspec.DecodeError as error:
        mended = mend(raw)
        if mended is None:
            raise ValueError(_NO_ENVELOPE) from error
        body = dissect(mended.raw)
    if body is None:
        raise ValueError(_NO_ENVELOPE)
    return body, mended


def _cut_top(top: Top, wanted: frozenset[int], positions: Iterator[int]) -> bytes | None:
    if top.whole:
        return top.raw if next(positions) in wanted else None
    entries = [kept for entry in top.entries if (kept := _cut_entry(entry, wanted, positions)) is not None]
    if not entries:
        return None
    return join_object(
        [(name, join_array(entries) if name == "entry" else value) for name, value in top.members.items()]
    )


def _cut_entry(entry: Entry, wanted: frozenset[int], positions: Iterator[int]) -> bytes | None:
    if entry.whole:
        return entry.raw if next(positions) in wanted else None
    members: list[tuple[str, bytes]] = []
    anything = False
    for member in entry.members:
        units = [unit for unit in member.units if next(positions) in wanted]
        anything = anything or bool(units)
        if not member.units:
            members.append((member.name, member.raw))
        elif units:
            members.append((member.name, member.raw if member.whole else join_array(units)))
    return join_object(members) if anything else None
