"""Lines out of a stream of bytes: how the processes of a bench talk."""

from typing import Self

import trio


class Lines:
    """The lines of a stream, without their ends; what stands after the last end is none."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while b"\n" not in self._rest:
            piece = await self._stream.receive_some()
            if not piece:
                raise StopAsyncIteration
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line
