"""A TCP proxy before a server: it can hang, with every connection open, or be slow."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from gateway.settings.secret import Secret


@dataclass
class Proxy:
    """Where it listens, and how it is."""

    port: int
    database: str
    delay_seconds: float = 0.0
    """Before each piece that goes on, each way."""
    going: trio.Event = field(default_factory=trio.Event)
    """Set while it lets anything through."""
    through: set[trio.CancelScope] = field(default_factory=set)
    """Of each connection."""

    def hang(self) -> None:
        """Let nothing through any more; connections stay, and new ones are accepted."""
        self.going = trio.Event()

    def go(self) -> None:
        """Let everything through, what has piled up as well."""
        self.going.set()

    def cut(self) -> None:
        """End every connection; what has piled up is lost."""
        for scope in self.through:
            scope.cancel()

    @property
    def dsn(self) -> Secret:
        return Secret(
            f"postgresql://gateway@127.0.0.1:{self.port}/{self.database}?connect_timeout=2".encode(),
            source="env DSN",
        )


@asynccontextmanager
async def proxy(port: int, *, database: str = "postgres") -> AsyncIterator[Proxy]:
    """Give a proxy before the server at a port of loopback."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made = Proxy(port=listener.socket.getsockname()[1], database=database)
    made.go()

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for piece in source:
                await trio.sleep(made.delay_seconds)
                await made.going.wait()
                await sink.send_all(piece)
            await sink.send_eof()

    async def serve(client: trio.SocketStream) -> None:
        await made.going.wait()
        server = await trio.open_tcp_stream("127.0.0.1", port)
        async with client, server, trio.open_nursery() as nursery:
            made.through.add(nursery.cancel_scope)
            nursery.start_soon(pump, client, server)
            nursery.start_soon(pump, server, client)
        made.through.discard(nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield made
        nursery.cancel_scope.cancel()
