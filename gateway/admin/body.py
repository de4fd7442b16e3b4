"""The body of a request to the admin port, within bounds."""

from contextlib import aclosing
from typing import Final

import trio
from starlette.requests import ClientDisconnect, Request

MAX_BODY_BYTES: Final = 1024**2
"""Some 10 000 ids in one request; the commands send fewer at a time."""
BODY_TIMEOUT_SECONDS: Final = 10.0
"""A command on the same machine needs milliseconds."""


class BodyRefusedError(Exception):
    """What came is not taken: `status`, `word` and `detail` of the answer."""

    def __init__(self, status: int, word: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.word, self.detail = status, word, detail


async def read_body(request: Request) -> bytes:
    """Read it whole.

    Raises:
        BodyRefusedError: it is too large, does not come in time, or was cut short.
    """
    body = bytearray()
    with trio.move_on_after(BODY_TIMEOUT_SECONDS):
        try:
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise BodyRefusedError(413, "too_large", f"send at most {MAX_BODY_BYTES} bytes")
        except ClientDisconnect as error:
            raise BodyRefusedError(400, "body", "the body was cut short") from error
        return bytes(body)
    raise BodyRefusedError(408, "timeout", f"send the body within {BODY_TIMEOUT_SECONDS:.0f} s")
