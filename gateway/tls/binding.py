"""Binding the public port: sockets that listen, and what the operator should know of them."""

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.errors import GatewayError
from gateway.settings.values import Address

BACKLOG: Final = 1024
"""Connections that the kernel holds while the accept loop is busy; the kernel cuts it to
net.core.somaxconn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Sockets that listen."""

    sockets: tuple[socket.socket, ...]
    """Not blocking."""
    addresses: tuple[tuple[str, int], ...]
    """What they are bound to, with the port that the kernel chose for port 0."""
    notice: str
    """What is not as configured; empty where all is."""


def bind(address: Address) -> Bound:
    """Bind and listen.

    `::` takes IPv4 too; where the machine has no IPv6 it becomes `0.0.0.0`, and the notice says so. A name
    with several addresses is bound on all of them, on one port.

    Raises:
        GatewayError: the address cannot be had.
    """
    notice = ""
    try:
        sockets = list(_bind_all(address))
    except OSError as fault:
        if address.host != "::" or fault.errno not in _NO_IPV6:
            raise _complaint(address, fault) from fault
        notice = "no IPv6 on this machine: listening on 0.0.0.0 instead of [::]"
        try:
            sockets = list(_bind_all(Address(host="0.0.0.0", port=address.port)))  # noqa: S104 # as asked for
        except OSError as second:
            raise _complaint(address, second) from second
    return Bound(
        sockets=tuple(sockets),
        addresses=tuple((one.getsockname()[0], one.getsockname()[1]) for one in sockets),
        notice=notice,
    )


def _bind_all(address: Address) -> Iterator[socket.socket]:
    port = address.port
    done: list[socket.socket] = []
    try:
        for family, _, _, _, where in socket.getaddrinfo(
            address.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            one = _bind_one(family, (where[0], port, *where[2:]))
            # Port 0: the kernel chooses for the first, and the others follow.
            port = one.getsockname()[1]
            done.append(one)
    except OSError:
        for one in done:
            one.close()
        raise
    yield from done


def _bind_one(family: int, where: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        # A restart must not wait for the TIME_WAIT of connections just closed.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if where[0] == "::" else 1)
        one.bind(where)
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one


_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})

_REMEDIES: Final = {
    errno.EADDRINUSE: "stop what listens there (ss -ltnp), or choose another port",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE, or redirect 443 to 8443",
    errno.EADDRNOTAVAIL: "choose an address of this machine (ip address), or [::] for all",
}


def _complaint(address: Address, fault: OSError) -> GatewayError:
    where = f"[{address.host}]" if ":" in address.host else address.host
    reason = os.strerror(fault.errno) if fault.errno and fault.errno > 0 else str(fault.strerror)
    return GatewayError(
        f"cannot listen on {where}:{address.port} ({reason})",
        remedy=_REMEDIES.get(fault.errno or 0, "correct listen.address"),
    )
