"""Rates, durations and sizes as they are written on the command line; durations and sizes as in the file."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from gateway.errors import UsageError

_RATE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)/([smh])")
_RATE_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_LEAST_RATE: Final = 1 / 3600
_SIGNIFICANT_CHARACTERS: Final = 40

Read = TypeVar("Read")


def rate(text: str) -> float:
    """Read `100/s`, `30/m` or `5/h`; return it a second.

    Raises:
        UsageError: it is none, or less than one an hour.
    """
    parts = _RATE.fullmatch(text)
    per_second = float(parts[1]) / _RATE_UNITS[parts[2]] if parts is not None else 0.0
    if per_second < _LEAST_RATE:
        raise UsageError(
            f"--rate {text!r:.{_SIGNIFICANT_CHARACTERS}} is no rate", remedy="write 100/s, 30/m or 5/h"
        )
    return per_second


def duration(text: str, *, option: str) -> float:
    """Read `30s`, `2h`, `1d`; return seconds.

    Raises:
        UsageError: it is none.
    """
    from gateway.settings.amounts import read_duration

    return _read(read_duration, text, option, "write 30s, 30m, 2h or 1d")


def size(text: str, *, option: str) -> int:
    """Read `64KiB`, `3MiB`; return bytes.

    Raises:
        UsageError: it is none.
    """
    from gateway.settings.amounts import read_size

    return _read(read_size, text, option, "write 64KiB or 3MiB")


def _read(read: Callable[[object], Read], text: str, option: str, remedy: str) -> Read:
    from pydantic_core import PydanticCustomError

    try:
        return read(text)
    except PydanticCustomError as error:
        raise UsageError(f"{option}: {error.message()}", remedy=remedy) from error
