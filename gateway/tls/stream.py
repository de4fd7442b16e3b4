"""A Trio stream over OpenSSL on the non-blocking socket itself: no memory BIOs, no copy between.

Laws:
- After `aclose` nothing touches the socket again. Its number may already be another connection's: every wait
  is followed by a look at `_closed` before OpenSSL is called.
- OpenSSL's error queue is one for the whole thread. It is emptied before every call: what another connection
  left there would be told as this one's fault, and before OpenSSL 4.0 be taken for one (SSL_get_error(3)).
- One call of SSL_read takes one record at most. By itself it goes on behind a record without data (pyOpenSSL
  asks for that: SSL_MODE_AUTO_RETRY), and a client that sends nothing but KeyUpdates keeps the whole process
  inside of it; no deadline strikes there.
- A cancelled `send_all` leaves half a record behind; nothing more can be sent then, not even close_notify.
"""

import operator
import socket
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final, NoReturn

import trio
from OpenSSL import SSL
from OpenSSL._util import (
    ffi,
    lib,
    no_zero_allocator,
)  # what has no public wrapper, and what costs less without

from gateway.errors import PeerError
from gateway.tls.context import NoOverlapError

RECORD_BYTES: Final = 16384
"""One TLS record holds no more (RFC 8446 section 5.1), and SSL_read returns no more than one."""

TURNS_WITHOUT_DATA: Final = RECORD_BYTES + 256 + 5
"""What the longest record has on the wire (RFC 8446 section 5.2): if every byte of it comes alone, it takes
so many reads. More of them without any data are records of another kind: KeyUpdates, of which TLS allows any
number."""

CLOSE_NOTIFY_SECONDS: Final = 1.0
"""How long a full send buffer may hold up the farewell; HTTP frames its messages, so nothing is lost without
it."""

_RETRY: Final = (SSL.WantReadError, SSL.WantWriteError)


