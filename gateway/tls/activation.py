"""Sockets that were opened by whoever started us, before we were there: systemd's socket activation.

The protocol is three variables of the environment and descriptors from 3 on (sd_listen_fds(3)); nothing else
of systemd is needed, so systemd-socket-activate and others that speak it will do.
"""

import os
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from typing import Final

from gateway.errors import UsageError
from gateway.tls.binding import Bound

FIRST_DESCRIPTOR: Final = 3
"""SD_LISTEN_FDS_START."""
PUBLIC_NAME: Final = "public"
"""`FileDescriptorName=` of the public port's sockets, where the unit passes others besides."""
MOST_SOCKETS: Final = 64
"""More than anybody listens on; a number that is no such number is not walked through."""

_PID, _COUNT, _NAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
_HOW: Final = (
    "start the gateway by its socket unit (systemctl start meta-webhook-gateway.socket),"
    " or write HOST:PORT as listen.address"
)
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def take_activated(environ: MutableMapping[str, str]) -> Bound:
    """Take over the sockets that were passed on, and remove from the environment what tells of them, so that
    no child takes it for its own.

    Where some are named `public`, it is these; otherwise all.

    Raises:
        UsageError: none was passed to this process, or something that is no listening TCP socket.
    """
    pid, count, names = (environ.pop(name, "") for name in (_PID, _COUNT, _NAMES))
    if pid != str(os.getpid()) or not count.isdecimal() or not 0 < int(count) <= MOST_SOCKETS:
        told = (
            f"they are for process {pid}"
            if pid.isdecimal() and pid != str(os.getpid())
            else "none was passed"
        )
        raise UsageError(f"`systemd` means the sockets of a socket unit, and {told}", remedy=_HOW)
    named = dict(enumerate(names.split(":"), FIRST_DESCRIPTOR)) if names else {}
    passed = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))
    chosen = [one for one in passed if named.get(one) == PUBLIC_NAME] or list(passed)
    for one in passed:
        with suppress(OSError):  # what is not open is told of below, where it is to be taken
            os.set_inheritable(one, False)
    sockets = tuple(_take(chosen))
    return Bound(
        sockets=sockets,
        addresses=tuple((one.getsockname()[0], one.getsockname()[1]) for one in sockets),
        notice="",
    )


def _take(descriptors: list[int]) -> Iterator[socket.socket]:
    for descriptor in descriptors:
        try:
            one = socket.socket(fileno=descriptor)
            fits = (
                one.family in _FAMILIES
                and one.type == socket.SOCK_STREAM
                and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            )
        except OSError:
            fits = False
        if not fits:
            raise UsageError(
                f"descriptor {descriptor}, passed by systemd, is no TCP socket that listens",
                remedy="write ListenStream=PORT in the socket unit, with Accept=no",
            )
        one.setblocking(False)
        yield one
