"""What is taken for granted of httpx 0.28, httpcore and h11: an upgrade that changes it fails here first.

A lane asks after every answer whether anything is left behind it. Where the names are gone it keeps no
connection any more: right, but slow.
"""

import inspect
import ssl

import h11
import httpcore
import httpx
import trio
import trio.testing
from httpcore._async.connection import AsyncHTTPConnection
from httpcore._async.http11 import AsyncHTTP11Connection
from httpcore._backends.trio import TrioStream

_ORIGIN = httpcore.Origin(b"http", b"support.internal", 80)


def test_the_way_from_the_transport_to_the_connection() -> None:
    pool = httpx.AsyncHTTPTransport()._pool
    assert isinstance(pool, httpcore.AsyncConnectionPool)
    assert pool.connections == []
    assert AsyncHTTPConnection(_ORIGIN)._connection is None
    kept = AsyncHTTP11Connection(_ORIGIN, httpcore.AsyncMockStream([]))
    assert isinstance(kept._h11_state, h11.Connection)


async def test_an_answer_leads_to_its_stream() -> None:
    """What TLS holds is asked of it."""
    stream = httpcore.AsyncMockStream([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    connection = AsyncHTTP11Connection(_ORIGIN, stream)
    response = await connection.request("POST", "http://support.internal/")
    assert response.extensions["network_stream"] is stream


def test_h11_keeps_what_stands_behind_an_answer_for_the_next_cycle() -> None:
    """Why it has to be looked for."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore")
    assert isinstance(connection.next_event(), h11.Response)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    connection.start_next_cycle()
    assert connection.trailing_data == (b"more", False)


def test_a_connection_that_became_readable_while_idle_is_not_used_again() -> None:
    """Why the socket need not be asked as well."""
    assert 'get_extra_info("is_readable")' in inspect.getsource(AsyncHTTP11Connection.has_expired)
    assert "has_expired()" in inspect.getsource(httpcore.AsyncConnectionPool._assign_requests_to_connections)


def test_the_ssl_object_can_be_asked_for_what_is_deciphered_but_unread() -> None:
    near, _ = trio.testing.memory_stream_pair()
    secured = trio.SSLStream(near, ssl.create_default_context(), server_hostname="support.internal")
    assert isinstance(TrioStream(secured).get_extra_info("ssl_object"), ssl.SSLObject)
    assert TrioStream(near).get_extra_info("ssl_object") is None
