"""What is told to the service manager that started us: ready, reloading, stopping, alive (sd_notify(3)).

A line each, as a datagram to the socket that `NOTIFY_SOCKET` names; nothing of systemd's is needed for it.
Where nobody asked to be told, nothing is done.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

import trio

from gateway.telemetry.log import get_logger

PINGS_A_PERIOD: Final = 2
"""systemd asks for a sign of life at half of the time after which it acts (sd_watchdog_enabled(3))."""

LEAST_PING_SECONDS: Final = 0.1
"""Between two signs of life; whoever wants more of them would have nothing but that."""

log = get_logger("service")


class ServiceManager:
    """The one that started this process, if it wants to hear something."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take what is for us out of the environment: a child would speak in our name."""
        self._address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        asked = microseconds.isdecimal() and pid in {"", str(os.getpid())}
        self._watchdog_seconds = int(microseconds) / 1e6 if asked else 0.0
        self._failure = ""
        """Of the last sign; told once, and not with each."""

    def ready(self) -> None:
        """Say that the gateway serves, or that it does again after a reload."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that it ends."""
        self._tell("STOPPING=1")

    async def keep_alive(self) -> None:
        """Give a sign of life for as long as the loop turns, where one is asked for."""
        while self._address and self._watchdog_seconds:
            self._tell("WATCHDOG=1")
            await trio.sleep(max(LEAST_PING_SECONDS, self._watchdog_seconds / PINGS_A_PERIOD))

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # A name that begins with @ is of the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            # What it does about that is its own matter; the notifications are ours.
            if str(error) != self._failure:
                self._failure = str(error)
                log.warning("service_manager_not_told", told=lines[0], error=self._failure)
        else:
            self._failure = ""
