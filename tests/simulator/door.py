"""A stand-in for the gateway's public port: TLS that asks for a client certificate, and any answer."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from gateway.simulator.pki import PkiFiles


class Door:
    """A TLS server that asks for a client certificate, reads one HTTP/1.1 request a time, and answers 200."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.peers: list[object] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def handle(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = await stream.receive_some()
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                length = 0
                for line in head.decode().splitlines():
                    if line.lower().startswith("content-length:"):
                        length = int(line.partition(":")[2])
                while len(data) < length:
                    data += await stream.receive_some()
                self.heads.append(head.decode())
                self.bodies.append(data[:length])
                self.peers.append(stream.getpeercert())
                data = data[length:]
                if not self.answer:
                    await stream.aclose()
                    return
                await stream.send_all(self.answer)
        except trio.BrokenResourceError:
            return

    def headers(self) -> dict[str, str]:
        lines = self.heads[-1].splitlines()[1:]
        return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@asynccontextmanager
async def opened(
    door: Door,
    pki: PkiFiles,
    *,
    handle: Callable[[trio.SSLStream[trio.SocketStream]], object] | None = None,
    demand: bool = False,
    alpn: tuple[str, ...] = ("http/1.1",),
) -> AsyncIterator[Door]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki.meta_ca)
    context.load_cert_chain(pki.server_certificate, pki.server_key)
    context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL
    context.set_alpn_protocols(list(alpn))
    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1", https_compatible=True)
    tcp = listeners[0].transport_listener
    assert isinstance(tcp, trio.SocketListener)
    door.port = tcp.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, _forgiving(handle or door.handle), listeners)
        yield door
        nursery.cancel_scope.cancel()


def _forgiving(handle: Callable[..., object]) -> Callable[..., object]:
    async def served(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await handle(stream)  # type: ignore[misc]  # a coroutine function; Callable cannot say so briefly
        except (trio.BrokenResourceError, ssl.SSLError):
            await trio.aclose_forcefully(stream)

    return served
