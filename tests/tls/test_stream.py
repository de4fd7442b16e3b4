"""The stream keeps Trio's promises, over real sockets and with OpenSSL on both sides."""

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from gateway.errors import PeerError
from gateway.tls.stream import CLOSE_NOTIFY_SECONDS, TURNS_WITHOUT_DATA, TlsStream
from gateway.tls.verdict import ChainRecord
from tests.tls.key_updates import Records
from tests.tls.rig import PATIENCE_SECONDS, Maker

BIG = 8 * 1024**2
"""More than the socket buffers of both sides hold together."""


def socket_pair(*, buffer_bytes: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Return two connected TCP sockets, not blocking."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.socket()
        if buffer_bytes is not None:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        if buffer_bytes is not None:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    accepted.setblocking(False)
    client.setblocking(False)
    return accepted, client


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected Unix sockets, not blocking, with small buffers."""
    one, other = socket.socketpair()
    for each in (one, other):
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return one, other


def client_context(version: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    return context


async def connected(
    maker: Maker,
    *,
    version: int = SSL.TLS1_3_VERSION,
    buffer_bytes: int | None = None,
    sockets: tuple[socket.socket, socket.socket] | None = None,
) -> tuple[TlsStream, TlsStream]:
    """Return both ends of a connection whose handshake is done."""
    accepted, connecting = sockets or socket_pair(buffer_bytes=buffer_bytes)
    context = maker.context()
    server = TlsStream.server(context.ssl, accepted, app_data=ChainRecord())
    client = TlsStream.client(client_context(version), connecting)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            nursery.start_soon(client.do_handshake)
    return server, client


def stuff(stream: TlsStream) -> None:
    """Fill what the kernel holds in one direction, to the brim."""
    with suppress(BlockingIOError):
        while True:
            stream._sock.send(bytes(4096))


@asynccontextmanager
async def pair(
    maker: Maker, *, buffer_bytes: int | None = None
) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    server, client = await connected(maker, buffer_bytes=buffer_bytes)
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            yield server, client
    finally:
        server.close()
        client.close()


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS1.2", "TLS1.3"])
async def test_it_is_a_stream_as_trio_understands_it(maker: Maker, version: int) -> None:
    """Trio's own inspection, with and without buffers that fill up."""

    async def make() -> tuple[TlsStream, TlsStream]:
        return await connected(maker, version=version)

    async def make_clogged() -> tuple[TlsStream, TlsStream]:
        # Unix sockets: what TCP holds back changes with every late acknowledgement, and the tests with it.
        server, client = await connected(maker, version=version, sockets=unix_pair())
        for stream in (server, client):
            with suppress(SSL.WantWriteError):
                while True:
                    # Records of one byte: the one that is stuck in the end fits any retry.
                    stream.connection.send(b"x")
        return server, client

    await trio.testing.check_two_way_stream(make, None)
    await trio.testing.check_two_way_stream(make, make_clogged)


async def test_megabytes_go_through_small_buffers_in_both_directions_at_once(maker: Maker) -> None:
    data = os.urandom(2 * 1024**2)
    async with pair(maker, buffer_bytes=8192) as (server, client):

        async def receive(stream: TlsStream) -> None:
            got = bytearray()
            while len(got) < len(data):
                got += await stream.receive_some()
            assert got == data

        async with trio.open_nursery() as nursery:
            for stream in (server, client):
                nursery.start_soon(stream.send_all, data)
                nursery.start_soon(receive, stream)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.binary(max_size=40_000), max_size=6),
    sizes=st.lists(st.integers(1, 50_000), min_size=1, max_size=4),
)
def test_bytes_come_out_as_they_went_in_however_they_are_cut(
    maker: Maker, pieces: list[bytes], sizes: list[int]
) -> None:
    async def check() -> None:
        async with pair(maker) as (server, client):
            got = bytearray()

            async def send() -> None:
                for number, piece in enumerate(pieces):
                    await server.send_all(memoryview(piece) if number % 2 else piece)
                await server.aclose()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                turn = 0
                while data := await client.receive_some(sizes[turn % len(sizes)]):
                    assert len(data) <= sizes[turn % len(sizes)]
                    got += data
                    turn += 1
            assert bytes(got) == b"".join(pieces)

    trio.run(check)


async def test_farewell_is_end_of_file_and_stays_so(maker: Maker) -> None:
    async with pair(maker) as (server, client):
        await client.send_all(b"last words")
        await client.aclose()
        assert await server.receive_some() == b"last words"
        assert await server.receive_some() == b""
        assert await server.receive_some() == b""