class TlsStream(trio.abc.Stream):
    """One TLS connection. `do_handshake` first, then it is a byte stream.

    The other side's end of the connection is end of file whether or not close_notify came before: HTTP frames
    its own messages, and many clients leave without farewell (as trio's `https_compatible`).
    """

    def __init__(self, connection: SSL.Connection, sock: socket.socket) -> None:
        """Take over both; `connection` works on `sock`, which is connected and not blocking.

        Raises:
            OSError: the other side is gone already.
        """
        self.connection = connection
        """For the verdict; nobody reads or writes through it but this stream."""
        self.peername = endpoint(sock.getpeername())
        """Address and port of the other side; an IPv4 address has its own form also on a dual-stack
        socket."""
        self.sockname = endpoint(sock.getsockname())
        self.alpn = ""
        """The protocol agreed upon; empty where the client did not ask, and before the handshake."""
        self._sock = sock
        self._ssl = connection._ssl  # noqa: SLF001 # see _read
        self._closed = False
        self._established = False
        self._ended = False
        self._broken = False
        self._half_sent = False
        self._is_drained = False
        """Whether the last read took all that had come."""
        self._turns_without_data = 0
        self._sending = _Occupied("another task is sending on this stream")
        self._receiving = _Occupied("another task is receiving on this stream")

    @classmethod
    def server(cls, context: SSL.Context, sock: socket.socket, *, app_data: object = None) -> "TlsStream":
        """Make the accepting side."""
        connection = _make_connection(context, sock)
        connection.set_app_data(app_data)
        connection.set_accept_state()
        return cls(connection, sock)

    @classmethod
    def client(cls, context: SSL.Context, sock: socket.socket) -> "TlsStream":
        """Make the connecting side."""
        connection = _make_connection(context, sock)
        connection.set_connect_state()
        return cls(connection, sock)

    async def do_handshake(self) -> None:
        """Shake hands. The caller sets the deadline.

        Raises:
            PeerError: the other side does not speak TLS as we do, or has gone; only closing is left.
        """
        with self._sending, self._receiving:
            try:
                await self._until_done(self.connection.do_handshake)
            except trio.BrokenResourceError as broken:
                raise PeerError(_describe(broken.__cause__)) from broken
        self._established = True
        self.alpn = self.connection.get_alpn_proto_negotiated().decode("ascii")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it, or raise."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if not await self.send_eagerly(data):
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_eagerly(self, data: bytes | bytearray | memoryview) -> bool:
        """Send as `send_all` does, but a checkpoint only where it has to wait; returns whether it was one.

        For who reads next anyway: a turn of the scheduler for each answer costs more than the writing.
        """
        with self._sending:
            self._look_alive()
            if self._half_sent:
                raise trio.BrokenResourceError("an earlier send was cancelled half-way")
            with memoryview(data).cast("B") as view:
                return await self._send_view(view)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes bytes again."""
        with self._sending:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._look_alive()
            await trio.lowlevel.wait_writable(self._sock)
            self._look_alive()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some bytes, or none at the end of the stream."""
        size = RECORD_BYTES if max_bytes is None else min(operator.index(max_bytes), RECORD_BYTES)
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving:
            waited = self._is_drained and not (self._closed or self._broken or self._ended)
            if waited:
                # A read that is known to find nothing costs as much as the wait itself.
                await trio.lowlevel.wait_readable(self._sock)
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
            data = b""
            while not (data or self._ended):
                self._look_alive()
                try:
                    data = self._read(size)
                except _RETRY as wanted:
                    self._count_turn()
                    await self._wait_for(wanted)
                    waited = True
                except SSL.ZeroReturnError:
                    self._ended = True
                except SSL.Error as error:
                    if not _is_end_of_file(error):
                        self._break(error)
                    self._ended = True
            self._look_alive()
            self._turns_without_data = 0
            # OpenSSL reads one record and not beyond it: what is left of it comes at once, the next may not.
            self._is_drained = len(data) < size
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data

    async def aclose(self) -> None:
        """Say farewell if that goes at once, and close. Cancelled, it closes all the same."""
        try:
            if not self._closed and self._may_say_farewell():
                with trio.move_on_after(CLOSE_NOTIFY_SECONDS), self._sending:
                    await self._say_farewell()
        finally:
            self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close the socket, now; who waits on it gets ClosedResourceError."""
        if not self._closed:
            self._closed = True
            # Before the number is free for the next connection, or its first wait would be busy.
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def _send_view(self, view: memoryview) -> bool:
        """Return whether it had to wait (and so was a checkpoint)."""
        sent = 0
        waited = False
        while sent < len(view):
            try:
                sent += self._write(view[sent:])
            except _RETRY as wanted:
                # OpenSSL has the record encrypted already and must be offered the same bytes again: if this
                # wait is cancelled, the flag stays up.
                self._half_sent = True
                await self._wait_for(wanted)
                self._look_alive()
                waited = True
            except SSL.Error as error:
                self._break(error)
            else:
                self._half_sent = False
        return waited

    def _read(self, size: int) -> bytes:
        """Read as `Connection.recv` does, which asks SSL_get_error after a success as well."""
        buffer = no_zero_allocator("char[]", size)
        lib.ERR_clear_error()
        result = lib.SSL_read(self._ssl, buffer, size)
        if result <= 0:
            self._raise(result)
        data: bytes = ffi.buffer(buffer, result)[:]
        return data

    def _write(self, data: memoryview) -> int:
        """Write as `Connection.send` does; see `_read`."""
        lib.ERR_clear_error()
        result: int = lib.SSL_write(self._ssl, ffi.from_buffer(data), len(data))
        if result <= 0:
            self._raise(result)
        return result

    def _raise(self, result: int) -> NoReturn:
        """Raise what pyOpenSSL would raise for the result of a call."""
        self.connection._raise_ssl_error(self._ssl, result)  # noqa: SLF001 # no public wrapper
        raise trio.BrokenResourceError(f"OpenSSL returned {result}, and no error")

    async def _until_done(self, operation: Callable[[], object]) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            self._look_alive()
            try:
                lib.ERR_clear_error()
                operation()
            except _RETRY as wanted:
                await self._wait_for(wanted)
            except (SSL.Error, NoOverlapError) as error:
                self._break(error)
            else:
                return

    def _count_turn(self) -> None:
        self._turns_without_data += 1
        if self._turns_without_data > TURNS_WITHOUT_DATA:
            self._broken = True
            raise trio.BrokenResourceError("too many records without data")

    async def _wait_for(self, wanted: Exception) -> None:
        if isinstance(wanted, SSL.WantWriteError):
            await trio.lowlevel.wait_writable(self._sock)
        else:
            await trio.lowlevel.wait_readable(self._sock)

    def _look_alive(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if self._broken:
            raise trio.BrokenResourceError("this connection is broken")

    def _break(self, error: Exception) -> NoReturn:
        self._broken = True
        raise trio.BrokenResourceError(_describe(error)) from error

    def _may_say_farewell(self) -> bool:
        return self._established and not (self._broken or self._half_sent or self._sending.occupied)

    async def _say_farewell(self) -> None:
        """Send close_notify (RFC 8446 section 6.1); the answer is not waited for."""
        while not self._closed:
            try:
                lib.ERR_clear_error()
                self.connection.shutdown()
            except SSL.WantWriteError:
                try:
                    await trio.lowlevel.wait_writable(self._sock)
                except trio.ClosedResourceError:
                    return
            except SSL.Error:
                return
            else:
                return


def _make_connection(context: SSL.Context, sock: socket.socket) -> SSL.Connection:
    connection = SSL.Connection(context, sock)
    # The constructor sets it, whatever the context says.
    lib.SSL_clear_mode(connection._ssl, lib.SSL_MODE_AUTO_RETRY)  # noqa: SLF001 # no public wrapper
    return connection


class _Occupied:
    """Refuses a second task where one is at work already."""

    def __init__(self, message: str) -> None:
        self.occupied = False
        self._message = message

    def __enter__(self) -> None:
        if self.occupied:
            raise trio.BusyResourceError(self._message)
        self.occupied = True

    def __exit__(self, *_: object) -> None:
        self.occupied = False


def endpoint(name: tuple[str, int] | tuple[str, int, int, int] | str) -> tuple[str, int]:
    """Return address and port of a socket's name; an IPv4 address in its own form on a dual-stack socket
    too."""
    if isinstance(name, str):
        return name, 0  # a Unix socket
    host, port = name[0], name[1]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host, port
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped), port
    return host, port


def _is_end_of_file(error: SSL.Error) -> bool:
    """The other side closed the connection without close_notify (pyOpenSSL says it this way)."""
    return isinstance(error, SSL.SysCallError) and error.args[:1] == (-1,)


def _describe(error: BaseException | None) -> str:
    """One line for the log, from OpenSSL's own words; never anything that the other side has sent."""
    match error:
        case NoOverlapError():
            return "the client offers no protocol that is spoken here (ALPN)"
        case SSL.SysCallError():
            return (
                "the connection ended"
                if _is_end_of_file(error)
                else f"the connection broke ({error.args[1]})"
            )
        case SSL.ZeroReturnError():
            return "the client took its leave"
        case SSL.Error() if error.args and error.args[0]:
            return str(error.args[0][0][2])
        case _:
            return "the connection broke"
