"""Readers and writers of amounts: whole numbers, durations, sizes, and yes or no."""

import re
from typing import Final, Literal

from gateway.core.merging import MAX_MERGED_CHANGES
from gateway.settings.reading import fault, read_text, shown

DURATION_PATTERN = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)"
SIZE_PATTERN = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(B|KiB|MiB|GiB|TiB)"
AUTO: Final = "auto"
MAX_WORKERS: Final = 64
"""Each opens a file and keeps caches of its own; a machine for more has other limits first."""
DIGITS = re.compile(r"[0-9]{1,15}")


def read_count(value: object) -> int:
    """Read a whole number in decimal digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = read_text(value)
    if not DIGITS.fullmatch(text):
        remedy = "write decimal digits alone, such as 4096"
        if DIGITS.fullmatch(text.replace("_", "")):
            remedy = f"write {text.replace('_', '')}: YAML 1.2 knows no digit separators"
        raise fault(f"{shown(text)} is not a whole number", remedy)
    return int(text)


def read_workers(value: object) -> int | Literal["auto"]:
    """Read a number of processes, or `auto`."""
    if value == AUTO:
        return AUTO
    number = at_least_one(read_count(value))
    if number > MAX_WORKERS:
        raise fault(f"{number} is too large", f"write {MAX_WORKERS} or less, or auto for one a core")
    return number


def read_switch(value: object) -> bool:
    """Read a boolean of the YAML 1.2 core schema."""
    if isinstance(value, bool):
        return value
    text = read_text(value)
    if text not in _SWITCH:
        raise fault(f"{shown(text)} is neither true nor false", "write true or false")
    return _SWITCH[text]


def at_least_one(number: int) -> int:
    if number < 1:
        raise fault(f"{number} is too small", "write 1 or more")
    return number


def mergeable(number: int) -> int:
    if number > MAX_MERGED_CHANGES:
        raise fault(f"{number} is too large", f"write {MAX_MERGED_CHANGES} or less")
    return at_least_one(number)


def refusable(status: int) -> int:
    if not 300 <= status <= 599:
        raise fault(f"{status} is no status that could refuse", "write statuses from 300 to 599")
    return status


_SWITCH: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
"""YAML 1.2.2 section 10.3.2, and nothing else: `yes` and `on` are texts."""
_SECONDS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES: Final = {"TiB": 1024**4, "GiB": 1024**3, "MiB": 1024**2, "KiB": 1024, "B": 1}
_DURATION = re.compile(DURATION_PATTERN)
_SIZE = re.compile(SIZE_PATTERN)
_LONGEST_SECONDS: Final = 3650 * 86400.0
"""Ten years: longer is a slip of the finger, and stays far from where milliseconds would overflow."""


def read_duration(value: object) -> float:
    """`250ms 10s 5m 2h 3d` -> seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = read_text(value)
    parts = _DURATION.fullmatch(text)
    if parts is None:
        remedy = "write one number with ms, s, m, h or d, such as 250ms, 10s, 5m, 2h or 3d"
        if DIGITS.fullmatch(text):
            raise fault(f"{shown(text)} has no unit", f"write {text}s for seconds, or ms, m, h, d")
        raise fault(f"{shown(text)} is not a duration", remedy)
    seconds = float(parts[1]) * _SECONDS[parts[2]]
    if seconds > _LONGEST_SECONDS:
        raise fault(f"{shown(text)} is too long", "write at most 3650d")
    return seconds


def write_duration(seconds: float) -> str:
    """Write seconds with the largest unit that leaves a whole number."""
    if seconds == 0:
        return "0s"
    milliseconds = round(seconds * 1000)
    for unit, size in _SECONDS.items():
        if milliseconds % round(size * 1000) == 0:
            return f"{milliseconds // round(size * 1000)}{unit}"
    return f"{milliseconds}ms"


def read_size(value: object) -> int:
    """`64KiB 3MiB 10GiB` -> bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = read_text(value)
    parts = _SIZE.fullmatch(text)
    if parts is None:
        if DIGITS.fullmatch(text):
            raise fault(f"{shown(text)} has no unit", f"write {text}B for bytes, or KiB, MiB, GiB")
        raise fault(
            f"{shown(text)} is not a size",
            "write one number with B, KiB, MiB, GiB or TiB (powers of 1024), such as 3MiB",
        )
    return round(float(parts[1]) * _BYTES[parts[2]])


def write_size(size_bytes: int) -> str:
    """Write bytes with the largest unit that leaves a whole number."""
    unit = next(unit for unit, size in _BYTES.items() if (size_bytes and size_bytes % size == 0) or size == 1)
    return f"{size_bytes // _BYTES[unit]}{unit}"


def positive(seconds: float) -> float:
    if seconds <= 0:
        raise fault("is zero", "write a time longer than nothing")
    return seconds
