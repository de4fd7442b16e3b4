"""Probe: the kernel's word on its clock.

Without asking a time server nobody can say how late it is. But the kernel knows whether somebody keeps its
clock in step, and how far it may be off by now: `adjtimex(2)`, which a container may ask too, for the clock
is its host's.
"""

import ctypes
from typing import Final

from gateway.doctor.observed import Clock

STA_UNSYNC: Final = 0x0040
"""From linux/timex.h: the clock is not kept in step."""
_ROOM_BYTES: Final = 512
"""`struct timex` has 208 bytes on 64-bit Linux; the rest is in case it has grown."""


class _Timex(ctypes.Structure):
    """The beginning of `struct timex`; what follows is not looked at."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_byte * _ROOM_BYTES),
    )


def ask_kernel() -> Clock:
    """Read the state of the clock (modes 0: nothing is set); unknown where the kernel does not say."""
    timex = _Timex()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return Clock(synchronised=None)
    if state < 0:
        return Clock(synchronised=None)
    return Clock(
        synchronised=not timex.status & STA_UNSYNC,
        max_error_seconds=timex.maxerror / 1_000_000,  # in microseconds, as adjtimex(2) says
    )
