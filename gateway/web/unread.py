"""The body of an HTTP/2 stream that was answered before it had arrived: dropped, up to a limit."""

import trio

FRAME_COST_BYTES = 1024
"""Charged for a frame besides what is in it: a body in small frames costs far more than its bytes. 3 MiB in
frames of 1 KiB still go into the 8 MiB of the contract."""


class Unread:
    """Counts what is dropped."""

    def __init__(self, limit_bytes: int) -> None:
        self._left_bytes = limit_bytes
        self.over = trio.Event()
        """Nobody waits for the rest any more."""

    def drop(self, size_bytes: int) -> bool:
        """Count one frame; False when it was too much."""
        self._left_bytes -= size_bytes + FRAME_COST_BYTES
        return self._left_bytes >= 0
