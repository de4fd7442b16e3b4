"""Systemd holds the socket: what connects while the gateway restarts waits in the kernel, and is answered."""

import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.stories.public_pki import public_pki
from tests.stories.rig import Config, Rig, message, message_id, open_target, unique_id, until

CLIENTS = 4


@dataclass
class Activator:
    """What systemd is here: it holds the socket, and starts the gateway with it (sd_listen_fds(3))."""

    rig: Rig
    held: socket.socket

    @property
    def waiting(self) -> int:
        """How many connections the kernel holds for whoever comes to accept them (tcp_info, tcpi_unacked)."""
        return int(
            struct.unpack_from("=I", self.held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)[0]
        )


@pytest.fixture
def activator(rig: Rig) -> Iterator[Activator]:
    rig.pki = public_pki(rig.directory / "certs")
    with socket.create_server(("127.0.0.1", rig.port), backlog=128) as held:
        number = held.fileno()
        told = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=public"
        rig.descriptors = (number,)
        rig.wrapper = ("bash", "-c", f'export {told}; exec "$@" 3<&{number}', "bash")
        yield Activator(rig, held)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_restart_on_an_activated_socket_loses_no_connection(
    activator: Activator, workers: int
) -> None:
    rig = activator.rig
    answered: list[str] = []
    enough = trio.Event()

    def change(config: Config) -> None:
        config["listen"] |= {"address": "systemd", "workers": workers}

    async def post_on() -> None:
        while not enough.is_set():
            identity = unique_id()
            # Each over a connection of its own: an error of any kind fails the test.
            assert (await rig.post(message(identity))).status == 200
            answered.append(identity)

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=change)
        async with trio.open_nursery() as clients:
            async with rig.running() as gateway:
                started = workers if workers > 1 else 0
                await until(lambda: rig.log.count('"worker_started"') == started)
                for _ in range(CLIENTS):
                    clients.start_soon(post_on)
                await until(lambda: len(answered) > 3 * CLIENTS)
                assert await gateway.stop() == 0
            await until(lambda: activator.waiting == CLIENTS)
            before = len(answered)
            async with rig.running():
                await until(lambda: len(answered) > before + 3 * CLIENTS)
                enough.set()
                await until(lambda: {message_id(one.body) for one in target.received} >= set(answered))


async def test_without_systemd_it_does_not_start_and_says_what_to_do(rig: Rig) -> None:
    rig.pki = public_pki(rig.directory / "certs")
    rig.write(targets={"support": "http://127.0.0.1:9/"}, change=_by_systemd)
    assert (await rig.command("check")).returncode == 0
    done = await rig.command("run", check=False)
    assert done.returncode == 2
    assert "listen.address: `systemd` means the sockets of a socket unit" in done.stderr.decode()
    assert "systemctl start meta-webhook-gateway.socket" in done.stderr.decode()


def _by_systemd(config: Config) -> None:
    config["listen"]["address"] = "systemd"


async def test_systemd_hears_when_it_is_ready_reloads_and_stops(rig: Rig, tmp_path: Path) -> None:
    ear = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    await ear.bind(str(tmp_path / "notify"))
    rig.environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    rig.write(targets={"support": "http://127.0.0.1:9/"})
    heard: list[str] = []

    async def listen() -> None:
        while True:
            heard.append((await ear.recv(4096)).decode().partition("\n")[0])

    with ear:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            async with rig.running() as gateway:
                await until(lambda: "READY=1" in heard and "WATCHDOG=1" in heard)
                os.kill(gateway.pid, 1)
                await until(lambda: "RELOADING=1" in heard)
                await until(lambda: heard.count("READY=1") == 2)
                assert await gateway.stop() == 0
            await until(lambda: "STOPPING=1" in heard)
            nursery.cancel_scope.cancel()
    assert [one for one in heard if one != "WATCHDOG=1"] == [
        "READY=1",
        "RELOADING=1",
        "READY=1",
        "STOPPING=1",
    ]
    assert any(json.loads(line)["event"] == "reloaded" for line in rig.log.splitlines() if line[0] == "{")
