"""Meta's own timestamp of a notification: when, by Meta's clock, the newest of what it tells happened.

`timestamp` of a message, a status or an echo stands in its value, in seconds, as text; of Messenger's and
Instagram's items in milliseconds, as a number. Other fields have `entry.time` alone, in seconds or
milliseconds; some have neither.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

_Stamp = str | int | float | None

_MILLISECONDS_FROM: Final = 10**11
"""A number of seconds that large would be the year 5138: it is milliseconds."""
_EARLIEST_MS: Final = 946_684_800_000
"""2000-01-01: what is before is no time of a webhook."""
_LATEST_MS: Final = 32_503_680_000_000
"""3000-01-01."""


class _Item(msgspec.Struct, gc=False):
    timestamp: _Stamp = None


class _Value(msgspec.Struct, gc=False):
    messages: list[_Item] | None = None
    statuses: list[_Item] | None = None
    message_echoes: list[_Item] | None = None


class _Change(msgspec.Struct, gc=False):
    value: _Value | None = None


class _Timed(msgspec.Struct, gc=False):
    time: _Stamp = None


class _Entry(_Timed, gc=False):
    changes: list[_Change] | None = None
    messaging: list[_Item] | None = None
    standby: list[_Item] | None = None


class _Top(msgspec.Struct, gc=False):
    entry: list[_Entry] | None = None


class _Rough(msgspec.Struct, gc=False):
    """Of what is shaped otherwise inside."""

    entry: list[_Timed] | None = None


_fine: Final = msgspec.json.Decoder(_Top | list[_Top])
_rough: Final = msgspec.json.Decoder(_Rough | list[_Rough])


def meta_time_ms(raw: bytes) -> int | None:
    """Return the newest timestamp in a notification, Unix milliseconds; None where there is none."""
    try:
        found = list(_stamps(_fine.decode(raw)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = list(_rough_stamps(raw))
    times = [ms for stamp in found if (ms := _ms(stamp)) is not None]
    return max(times, default=None)


def _stamps(decoded: "_Top | list[_Top]") -> Iterator[_Stamp]:
    tops = decoded if isinstance(decoded, list) else [decoded]
    for entry in (entry for top in tops for entry in top.entry or ()):
        inner = [item.timestamp for item in _items(entry) if item.timestamp is not None]
        yield from inner or (entry.time,)


def _items(entry: _Entry) -> Iterator[_Item]:
    for change in entry.changes or ():
        if change.value is not None:
            yield from change.value.messages or ()
            yield from change.value.statuses or ()
            yield from change.value.message_echoes or ()
    yield from entry.messaging or ()
    yield from entry.standby or ()


def _rough_stamps(raw: bytes) -> Iterator[_Stamp]:
    try:
        decoded = _rough.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    for top in decoded if isinstance(decoded, list) else [decoded]:
        for entry in top.entry or ():
            yield entry.time


def _ms(stamp: _Stamp) -> int | None:
    try:
        number = float(stamp) if stamp is not None else None
    except (ValueError, OverflowError):
        return None
    if number is None or not abs(number) < _LATEST_MS:  # NaN and infinity too
        return None
    ms = round(number if number >= _MILLISECONDS_FROM else number * 1000)
    return ms if _EARLIEST_MS <= ms < _LATEST_MS else None
