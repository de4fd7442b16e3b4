"""No server is left behind."""

import sys
from pathlib import Path

import pytest
import trio

from bench.processes import BenchError, ended_by_signals, running
from gateway.simulator.process import free_ports

SERVER_WITH_A_CHILD = """
import signal, subprocess, sys
deaf = "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", deaf])
open(sys.argv[2], "w").write(str(child.pid))
import socket
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""


def is_running(pid: int) -> bool:
    """Whether the process still does something: one that has ended may await its parent (proc(5), state)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "X")


async def test_a_server_ends_with_all_its_children(tmp_path: Path) -> None:
    """Also with one that does not heed SIGTERM, and when what runs inside was cancelled."""
    [port] = free_ports(1)
    pid_file = tmp_path / "pid"
    argv = [sys.executable, "-c", SERVER_WITH_A_CHILD, str(port), str(pid_file)]
    with trio.CancelScope() as scope:
        async with running(argv, name="server", log=tmp_path / "log", port=port) as server:
            child = int(pid_file.read_text())
            assert is_running(child)
            assert server.usage().cpu_seconds >= 0.0
            assert server.usage().peak_bytes > 1_000_000
            scope.cancel()
            await trio.sleep_forever()
    assert not is_running(server.process.pid)
    with trio.fail_after(5):
        while is_running(child):
            await trio.lowlevel.checkpoint()


async def test_a_server_that_ends_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    [port] = free_ports(1)
    argv = [sys.executable, "-c", "import sys; sys.exit('no certificate')"]
    with pytest.raises(BenchError, match="exit code 1; the end of its log:\nno certificate"):
        async with running(argv, name="server", log=tmp_path / "log", port=port):
            raise AssertionError("it does not listen")


async def test_who_waits_for_nothing_until_signals_count_no_more_ends_well() -> None:
    async with ended_by_signals():
        pass
