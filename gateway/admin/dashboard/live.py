"""Server-sent events: the parts of the overview that have changed, to browsers that have it open.

Bounded in number and in life: open tabs can neither eat the descriptors of the admin port nor outlive a
reload of the page for long; a browser connects again by itself. They hold no drain: the admin port ends
with the process.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.admin.dashboard.board import Board
from gateway.admin.dashboard.pages import SECURITY_HEADERS

MAX_LISTENERS: Final = 16
"""A quarter of the admin port's connections: scrapers and commands have the others."""
LIFE_SECONDS: Final = 300.0
"""Then the browser connects anew; one that is gone without a word is let go by then at the latest."""
EVERY_SECONDS: Final = 5.0
"""Half a slot of the history: nothing on the page is older than ten seconds."""
RETRY_MS: Final = 3_000
"""After which a browser connects again."""


class Listeners:
    """Who listens now."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether one more is one too many."""
        return self._count >= MAX_LISTENERS

    def answer(self) -> Response:
        """Return the answer to one of them, which counts from now on until it has ended."""
        self._count += 1
        return _Stream(self._tell, self._leave)

    def _leave(self) -> None:
        self._count -= 1

    async def _tell(self, send: Callable[[str], Awaitable[None]]) -> None:
        told: Mapping[str, str] = {}
        await send(f"retry: {RETRY_MS}\n\n")
        while True:
            shown = await self._board.shown()
            changed = {name: html for name, html in shown.sections.items() if told.get(name) != html}
            told = shown.sections
            data = json.dumps({"at_ms": shown.overview.now_ms, "sections": changed})
            await send(f"data: {data}\n\n")
            await trio.sleep(EVERY_SECONDS)


class _Stream(Response):
    """An answer that goes on until the peer is gone or its time is over."""

    def __init__(
        self,
        tell: Callable[[Callable[[str], Awaitable[None]]], Awaitable[None]],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(headers=SECURITY_HEADERS, media_type="text/event-stream")
        # What is streamed has no length.
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        self._tell = tell
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self._leave()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        if scope["method"] != "HEAD":

            async def give(text: str) -> None:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
                with trio.move_on_after(LIFE_SECONDS):
                    await self._tell(give)
                nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
