"""One TLS connection of Meta's to the gateway, HTTP/1.1 with keep-alive: as little as a load client needs.

`simulator.client` is httpx, and says more of each request; this one does nothing but count.
"""

import errno
import os
import re
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import trio

from gateway.simulator.client import CONNECT_TIMEOUT_SECONDS, TIMEOUT_SECONDS

_PIECE_BYTES: Final = 64 * 1024
"""One read; an answer of the gateway's is some hundred bytes."""
_MAX_HEAD_BYTES: Final = 64 * 1024
"""Of an answer: what is longer is no answer of HTTP's."""
_MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Whatever stands in front of the gateway may answer with a page."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,9}) *\r\n", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection: *close *\r\n", re.IGNORECASE)


class Fault(StrEnum):
    """Why a request got no answer."""

    NO_CONNECTION = "no connection"
    HANDSHAKE = "handshake failed"
    CLOSED = "closed without an answer"
    TOO_SLOW = "no answer in time"
    NOT_HTTP = "answer is not HTTP/1.1"


class WireError(Exception):
    """A request got no answer. It stays inside the bench, which counts it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where to connect, and how TLS is spoken there."""

    family: socket.AddressFamily
    address: Any
    """As the family has it: what `socket.connect` takes."""
    host: str
    """What the gateway's certificate must name."""
    context: ssl.SSLContext

    @classmethod
    async def find(cls, host: str, port: int, context: ssl.SSLContext) -> Self:
        """Look the name up once, and take the address at which somebody listens.

        Raises:
            WireError: there is none.
        """
        try:
            with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                async with await trio.open_tcp_stream(host, port) as stream:
                    address = stream.socket.getpeername()
                    return cls(family=stream.socket.family, address=address, host=host, context=context)
        except (OSError, trio.TooSlowError) as error:
            raise WireError(Fault.NO_CONNECTION) from error


class Wire:
    """One connection. After a `WireError`, or once it is not `open`, it is of no use any more."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self.open = True

    @classmethod
    async def connect(cls, door: Door) -> Self:
        """Connect, and do the handshake.

        Raises:
            WireError: one of them failed, or took longer than `CONNECT_TIMEOUT_SECONDS`.
        """
        plain = socket.socket(door.family, socket.SOCK_STREAM)
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_one: socket.socket = plain
        fault = Fault.NO_CONNECTION
        try:
            with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                await _reach(plain, door.address)
                fault = Fault.HANDSHAKE
                sock = door.context.wrap_socket(
                    plain, server_hostname=door.host, do_handshake_on_connect=False
                )
                open_one = sock  # which has taken the descriptor over
                await _shake_hands(sock)
        except (OSError, trio.TooSlowError) as error:  # SSLError is an OSError
            open_one.close()
            raise WireError(fault) from error
        except BaseException:
            open_one.close()
            raise
        return cls(sock)

    async def post(self, head: bytes, body: bytes) -> int:
        """Send one request, and return the status of its answer when all of it is here.

        Raises:
            WireError: no answer within `TIMEOUT_SECONDS`, or none at all.
        """
        try:
            with trio.fail_after(TIMEOUT_SECONDS):
                # One segment where it fits: two would cost the gateway a read more.
                await self._send(head + body)
                return await self._answer()
        except trio.TooSlowError as error:
            self.close()
            raise WireError(Fault.TOO_SLOW) from error
        except (OSError, WireError) as error:
            self.close()
            raise error if isinstance(error, WireError) else WireError(Fault.CLOSED) from error
        except BaseException:
            self.close()  # in the middle of a request: of no use
            raise

    def is_gone(self) -> bool:
        """Say whether the other side has closed it while nothing was asked: idle ones have their time."""
        try:
            self._sock.recv(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True
        return True  # its end, or something that nobody asked for

    def close(self) -> None:
        """Close it without a word, as a client that goes away does."""
        if self.open:
            self.open = False
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._sock)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._sock)

    async def _receive(self) -> bytes:
        await trio.lowlevel.wait_readable(self._sock)
        while True:
            try:
                piece = self._sock.recv(_PIECE_BYTES)
                break
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._sock)
        if not piece:
            raise WireError(Fault.CLOSED)
        return piece

    async def _answer(self) -> int:
        data = await self._receive()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > _MAX_HEAD_BYTES:
                raise WireError(Fault.NOT_HTTP)
            data += await self._receive()
        head = data[: end + 2]
        if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
            raise WireError(Fault.NOT_HTTP)
        length = _LENGTH.search(head)
        if length is None or _CLOSE.search(head) or int(length[1]) > _MAX_ANSWER_BYTES:
            # Its end is not said, or does not matter: the next request has a connection of its own.
            self.close()
            return int(head[9:12])
        missing = end + 4 + int(length[1]) - len(data)
        while missing > 0:
            missing -= len(await self._receive())
        return int(head[9:12])


async def _reach(sock: socket.socket, address: Any) -> None:
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _shake_hands(sock: ssl.SSLSocket) -> None:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
        else:
            return
