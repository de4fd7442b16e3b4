"""The wall clock, read in one place; whatever decides takes the time as an argument."""

import time


def unix_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
