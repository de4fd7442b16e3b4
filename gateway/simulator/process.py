"""A real gateway process: started with a configuration, awaited through its admin port, always ended."""

import os
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import trio

from gateway.errors import GatewayError

READY_WITHIN_SECONDS: Final = 30.0
"""From exec to 200 on /readyz: under a second on an idle machine; the rest is for a slow one."""
POLL_SECONDS: Final = 0.05
"""Between two looks at the admin port: short against the start, cheap against the machine."""
ADMIN_TIMEOUT_SECONDS: Final = 5.0
"""One request to the admin port, which answers from memory."""
STOP_WITHIN_SECONDS: Final = 15.0
"""From SIGTERM to the end: `drain.timeout` (10 s by default) and some air; then SIGKILL."""
NO_TRUST: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of an admin port, which is plain HTTP: that would load the CAs of half the world each time, for
20 ms of CPU."""
LOG_TAIL_LINES: Final = 25
"""What is shown of the log when something went wrong: a screenful."""

_TIED: Final = """\
import os, runpy, signal, threading
def hold_on():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=hold_on, daemon=True).start()
runpy.run_module("gateway", run_name="__main__", alter_sys=True)
"""
"""`python -m gateway`, but stdin is a lifeline: a pipe whose other end the parent holds and never writes to.
It ends with the parent, however that ends; SIGKILL leaves no time for a SIGTERM to the child. Linux's
PR_SET_PDEATHSIG would not do: it follows the thread that started the process, and Trio's come and go."""


class GatewayProcessError(GatewayError):
    """The gateway process did not start, or ended by itself."""


class GatewayProcess:
    """A running gateway. Made by `start_gateway`."""

    def __init__(self, process: trio.Process, *, admin_url: str, log_path: Path) -> None:
        self._process = process
        self.admin_url = admin_url
        self.log_path = log_path

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait_ready(self) -> None:
        """Return when `/readyz` says 200.

        Raises:
            GatewayProcessError: it ended, or was not ready within `READY_WITHIN_SECONDS`.
        """
        with trio.move_on_after(READY_WITHIN_SECONDS):
            while self._process.poll() is None:
                if await self._is_ready():
                    return
                await trio.sleep(POLL_SECONDS)
        code = self._process.poll()
        what = (
            f"is not ready after {READY_WITHIN_SECONDS:g} s"
            if code is None
            else f"ended with exit code {code}"
        )
        raise GatewayProcessError(f"the gateway process {what}", remedy=f"its log says why: {self.log_path}")

    async def _is_ready(self) -> bool:
        try:
            return (await self._get("/readyz")).status_code == httpx.codes.OK
        except (httpx.TransportError, OSError):
            return False  # not listening yet

    async def metrics(self) -> str:
        """Return the text of `/metrics`.

        Raises:
            GatewayProcessError: it does not answer.
        """
        try:
            answer = await self._get("/metrics")
            answer.raise_for_status()
        except (httpx.HTTPError, OSError) as error:
            raise GatewayProcessError(
                f"{self.admin_url}/metrics does not answer ({error})", remedy="look at the gateway's log"
            ) from error
        return answer.text

    async def _get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(
            verify=NO_TRUST, trust_env=False, timeout=ADMIN_TIMEOUT_SECONDS
        ) as client:
            return await client.get(self.admin_url + path)

    async def wait(self) -> int:
        """Return the exit code when the process has ended."""
        return await self._process.wait()

    async def stop(self) -> int:
        """Send SIGTERM (SIGKILL after `STOP_WITHIN_SECONDS`) and return the exit code."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        with trio.move_on_after(STOP_WITHIN_SECONDS):
            return await self._process.wait()
        self._process.kill()
        return await self._process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody uses now (somebody else may, until they are bound again)."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def log_tail(path: Path, lines: int = LOG_TAIL_LINES) -> tuple[str, ...]:
    """Return the last lines of a log; none where there is no log."""
    try:
        return tuple(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ()


@asynccontextmanager
async def start_gateway(
    config: Path,
    *,
    admin_url: str,
    log_path: Path,
    environ: Mapping[str, str],
    wrapper: Sequence[str] = (),
    descriptors: Sequence[int] = (),
) -> AsyncGenerator[GatewayProcess, None]:
    """Run `gateway --config CONFIG run` as a process of its own, and end it on the way out, come what may.

    It also ends, by SIGTERM, when this process is killed. `wrapper` is a command that becomes the one that
    follows it, as `nice` does; `descriptors` are inherited under their numbers.
    """
    lifeline, held = os.pipe()
    try:
        with log_path.open("ab") as log:
            process = await trio.lowlevel.open_process(
                [*wrapper, sys.executable, "-c", _TIED, "--config", str(config), "run"],
                stdin=lifeline,
                stdout=log,
                stderr=log,
                env=dict(environ),
                pass_fds=tuple(descriptors),
            )
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(lifeline)
    gateway = GatewayProcess(process, admin_url=admin_url, log_path=log_path)
    try:
        yield gateway
    finally:
        # Shielded: also when Ctrl-C or a failure has cancelled everything, no process is left behind.
        with trio.CancelScope(shield=True):
            await gateway.stop()
        os.close(held)