async def test_an_end_without_farewell_is_end_of_file_too(maker: Maker) -> None:
    """Many clients close the socket without close_notify; HTTP frames its own messages."""
    async with pair(maker) as (server, client):
        # Else the session tickets of TLS 1.3 lie unread in the client's socket, and close() sends RST.
        await server.send_all(b"x")
        await client.receive_some()
        client.close()
        assert await server.receive_some() == b""


async def test_a_client_that_stops_sending_without_farewell_still_gets_its_answer(maker: Maker) -> None:
    async with pair(maker) as (server, client):
        client._sock.shutdown(socket.SHUT_WR)
        assert await server.receive_some() == b""
        await server.send_all(b"the answer")
        assert await client.receive_some() == b"the answer"


async def test_a_reset_breaks_the_stream(maker: Maker) -> None:
    async with pair(maker) as (server, client):
        # Linger zero: close() sends RST.
        client._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"x")


async def test_a_record_that_was_tampered_with_breaks_the_stream(maker: Maker) -> None:
    async with pair(maker) as (server, client):
        client._sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()


@asynccontextmanager
async def flooded(maker: Maker) -> AsyncIterator[tuple[TlsStream, Records, socket.socket]]:
    """Yield a server, and the means to send it any records in its client's name."""
    accepted, connecting = socket_pair()
    context = client_context()
    log: list[bytes] = []
    context.set_keylog_callback(lambda _, line: log.append(line))
    server = TlsStream.server(maker.context().ssl, accepted, app_data=ChainRecord())
    client = TlsStream.client(context, connecting)
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.do_handshake)
                nursery.start_soon(client.do_handshake)
            assert client.connection.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
            (line,) = (one for one in log if one.startswith(b"CLIENT_TRAFFIC_SECRET_0"))
            yield server, Records(line), connecting
    finally:
        server.close()
        client.close()


async def test_new_keys_between_two_pieces_of_data_disturb_nobody(maker: Maker) -> None:
    async with flooded(maker) as (server, records, sock):
        for piece in (b"one", b"two", b"three"):
            sock.send(b"".join(records.key_update() for _ in range(10)) + records.data(piece))
            assert await server.receive_some() == piece


async def test_a_flood_of_new_keys_leaves_every_other_task_its_turn(maker: Maker) -> None:
    """Each record is a turn of the event loop; else one client keeps the whole process inside SSL_read."""
    updates = 2000
    async with flooded(maker) as (server, records, sock):
        sock.send(b"".join(records.key_update() for _ in range(updates)) + records.data(b"at last"))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            assert await server.receive_some() == b"at last"
            nursery.cancel_scope.cancel()
        assert turns >= updates


async def test_a_flood_of_new_keys_without_data_breaks_the_connection(maker: Maker) -> None:
    async with flooded(maker) as (server, records, sock), trio.open_nursery() as nursery:

        async def flood() -> None:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock.dup()))
            async with stream:
                for _ in range(TURNS_WITHOUT_DATA // 500 + 1):
                    await stream.send_all(b"".join(records.key_update() for _ in range(500)))

        nursery.start_soon(flood)
        # Cancelled and begun again, as a reader with a deadline does it: the count goes on.
        with trio.move_on_after(0.01):
            await server.receive_some()
        with pytest.raises(trio.BrokenResourceError, match="without data"):
            await server.receive_some()
        nursery.cancel_scope.cancel()


async def test_a_record_that_comes_byte_by_byte_is_no_flood(maker: Maker) -> None:
    async with flooded(maker) as (server, records, sock), trio.open_nursery() as nursery:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        async def dribble() -> None:
            for byte in records.data(bytes(3000)):
                sock.send(bytes((byte,)))
                await trio.lowlevel.checkpoint()

        nursery.start_soon(dribble)
        assert await server.receive_some() == bytes(3000)


async def test_nothing_more_is_sent_after_half_a_record(maker: Maker) -> None:
    """OpenSSL would send the rest of the old bytes under the name of the new ones."""
    async with pair(maker, buffer_bytes=4096) as (server, client):
        with trio.move_on_after(0.05) as scope:
            await server.send_all(bytes(BIG))
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError, match="half-way"):
            await server.send_all(b"something else")
        await server.aclose()
        with suppress(trio.BrokenResourceError):
            while data := await client.receive_some():
                assert not data.strip(b"\0")


