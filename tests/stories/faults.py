"""Faults of the machine, on order, in a real process: a disk that fails, a clock that steps, names not found.

A small library (faults.c), preloaded into the gateway, stands between it and the C library; a page of memory
that both map says what is to fail now. So a test can break a disk in the middle of a run, and mend it again.
"""

import errno
import mmap
import shutil
import struct
import subprocess
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Final

import pytest

_LAYOUT: Final = struct.Struct("=qqiii164s")
"""`struct orders` in faults.c."""


class Call(IntFlag):
    """What may fail."""

    SYNC = 1
    WRITE = 2
    READ = 4


class Names(IntEnum):
    """What becomes of looking up a name that ends in `.test`; known, it is 127.0.0.1."""

    KNOWN = 0
    FAIL = 1
    HANG = 2


def build(directory: Path) -> Path:
    """Compile the library; skip where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: faults of the machine cannot be made here")
    library = directory / "faults.so"
    source = Path(__file__).with_name("faults.c")
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", str(library), str(source), "-ldl"], check=True)
    return library


class Faults:
    """The faults of one process after another; none to begin with."""

    def __init__(self, library: Path, orders: Path) -> None:
        orders.write_bytes(bytes(_LAYOUT.size))
        with orders.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _LAYOUT.size)
        self.environ: Mapping[str, str] = {"LD_PRELOAD": str(library), "GATEWAY_FAULTS": str(orders)}

    def fail(self, calls: Call, path: str, *, error: int = errno.EIO) -> None:
        """From now on these calls fail on files whose path contains `path`."""
        self._order(failing=0)
        self._order(path=path.encode(), error=error)
        self._order(failing=int(calls))

    def mend(self) -> None:
        """Let no call fail any more."""
        self._order(failing=0)

    def step_clock(self, seconds: int) -> None:
        """Let the wall clock be off by so much."""
        self._order(clock=seconds)

    def names(self, names: Names) -> None:
        """Change what becomes of looking up a name."""
        self._order(names=int(names))

    @property
    def failed(self) -> int:
        """How many calls were failed so far."""
        return int(_LAYOUT.unpack(self._page[:])[1])

    def _order(
        self,
        *,
        clock: int | None = None,
        failing: int | None = None,
        error: int | None = None,
        names: int | None = None,
        path: bytes | None = None,
    ) -> None:
        # Field by field: the process under test counts in the same page.
        for value, layout, offset in (
            (clock, "=q", 0),
            (failing, "=i", 16),
            (error, "=i", 20),
            (names, "=i", 24),
            (path, "=164s", 28),
        ):
            if value is not None:
                struct.pack_into(layout, self._page, offset, value)
