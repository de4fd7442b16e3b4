"""Accepts connections without TLS: for the admin and metrics listeners, on loopback by default."""

import errno
import socket
from collections.abc import Sequence
from typing import Final

import trio

from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger
from gateway.web.server import WebServer

log = get_logger("web")

LINES_PER_SECOND: Final = 1.0
"""Of failures to accept, after a burst: while descriptors are out there are ten a second."""

_LOOK_SECONDS: Final = 0.25
"""Between two looks for a connection that may give way: one may have been answered meanwhile."""
_PAUSE_SECONDS: Final = 0.1
"""accept() may fail at once and again, while descriptors are out: others need time to end."""


async def serve_plain(
    sockets: Sequence[socket.socket],
    web_server: WebServer,
    *,
    max_connections: int,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/1.1 on sockets that listen already, until the web server is shut down and has nothing open.

    Where there are `max_connections`, the oldest that asks for nothing gives way to the next; where all have
    asked, that one waits in the kernel's queue. Owns the sockets, and closes them.
    """
    room = trio.CapacityLimiter(max_connections)
    failures = LineBudget(lines_per_second=LINES_PER_SECOND)
    async with trio.open_nursery() as connections:
        listening = [trio.socket.from_stdlib_socket(sock) for sock in sockets]
        try:
            async with trio.open_nursery() as accepting:
                for sock in listening:
                    accepting.start_soon(_accept, sock, web_server, room, failures, connections)
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
    failures: LineBudget,
    connections: trio.Nursery,
) -> None:
    while True:
        place = object()
        await _take_place(place, room, web_server)
        try:
            connected, _ = await listening.accept()
        except OSError as error:
            room.release_on_behalf_of(place)
            suppressed = failures.take(trio.current_time())
            if suppressed is not None:
                log.error(  # noqa: TRY400 (no defect)
                    "accept_failed", error=errno.errorcode.get(error.errno or 0), suppressed=suppressed
                )
            await trio.sleep(_PAUSE_SECONDS)
            continue
        connections.start_soon(_serve, connected, web_server, room, place)


async def _take_place(place: object, room: trio.CapacityLimiter, web_server: WebServer) -> None:
    while True:
        if not room.available_tokens:
            web_server.make_room()
        with trio.move_on_after(_LOOK_SECONDS):
            await room.acquire_on_behalf_of(place)
            return


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
