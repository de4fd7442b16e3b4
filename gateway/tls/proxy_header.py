"""Takes the PROXY header off a socket before TLS begins.

OpenSSL reads the socket itself, and what was taken from it cannot be put back. So every look is a peek, and
exactly what `core.proxy_header` calls header is taken. What is incomplete is taken too: nothing but header is
in it, and bytes that stay would keep the socket readable and the process awake.
"""

import socket
from collections.abc import Collection

import trio

from gateway.core.proxy_header import (
    MAX_BLOCK_BYTES,
    ProxyHeader,
    ProxyHeaderFault,
    ProxyVersion,
    read_proxy_header,
)


async def take_proxy_header(
    sock: socket.socket, versions: Collection[ProxyVersion]
) -> ProxyHeader | ProxyHeaderFault:
    """Take the header from a socket that is connected and not blocking. The caller sets the deadline."""
    held = b""
    while True:
        try:
            seen = sock.recv(MAX_BLOCK_BYTES - len(held), socket.MSG_PEEK)
            found = read_proxy_header(held + seen, versions) if seen else _ENDED
            if isinstance(found, ProxyHeaderFault):
                return found
            size = len(seen) if found is None else found.size_bytes - len(held)
            held += sock.recv(size)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
        except OSError:
            return _ENDED
        else:
            if found is not None:
                return found


_ENDED = ProxyHeaderFault("the connection ended within the PROXY header")
