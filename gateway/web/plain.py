"""Accepts connections without TLS: for the admin and metrics listeners, on loopback by default."""

import errno
import socket
from collections.abc import Sequence
from typing import Final

import trio

from gateway.web.server import WebServer

_PAUSE_OUT_OF_RESOURCES_SECONDS: Final = 0.1
"""accept() fails at once while descriptors are out: try again when other connections had time to end."""
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


async def serve_plain(
    sockets: Sequence[socket.socket],
    web_server: WebServer,
    *,
    max_connections: int,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/1.1 on sockets that listen already, until the web server is shut down and its connections are over.

    One connection more than `max_connections` waits in the kernel's queue. Owns the sockets, and closes them.
    """
    room = trio.CapacityLimiter(max_connections)
    async with trio.open_nursery() as connections:
        listening = [trio.socket.from_stdlib_socket(sock) for sock in sockets]
        try:
            async with trio.open_nursery() as accepting:
                for sock in listening:
                    accepting.start_soon(_accept, sock, web_server, room, connections)
                task_status.started()
                await web_server.wait_shutdown()
                accepting.cancel_scope.cancel()
        finally:
            for sock in listening:
                sock.close()


async def _accept(
    listening: trio.socket.SocketType,
    web_server: WebServer,
    room: trio.CapacityLimiter,
    connections: trio.Nursery,
) -> None:
    while True:
        place = object()
        await room.acquire_on_behalf_of(place)
        try:
            connected, _ = await listening.accept()
        except OSError as error:
            room.release_on_behalf_of(place)
            # Other errors of accept(2) are those of the connection that was to be accepted.
            if error.errno in _OUT_OF_RESOURCES:
                await trio.sleep(_PAUSE_OUT_OF_RESOURCES_SECONDS)
            continue
        connections.start_soon(_serve, connected, web_server, room, place)


async def _serve(
    connected: trio.socket.SocketType, web_server: WebServer, room: trio.CapacityLimiter, place: object
) -> None:
    try:
        try:
            client, server = connected.getpeername()[:2], connected.getsockname()[:2]
            stream = trio.SocketStream(connected)
        except OSError:
            # Gone before it was looked at.
            connected.close()
            return
        await web_server.serve(
            stream, peer=None, alpn="http/1.1", server=server, client=client, scheme="http"
        )
    finally:
        room.release_on_behalf_of(place)
