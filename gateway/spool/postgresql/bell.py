"""What wakes a thread that waits for its connection: a pipe, waited for beside the socket."""

import os
from contextlib import suppress
from typing import Final

_MOST_RINGS: Final = 4096
"""Heard at once; what is left wakes it again."""


class Bell:
    """Rung by any thread."""

    def __init__(self) -> None:
        self.descriptor, self._writer = os.pipe()
        """It can be read while the bell has been rung and not been heard."""
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._writer, False)

    def ring(self) -> None:
        """Wake who waits, or who will next."""
        with suppress(BlockingIOError):  # it is woken already
            os.write(self._writer, b".")

    def hear(self) -> None:
        """Take notice, so that the next wait waits."""
        with suppress(BlockingIOError):
            os.read(self.descriptor, _MOST_RINGS)

    def close(self) -> None:
        """End; nobody rings any more."""
        os.close(self._writer)
        os.close(self.descriptor)
