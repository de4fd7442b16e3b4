"""Host names, looked up in threads of their own: a name server that hangs for one target delays no other
(law 9).

Trio looks names up in a pool of 40 threads that everything shares, and a thread whose caller has lost
patience stays in `getaddrinfo` until the system's resolver gives up (30 s and more). A target with many
lanes and a dead name server would take them all.
"""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

LOOKUPS_PER_HOST: Final = 4
"""Threads in `getaddrinfo` for one name at a time; enough for retries beside one that hangs."""


class PerHostResolver(trio.abc.HostnameResolver):
    """`getaddrinfo` in a thread, with a limit for each host. There are as many hosts as the
    configuration names.
    """

    def __init__(self) -> None:
        self._limiters: dict[str, trio.CapacityLimiter] = {}

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the name is that of trio's interface
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look a name up; abandoned, not awaited, where the caller's deadline passes."""
        name = (host or b"").decode("ascii", "replace")
        limiter = self._limiters.setdefault(name, trio.CapacityLimiter(LOOKUPS_PER_HOST))
        lookup: Callable[[], list[Any]] = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        return await trio.to_thread.run_sync(lookup, abandon_on_cancel=True, limiter=limiter)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int) -> tuple[str, str]:
        """Look an address up; nothing here asks for it."""
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)
