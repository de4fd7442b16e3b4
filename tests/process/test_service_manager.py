"""What systemd hears, on a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from gateway.process.service_manager import ServiceManager


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def heard(ear: socket.socket) -> list[str]:
    told = []
    while True:
        try:
            told.append(ear.recv(4096).decode())
        except BlockingIOError:
            return told


def test_it_hears_ready_reloading_and_stopping(ear: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": ear.getsockname()})
    manager.ready()
    manager.reloading()
    manager.ready()
    manager.stopping()
    first, second, third, fourth = heard(ear)
    assert (first, third, fourth) == ("READY=1", "READY=1", "STOPPING=1")
    assert second.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert int(second.rpartition("=")[2]) > 0


def test_a_name_of_the_abstract_namespace_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # autobind: the kernel chooses such a name
        sock.setblocking(False)
        ServiceManager({"NOTIFY_SOCKET": "@" + sock.getsockname()[1:].decode()}).ready()
        assert heard(sock) == ["READY=1"]


async def test_it_gets_two_signs_of_life_in_each_period(
    ear: socket.socket, autojump_clock: MockClock
) -> None:
    environ = {
        "NOTIFY_SOCKET": ear.getsockname(),
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    with trio.move_on_after(59):
        await ServiceManager(environ).keep_alive()
    assert heard(ear) == ["WATCHDOG=1"] * 4


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "1000"}, {"NOTIFY_SOCKET": ""}])
async def test_who_did_not_ask_is_told_nothing(environ: dict[str, str], autojump_clock: MockClock) -> None:
    manager = ServiceManager(environ)
    manager.ready()
    with trio.fail_after(1):
        await manager.keep_alive()


async def test_the_watchdog_of_another_process_is_not_ours(ear: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    await ServiceManager(environ).keep_alive()
    assert heard(ear) == []


def test_no_child_learns_of_it() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceManager(environ)
    assert environ == {"HOME": "/"}


def test_one_that_does_not_listen_any_more_is_logged_and_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "service_manager_not_told" in "".join(capsys.readouterr())


async def test_a_watchdog_that_nobody_can_hear_fills_no_log(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000000"}
    with trio.move_on_after(20):
        await ServiceManager(environ).keep_alive()
    assert "".join(capsys.readouterr()).count("service_manager_not_told") == 1


async def test_no_more_signs_of_life_than_anybody_needs(
    ear: socket.socket, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(0.95):
        await ServiceManager({"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": "1"}).keep_alive()
    assert len(heard(ear)) == 10
