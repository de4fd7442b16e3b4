"""One request and its answer: the ASGI app between the connection's inbox and its sender."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from traceback import extract_tb
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

from gateway.telemetry.log import get_logger
from gateway.web.inbox import Inbox, Taken

log = get_logger("web")

Send = Callable[[ASGISendEvent | None], Awaitable[None]]
"""Hypercorn's: None says that the app has ended."""

INTERNAL_SERVER_ERROR = 500
_WITHOUT_LENGTH = frozenset({204, 304})
"""RFC 9110 section 8.6: no Content-Length on 204, and 304 has no body to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Starts the app for each request of one connection. Stands where Hypercorn expects its task group."""

    nursery: trio.Nursery
    count_answer: Callable[[int], None]
    """Called with the status of an answer that stands for a failed app."""
    taken: Taken | None = None

    async def spawn_app(
        self, app: AppWrapper, _config: Config, scope: Scope, send: Send
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Hypercorn's interface: start the app, return where the messages for it go."""
        inbox = Inbox(taken=self.taken)
        self.nursery.start_soon(self._run_app, app, scope, inbox, send)
        return inbox.put

    def spawn(self, func: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Hypercorn's interface: a task of the protocol's own."""
        self.nursery.start_soon(func, *args)

    async def __aenter__(self) -> "Requests":
        """Nothing to open: the nursery is the connection's."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """As above."""

    async def _run_app(self, app: AppWrapper, scope: Scope, inbox: Inbox, send: Send) -> None:
        answer = _Answer(send)
        try:
            # The last two are for WSGI, which is not served.
            await app(scope, inbox.receive, answer.send, trio.to_thread.run_sync, trio.from_thread.run)
        except* Exception as errors:  # noqa: BLE001 (the boundary to the app)
            # Recorded, answered 500, and never the end of the process.
            log.error(  # noqa: TRY400 (the text of an exception may quote a body)
                "app_failed", errors=describe(errors)
            )
        if not answer.has_begun and not inbox.is_disconnected:
            self.count_answer(INTERNAL_SERVER_ERROR)
            await answer.give_up()
        await inbox.discard()
        await send(None)


class _Answer:
    """The app's send, holding back the start until the first piece of body is there.

    ASGI wants it held back; and a body that comes in one piece then gets a Content-Length instead of chunks.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Any = None
        self.has_begun = False
        """Whether some of the answer went out."""

    async def send(self, message: Any) -> None:
        """ASGI's send."""
        if message["type"] == "http.response.start" and self._start is None and not self.has_begun:
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(_with_length(start, message))
            self.has_begun = True
        await self._send(message)

    async def give_up(self) -> None:
        """Answer in place of an app that did not."""
        self._start = None
        await self.send({"type": "http.response.start", "status": INTERNAL_SERVER_ERROR, "headers": []})
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _with_length(start: Any, message: Any) -> Any:
    headers = list(start.get("headers", []))
    is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
    if not is_whole or start["status"] in _WITHOUT_LENGTH:
        return start
    if any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers):
        return start
    return {**start, "headers": [*headers, (b"content-length", b"%d" % len(message.get("body", b"")))]}


def describe(error: BaseException) -> list[str]:
    """Name each exception and the line it came from, and nothing of what it says: that may quote a body."""
    if isinstance(error, BaseExceptionGroup):
        return [line for inner in error.exceptions for line in describe(inner)]
    frames = extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return [f"{type(error).__module__}.{type(error).__qualname__}{where}"]