async def test_closing_does_not_wait_for_a_client_that_does_not_read(
    maker: Maker, autojump_clock: trio.testing.MockClock
) -> None:
    async with pair(maker, buffer_bytes=4096) as (server, _):
        stuff(server)
        began = trio.current_time()
        await server.aclose()
        assert trio.current_time() - began == CLOSE_NOTIFY_SECONDS
        assert server._sock.fileno() == -1


async def test_who_waits_on_a_stream_that_is_closed_is_told(maker: Maker) -> None:
    async with pair(maker) as (server, _), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.receive_some()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        server.close()


async def test_a_number_that_is_used_again_at_once_belongs_to_the_new_connection(maker: Maker) -> None:
    """The trap: a reader is woken in the very round in which its stream is closed and its number reused.

    Trio shuffles the tasks of a round, so it is tried often enough that both orders come up.
    """
    for _ in range(20):
        async with pair(maker) as (server, client), trio.open_nursery() as nursery:
            number = server._sock.fileno()
            bell, rope = socket_pair()
            fresh: list[socket.socket] = []

            async def read_old(server: TlsStream = server) -> None:
                with suppress(trio.ClosedResourceError):
                    assert await server.receive_some() == b"for the old one"

            async def close_and_reuse(
                server: TlsStream = server,
                bell: socket.socket = bell,
                fresh: list[socket.socket] = fresh,
                number: int = number,
            ) -> None:
                await trio.lowlevel.wait_readable(bell)
                server.close()
                one, other = socket_pair()
                fresh.extend((one, other) if one.fileno() == number else (other, one))
                fresh[1].send(b"for the new one")

            nursery.start_soon(read_old)
            nursery.start_soon(close_and_reuse)
            await trio.testing.wait_all_tasks_blocked()
            # Both are woken by one poll: no checkpoint stands between these two.
            client.connection.send(b"for the old one")
            rope.send(b"!")
            await trio.testing.wait_all_tasks_blocked()
            while not fresh:
                await trio.lowlevel.checkpoint()
            assert fresh[0].fileno() == number
            await trio.lowlevel.wait_readable(fresh[0])
            assert fresh[0].recv(100) == b"for the new one"
            for used in (bell, rope, *fresh):
                used.close()


def leave_an_error_behind() -> None:
    """What a failed call of another connection leaves in the thread's error queue."""
    lib.PEM_read_bio_X509(lib.BIO_new(lib.BIO_s_mem()), *[ffi.NULL] * 3)
    assert lib.ERR_peek_error() != 0


async def test_leftovers_in_the_error_queue_of_openssl_break_nobody(maker: Maker) -> None:
    async with pair(maker) as (server, client), trio.open_nursery() as nursery:

        async def receive() -> None:
            assert await server.receive_some() == b"fine"

        leave_an_error_behind()
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        leave_an_error_behind()
        await client.send_all(b"fine")


async def test_leftovers_in_the_error_queue_of_openssl_are_not_told_as_this_ones_fault(maker: Maker) -> None:
    async with pair(maker) as (server, client):
        client._sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        await trio.lowlevel.wait_readable(server._sock)
        leave_an_error_behind()
        with pytest.raises(trio.BrokenResourceError, match="bad record mac"):
            await server.receive_some()


async def test_a_handshake_with_something_that_is_not_tls_is_the_peers_fault(maker: Maker) -> None:
    accepted, connecting = socket_pair()
    with connecting:
        server = TlsStream.server(maker.context().ssl, accepted)
        connecting.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(PeerError, match="http request"):
            await server.do_handshake()
        await server.aclose()


async def test_the_standard_librarys_client_and_this_stream_understand_each_other(maker: Maker) -> None:
    accepted, connecting = socket_pair()
    connecting.setblocking(True)
    connecting.settimeout(PATIENCE_SECONDS)
    server = TlsStream.server(maker.context().ssl, accepted, app_data=ChainRecord())

    def play() -> bytes:
        with maker.client_context(alpn=("h2",)).wrap_socket(connecting, server_hostname="localhost") as tls:
            tls.sendall(b"ping")
            assert tls.recv(100) == b"pong"
            # unwrap() insists on the other side's close_notify.
            with suppress(ssl.SSLError):
                assert tls.recv(100) == b""
            return b"done"

    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await server.do_handshake()
            assert server.alpn == "h2"
            assert await server.receive_some() == b"ping"
            await server.send_all(b"pong")
            await server.aclose()

        nursery.start_soon(serve)
        assert await trio.to_thread.run_sync(play) == b"done"
