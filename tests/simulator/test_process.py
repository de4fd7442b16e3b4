"""A process that stands in for the gateway's: how it is awaited, and that it always ends."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from gateway.simulator import process as process_module
from gateway.simulator.process import GatewayProcessError, free_ports, log_tail, start_gateway

STAND_IN = """\
import http.server, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    calls = 0
    def do_GET(self):
        Handler.calls += 1
        ready = Handler.calls > 2
        body = b"meta_gateway_up 1\\n" if self.path == "/metrics" else b"{}"
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
def stop(*args):
    print("stopping", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, IGNORE_OR_STOP)
print("starting", sys.argv[1:], flush=True)
http.server.HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A package `gateway` of its own that `python -m gateway` finds first; returns its port."""
    (port,) = free_ports(1)
    package = tmp_path / "path" / "gateway"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    write_stand_in(tmp_path, port, on_term="stop")
    monkeypatch.chdir(tmp_path / "path")  # python -m looks in the working directory first
    return port


def write_stand_in(tmp_path: Path, port: int, *, on_term: str) -> None:
    text = STAND_IN.replace("PORT", str(port)).replace("IGNORE_OR_STOP", on_term)
    (tmp_path / "path" / "gateway" / "__main__.py").write_text(text)


async def test_a_process_is_awaited_until_it_is_ready_and_told_to_end(stand_in: int, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    url = f"http://127.0.0.1:{stand_in}"
    async with start_gateway(Path("c.yaml"), admin_url=url, log_path=log, environ=os.environ) as gateway:
        await gateway.wait_ready()
        assert await gateway.metrics() == "meta_gateway_up 1\n"
        assert await gateway.stop() == 7
    assert log_tail(log) == ("starting ['--config', 'c.yaml', 'run']", "stopping")
    assert log_tail(log, lines=1) == ("stopping",)


async def test_no_process_is_left_behind_when_its_user_fails(stand_in: int, tmp_path: Path) -> None:
    pids: list[int] = []

    async def fail() -> None:
        url = f"http://127.0.0.1:{stand_in}"
        async with start_gateway(
            Path("c.yaml"), admin_url=url, log_path=tmp_path / "log", environ=os.environ
        ) as gateway:
            pids.append(gateway.pid)
            await gateway.wait_ready()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


async def test_no_process_is_left_behind_when_its_user_is_cancelled(stand_in: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{stand_in}"
    with trio.CancelScope() as scope:
        async with start_gateway(
            Path("c.yaml"), admin_url=url, log_path=tmp_path / "log", environ=os.environ
        ) as gateway:
            pid = gateway.pid
            await gateway.wait_ready()
            scope.cancel()
            await trio.sleep_forever()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


PARENT = """\
import os, sys, trio
from pathlib import Path
from gateway.simulator.process import start_gateway
async def main():
    log = Path(sys.argv[1])
    async with start_gateway(Path("c.yaml"), admin_url=sys.argv[2], log_path=log, environ=os.environ) as it:
        await it.wait_ready()
        print(it.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


def test_the_process_ends_with_its_parent_though_that_is_killed(
    stand_in: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{stand_in}"
    log = tmp_path / "log"
    # The parent imports this package, and what it starts the stand-in, which is in its working directory.
    code = PARENT.replace("trio.run", f"os.chdir({str(tmp_path / 'path')!r}); trio.run")
    monkeypatch.chdir(Path(process_module.__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(log), url], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        process = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, *_ = select.select([process], [], [], 10)
    os.close(process)
    assert ended
    assert log_tail(log, lines=1) == ("stopping",)


async def test_a_process_that_does_not_listen_to_sigterm_is_killed(
    stand_in: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "STOP_WITHIN_SECONDS", 0.2)
    write_stand_in(tmp_path, stand_in, on_term="signal.SIG_IGN")
    url = f"http://127.0.0.1:{stand_in}"
    async with start_gateway(
        Path("c.yaml"), admin_url=url, log_path=tmp_path / "log", environ=os.environ
    ) as gateway:
        await gateway.wait_ready()
        assert await gateway.stop() == -signal.SIGKILL


async def test_a_process_that_ends_at_once_is_told_with_its_exit_code(stand_in: int, tmp_path: Path) -> None:
    (tmp_path / "path" / "gateway" / "__main__.py").write_text("raise SystemExit('no configuration')")
    log = tmp_path / "log"
    async with start_gateway(
        Path("c.yaml"), admin_url=f"http://127.0.0.1:{stand_in}", log_path=log, environ=os.environ
    ) as gateway:
        with pytest.raises(GatewayProcessError, match="ended with exit code 1"):
            await gateway.wait_ready()
        with pytest.raises(GatewayProcessError, match="does not answer"):
            await gateway.metrics()
    assert log_tail(log) == ("no configuration",)


async def test_a_process_that_never_gets_ready_is_given_up(
    stand_in: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "READY_WITHIN_SECONDS", 0.3)
    (tmp_path / "path" / "gateway" / "__main__.py").write_text("import signal; signal.pause()")
    async with start_gateway(
        Path("c.yaml"),
        admin_url=f"http://127.0.0.1:{stand_in}",
        log_path=tmp_path / "log",
        environ=os.environ,
    ) as gateway:
        with pytest.raises(GatewayProcessError, match=r"not ready after 0\.3 s"):
            await gateway.wait_ready()


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5


def test_no_log_has_no_tail(tmp_path: Path) -> None:
    assert log_tail(tmp_path / "missing") == ()
