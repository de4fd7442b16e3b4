"""Names are looked up in threads of their own, a few a host."""

import socket
import threading
from typing import Any

import pytest
import trio

from gateway.delivery.resolver import LOOKUPS_PER_HOST, PerHostResolver

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]


async def test_a_host_whose_name_server_hangs_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """More attempts than Trio has threads wait for one name; another is found at once."""
    release = threading.Event()
    hanging: list[bytes] = []

    def getaddrinfo(host: bytes, *_: Any) -> Any:
        if host == b"dead.internal":
            hanging.append(host)
            release.wait(20)
        return FOUND

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = PerHostResolver()
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(resolver.getaddrinfo, b"dead.internal", 80)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(5):
                assert await resolver.getaddrinfo(b"alive.internal", 80) == FOUND
                assert await trio.to_thread.run_sync(lambda: "the shared threads are free") != ""
                while len(hanging) < LOOKUPS_PER_HOST:  # noqa: ASYNC110 - their threads may not have run yet
                    await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked()
            assert len(hanging) == LOOKUPS_PER_HOST
            # whoever loses patience gets away, thread or no thread
            nursery.cancel_scope.cancel()
    finally:
        release.set()


async def test_trio_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: FOUND)
    former = trio.socket.set_custom_hostname_resolver(PerHostResolver())
    try:
        assert await trio.socket.getaddrinfo("support.internal", 80) == FOUND
    finally:
        trio.socket.set_custom_hostname_resolver(former)
