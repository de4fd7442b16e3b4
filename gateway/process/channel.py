"""How the supervisor and a worker process talk: questions one way, answers the other, over a socket pair.

A line each, JSON: `{"id": 7, "ask": "pause", "with": {...}}`, answered by `{"id": 7, "result": ...}` or
`{"id": 7, "error": {"kind": "UsageError", "message": ..., "remedy": ...}}`. The pair has no name, so nobody
else can ask; and it closes with either process, however that ends, which tells the other.
"""

import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

import msgspec
import trio

from gateway.errors import (
    DeadLetterError,
    GatewayError,
    PeerError,
    SpoolBrokenError,
    SpoolUnavailableError,
    UsageError,
)

CHUNK_BYTES: Final = 64 * 1024
"""Read at once: most lines are shorter."""
MAX_LINE_BYTES: Final = 64 * 1024**2
"""The metrics of thousands of targets are a few MiB; more is a defect, and must not fill the memory."""
OUTLIVE_SECONDS: Final = 5.0
"""How long a worker may take to end once its supervisor is gone: it closes its file within milliseconds."""

_KINDS: Final[dict[str, type[GatewayError]]] = {
    kind.__name__: kind
    for kind in (UsageError, SpoolUnavailableError, SpoolBrokenError, DeadLetterError, PeerError)
}
"""Errors that keep their class on the way, and their own kinds; all others arrive as a GatewayError."""

Answer = TypeVar("Answer")


class ToldError(msgspec.Struct):
    """An error, on its way to another process."""

    kind: str
    message: str
    remedy: str = ""

    @classmethod
    def of(cls, error: GatewayError) -> "ToldError":
        """Tell one."""
        known = (kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS)
        return cls(kind=next(known, GatewayError.__name__), message=error.message, remedy=error.remedy)

    def again(self) -> GatewayError:
        """Return it as it was."""
        return _KINDS.get(self.kind, GatewayError)(self.message, remedy=self.remedy)


class _Line(msgspec.Struct, omit_defaults=True):
    """Either kind of line."""

    id: int
    ask: str = ""
    with_: dict[str, Any] = msgspec.field(name="with", default_factory=dict)
    result: Any = None
    error: ToldError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One that has come, with the number under which it is answered."""

    id: int
    name: str
    arguments: dict[str, Any]


class _Wire:
    """One end: whole lines in, whole lines out."""

    def __init__(self, end: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(end))
        self._writing = trio.Lock()

    async def write(self, line: _Line) -> None:
        """Raises PeerError: the other process is gone."""
        try:
            async with self._writing:
                await self._stream.send_all(msgspec.json.encode(line) + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerError("the other process of the gateway is gone") from error

    async def lines(self) -> AsyncIterator[_Line]:
        """Go through what comes, until the other end is closed."""
        held = bytearray()
        while True:
            try:
                chunk = await self._stream.receive_some(CHUNK_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not chunk:
                return
            held += chunk
            if b"\n" in chunk:
                *whole, rest = bytes(held).split(b"\n")
                held = bytearray(rest)
                for line in whole:
                    yield _decode(line)
            elif len(held) > MAX_LINE_BYTES:
                raise PeerError(f"a line of more than {MAX_LINE_BYTES} bytes between the gateway's processes")


def _decode(line: bytes) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerError(f"a line between the gateway's processes that is none ({error})") from error


class Asker:
    """The supervisor's end."""

    def __init__(self, end: socket.socket) -> None:
        self._wire = _Wire(end)
        self._numbers = count(1)
        self._waiting: dict[int, trio.MemorySendChannel[_Line]] = {}
        self._gone = False

    async def run(self) -> None:
        """Take in answers until the worker is gone."""
        try:
            async for line in self._wire.lines():
                if (waiting := self._waiting.pop(line.id, None)) is not None:
                    waiting.send_nowait(line)
        finally:
            self._gone = True
            for waiting in self._waiting.values():
                waiting.close()

    async def ask(
        self, name: str, answer: type[Answer], *, within_seconds: float, **arguments: object
    ) -> Answer:
        """Ask, and return the answer as that type.

        Raises:
            PeerError: the worker is gone, or did not answer in time.
            GatewayError: its own answer.
        """
        number = next(self._numbers)
        send, receive = trio.open_memory_channel[_Line](1)
        line = None
        try:
            with trio.move_on_after(within_seconds):
                if self._gone:
                    raise PeerError("the worker process is gone")
                self._waiting[number] = send
                await self._wire.write(_Line(id=number, ask=name, with_=arguments))
                line = await receive.receive()
        except trio.EndOfChannel as error:
            raise PeerError("the worker process is gone") from error
        finally:
            self._waiting.pop(number, None)
            send.close()
            receive.close()
        if line is None:
            raise PeerError(f"a worker process did not answer within {within_seconds:g} s")
        if line.error is not None:
            raise line.error.again()
        return msgspec.convert(line.result, answer, str_keys=True)


class Questions:
    """The worker's end."""

    def __init__(self, end: socket.socket) -> None:
        self._wire = _Wire(end)
        self._lines = self._wire.lines()

    async def next(self) -> Question | None:
        """Return the next; None: the supervisor is gone."""
        async for line in self._lines:
            return Question(id=line.id, name=line.ask, arguments=line.with_)
        return None

    async def answer(self, question: Question, result: object) -> None:
        """Answer; `result` fit for JSON. Nobody may be there to hear it."""
        await self._write(_Line(id=question.id, result=msgspec.to_builtins(result)))

    async def refuse(self, question: Question, error: GatewayError) -> None:
        """Answer with an error."""
        await self._write(_Line(id=question.id, error=ToldError.of(error)))

    async def _write(self, line: _Line) -> None:
        try:
            await self._wire.write(line)
        except PeerError:
            return  # `next` says so, too


def end_with_other_side(end: socket.socket, *, exit_process: Callable[[int], object] = os._exit) -> None:
    """End this process once the other side has been gone for `OUTLIVE_SECONDS`, whatever it is busy with.

    A thread and a hang-up, and not PR_SET_PDEATHSIG: that follows the thread which started the process, and
    Trio's come and go.
    """
    own = os.dup(end.fileno())

    def watch() -> None:
        hang_up = select.poll()
        hang_up.register(own, 0)  # POLLHUP comes unasked
        hang_up.poll()
        threading.Event().wait(OUTLIVE_SECONDS)
        exit_process(os.EX_SOFTWARE)

    threading.Thread(target=watch, daemon=True, name="end with the supervisor").start()
