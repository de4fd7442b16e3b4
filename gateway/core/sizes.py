"""Sizes for eyes."""

from typing import Final

_STEP: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SHORT: Final = 10
"""Below it one decimal is shown."""


def say_size(size_bytes: float) -> str:
    """Write `512 B`, `1.4 MiB`, `66 GiB`."""
    unit = 0
    while size_bytes >= _STEP and unit < len(_UNITS) - 1:
        size_bytes /= _STEP
        unit += 1
    told = f"{size_bytes:.1f}".removesuffix(".0") if size_bytes < _SHORT else f"{size_bytes:.0f}"
    return f"{told} {_UNITS[unit]}"
