"""Ids of notifications: sortable by time of acceptance, drawn from time and randomness that are passed in."""

from typing import Final

RANDOM_BYTES: Final = 10
"""A UUID of version 7 has room for 74 random bits (RFC 9562, 5.7): ten bytes, of which six bits are
dropped."""


def new_notification_id(now_ms: int, random_bits: bytes) -> str:
    """Return a UUID of version 7 (RFC 9562, 5.7) as 32 lowercase hexadecimal digits.

    Args:
        now_ms: Unix time; takes the first 48 bits.
        random_bits: `RANDOM_BYTES` random bytes.

    Raises:
        ValueError: there are too few or too many random bytes, or the time does not fit 48 bits.
    """
    if len(random_bits) != RANDOM_BYTES:
        raise ValueError(f"{RANDOM_BYTES} random bytes are needed, not {len(random_bits)}")
    if not 0 <= now_ms < 1 << 48:
        raise ValueError("the time does not fit 48 bits")
    drawn = int.from_bytes(random_bits, "big")
    version_and_a = 0x7000 | (drawn >> 62 & 0x0FFF)
    variant_and_b = 0b10 << 62 | drawn & ((1 << 62) - 1)
    return f"{now_ms << 80 | version_and_a << 64 | variant_and_b:032x}"
