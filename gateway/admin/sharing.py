"""One making of an answer for all who wait for it: whoever may ask without a token may ask without end.

Each caller gets an answer whose making began after the call; those who come while one is made share the next.
Between two makings there is a pause, so that they take no more than a part of the time that acknowledgements
need.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import trio

T = TypeVar("T")

PAUSES: Final = 4
"""A pause is so many times as long as the making before it: that takes a fifth of the time at the most."""
PAUSE_SECONDS: Final = 0.25
"""At the most: who asks for workers that answer late must not be late for a scraper, too."""


class Shared(Generic[T]):
    """Makes answers of one kind. Call it to have one; raises what their making raises."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._turn = trio.Lock()
        self._begun = 0
        self._answer: tuple[int, T] | None = None
        """With the number of its making."""
        self._pause_ends = float("-inf")

    async def __call__(self) -> T:
        """Return an answer that is no older than this call."""
        wanted = self._begun + 1
        async with self._turn:
            if self._answer is not None and self._answer[0] >= wanted:
                return self._answer[1]
            await trio.sleep_until(self._pause_ends)
            self._begun = number = self._begun + 1
            began = trio.current_time()
            try:
                answer = await self._make()
            finally:
                ended = trio.current_time()
                self._pause_ends = ended + min(PAUSES * (ended - began), PAUSE_SECONDS)
            self._answer = (number, answer)
            return answer
