"""Whose program listens on a port of this machine, as the kernel tells everybody (`/proc/net/tcp`, proc(5)).

The admin token goes to whoever answers on the admin port. While the gateway is stopped anybody may listen
there, and tell what a gateway tells without a token.
"""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.errors import UsageError

_TABLES: Final = ((Path("/proc/net/tcp"), socket.AF_INET), (Path("/proc/net/tcp6"), socket.AF_INET6))
_LISTEN: Final = "0A"
_WORD_DIGITS: Final = 8
"""Addresses stand there in words of 32 bits, as the machine has them in memory."""


def refuse_squatter(host: str, port: int, *, directory: Path) -> None:
    """Refuse to show the admin token to a program of a user who is neither root nor us nor the owner of the
    spool `directory`.

    What cannot be told is let pass: another machine, another network namespace, another kernel.

    Raises:
        UsageError: such a program listens there.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        trusted = {0, os.geteuid(), directory.stat().st_uid}
    except (ValueError, OSError):
        return
    if address.is_loopback and (strangers := _listeners(address, port) - trusted):
        raise UsageError(
            f"what listens on the admin port {host}:{port} is a program of user {min(strangers)}, and not the"
            " gateway's",
            remedy="find out what it is before the gateway is started; the admin token was not shown to it",
        )


def _listeners(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> set[int]:
    """Return the users whose programs get connections to an address: the exact one goes before `any`."""
    found = [(there, user) for there, at_port, user in _listening() if at_port == port]
    exact = {user for there, user in found if there == address}
    anywhere = {
        user
        for there, user in found
        if there.is_unspecified and (there.version == address.version or there.version == 6)
    }
    return exact or anywhere


def _listening() -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int, int]]:
    for table, family in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, _, _, _, user, *_ = line.split()
            if state == _LISTEN:
                digits, _, port = local.partition(":")
                words = (digits[at : at + _WORD_DIGITS] for at in range(0, len(digits), _WORD_DIGITS))
                packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
                yield ipaddress.ip_address(socket.inet_ntop(family, packed)), int(port, 16), int(user)
