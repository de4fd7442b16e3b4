"""What is taken for granted of httpx 0.28, httpcore and h11: an upgrade that changes it fails here first.

A lane asks after every answer whether anything is left behind it. Where the names are gone it keeps no
connection any more: right, but slow.
"""

import inspect
import ssl

import h11
import httpcore
import trio
import trio.testing

_ORIGIN = httpcore.Origin(b"http", b"support.internal", 80)


def test_where_h11_is_found() -> None:
    kept = httpcore.AsyncHTTP11Connection(_ORIGIN, httpcore.AsyncMockStream([]))
    assert isinstance(kept._h11_state, h11.Connection)


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


def test_a_connection_that_became_readable_while_idle_has_expired() -> None:
    """Why the socket need not be asked as well."""
    assert 'get_extra_info("is_readable")' in inspect.getsource(httpcore.AsyncHTTP11Connection.has_expired)


async def test_a_request_ends_before_its_answer_is_awaited() -> None:
    """What is written is held until something is to be read."""
    calls: list[str] = []

    class Stream(httpcore.AsyncMockStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
            calls.append("write")

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
            calls.append("read")
            return await super().read(max_bytes, timeout)

    stream = Stream([b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"])
    connection = httpcore.AsyncHTTP11Connection(_ORIGIN, stream)
    await connection.request("POST", "http://support.internal/", content=b"body")
    assert calls == ["write", "write", "write", "read", "read"]


def test_the_ssl_object_can_be_asked_for_what_is_deciphered_but_unread() -> None:
    near, _ = trio.testing.memory_stream_pair()
    secured = trio.SSLStream(near, ssl.create_default_context(), server_hostname="support.internal")
    assert isinstance(secured._ssl_object, ssl.SSLObject)
