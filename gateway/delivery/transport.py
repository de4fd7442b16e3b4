"""httpx's transport for one connection at a time: what a lane sends on.

An `httpx.AsyncBaseTransport`, httpx's own extension point, over httpcore's HTTP/1.1 connection; without its
pool and its network streams, which cost more than the protocol. What is written is held until the answer is
awaited, so that head and body leave in one segment; and the socket is asked when it has something to say.
"""

import socket
import ssl
from collections.abc import AsyncIterator
from operator import attrgetter
from typing import Any, Final

import httpcore
import httpx
import trio

HOLD_BYTES: Final = 256 * 1024
"""So much is held at most before it is written: most requests whole, and no second copy of a large one."""
CLOSE_SECONDS: Final = 1.0
"""Closing a socket does not block; if it ever does, the lane goes on after this."""
PORTS: Final = {"http": 80, "https": 443}

_UNREAD: Final = attrgetter("_h11_state.trailing_data")
"""What h11 holds of a connection. A name of its own, for which there is no public one; a contract test holds
it, and without it a lane works still.
"""
_OURS: Final = {
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
}
"""What a connection raises, and what a transport raises for it."""


class OneConnection(httpx.AsyncBaseTransport):
    """One connection to one URL, opened anew when it cannot be used again."""

    def __init__(self, tls: ssl.SSLContext, *, keep_alive_seconds: float) -> None:
        self._tls = tls
        self._keep_alive_seconds = keep_alive_seconds
        self._connection: httpcore.AsyncHTTP11Connection | None = None
        self._stream: _NetworkStream | None = None
        self._url = httpcore.URL(b"")
        """Of the requests, as httpcore has it: made once."""
        self.opened_now = False
        """Whether the last request was the first on its connection."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and return the head of the answer; its stream gives the rest.

        Raises:
            httpx.TransportError: as httpx's own transport.
            OSError: no connection.
            UnicodeError: a host name that cannot be one.
        """
        self.opened_now = False
        connection = self._connection
        if connection is not None and (not connection.is_available() or connection.has_expired()):
            await self.aclose()
            connection = None
        if connection is None:
            connection = await self._open(request.url)
        try:
            answer = await connection.handle_async_request(
                httpcore.Request(
                    request.method, self._url, headers=request.headers.raw, content=request.stream
                )
            )
        except (httpcore.ProtocolError, httpcore.NetworkError) as error:
            raise _OURS[type(error)](str(error)) from error
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Answer(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close the connection; the next request opens a new one."""
        stream, self._stream, self._connection = self._stream, None, None
        if stream is not None:
            # Shielded: a socket that is left open because its task was cancelled is a leak.
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await stream.aclose()

    def has_more(self) -> bool:
        """Whether anything is left behind the answer, which would be read as the answer to the next request.

        RFC 9112, section 6.3: what follows an answer on its connection was not asked for. httpcore would keep
        it. What is still in the socket is seen when the connection is about to be used again. Also true where
        not all of the request could be sent.
        """
        if self._connection is None or self._stream is None:
            return False
        try:
            unread = any(_UNREAD(self._connection))
        except AttributeError:
            return True  # where it cannot be seen, no connection is kept
        return unread or self._stream.broken or self._stream.has_record()

    async def _open(self, url: httpx.URL) -> httpcore.AsyncHTTP11Connection:
        """Connect, with TLS where the URL says so."""
        if url.scheme not in PORTS:
            raise httpx.UnsupportedProtocol("neither http nor https")
        host, port = url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]
        plain = SocketStream(await trio.open_tcp_stream(host, port))
        self._stream = _NetworkStream(plain)
        if url.scheme == "https":
            self._tls.set_alpn_protocols(["http/1.1"])
            secured = trio.SSLStream(plain, self._tls, server_hostname=host, https_compatible=True)
            self._stream = _NetworkStream(secured)
            try:
                await secured.do_handshake()
            except trio.BrokenResourceError as error:
                raise httpx.ConnectError("no TLS") from error
        self._url = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        self._connection = httpcore.AsyncHTTP11Connection(
            self._url.origin, self._stream, keepalive_expiry=self._keep_alive_seconds
        )
        self.opened_now = True
        return self._connection


class SocketStream(trio.abc.Stream):
    """A connected socket, without the turns through Trio's scheduler that its own stream takes."""

    def __init__(self, connected: trio.SocketStream) -> None:
        """Take over the socket of a stream, which must not be used any more."""
        self.socket = socket.socket(fileno=connected.socket.detach())
        self.socket.setblocking(False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; a checkpoint only where the other side is slower, or nothing is sent."""
        with memoryview(data) as rest:
            sent = 0
            while sent < len(rest):
                try:
                    sent += self.socket.send(rest[sent:])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self.socket)
                except OSError as error:
                    raise self._ended(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await trio.lowlevel.wait_writable(self.socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for something; a checkpoint."""
        while True:
            try:
                await trio.lowlevel.wait_readable(self.socket)
                return self.socket.recv(max_bytes or HOLD_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._ended(error) from error

    def is_readable(self) -> bool:
        """Whether there is something to read: bytes, the end, or an error."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    async def aclose(self) -> None:
        """Close it; a checkpoint."""
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()
        await trio.lowlevel.checkpoint()

    def _ended(self, error: OSError) -> Exception:
        if self.socket.fileno() < 0:
            return trio.ClosedResourceError("the socket is closed")
        return trio.BrokenResourceError(str(error))


class _NetworkStream(httpcore.AsyncNetworkStream):
    """What httpcore's connection reads and writes. The deadline is the lane's: `timeout` is unused."""

    def __init__(self, stream: "SocketStream | trio.SSLStream[SocketStream]") -> None:
        self._stream = stream
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.broken = False
        """Whether something could not be sent."""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 (httpcore's)
        """Hold it until the answer is awaited."""
        if buffer:
            self._held.append(buffer)
            self._held_bytes += len(buffer)
        if self._held_bytes >= HOLD_BYTES:
            await self._send_held()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (httpcore's)
        """Send what is held; then wait for something."""
        if self._held:
            await self._send_held()
        try:
            found = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error)) from error
        return found if isinstance(found, bytes) else bytes(found)

    async def _send_held(self) -> None:
        held = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        try:
            await self._stream.send_all(held)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # A target may answer before it has read everything, and close: what it said is read all the same.
            self.broken = True

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Say what httpcore asks before it uses a connection again."""
        if info == "is_readable":
            stream = self._stream
            return (stream if isinstance(stream, SocketStream) else stream.transport_stream).is_readable()
        return None

    def has_record(self) -> bool:
        """Whether TLS holds more than was read: a record of which neither parser nor socket knows."""
        if isinstance(self._stream, SocketStream):
            return False
        secured: ssl.SSLObject = self._stream._ssl_object  # noqa: SLF001
        try:
            secured.read(1)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True  # it has ended, or is broken
        return True


class _Answer(httpx.AsyncByteStream):
    """The rest of an answer."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._answer.aiter_stream():
                yield part
        except (httpcore.ProtocolError, httpcore.NetworkError) as error:
            raise _OURS[type(error)](str(error)) from error

    async def aclose(self) -> None:
        """Leave the rest unread."""
        await self._answer.aclose()
