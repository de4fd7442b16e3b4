"""Who is compared: one row each, with how it is started. One worker process each."""

import importlib.util
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import trio

from bench import nginx
from bench.ground import BENCH, CALLBACK_PATH, REPOSITORY, Ground
from bench.processes import POLL_SECONDS, READY_WITHIN_SECONDS, Server, running
from gateway.settings.model import Target as TargetSettings
from gateway.simulator.process import free_ports

OTHERS: Final = BENCH / ".venv" / "bin"
"""The environment of the other servers, from bench/requirements.txt."""
MAX_CHANGES: Final = 100
"""How many changes the gateway may put into one POST to the target."""

CONFIG: Final = """\
listen: {{address: "127.0.0.1:{port}", workers: {workers}}}
tls:
  certificate: {pki.server_certificate}
  private_key: {pki.server_key}
  clients:
    meta: {{trust_anchors: ["{pki.meta_ca}"]}}
apps:
  main:
    path: {path}
    app_secrets: [{{env: BENCH_SECRET}}]
    verify_token: {{env: BENCH_SECRET}}
targets:
  sink: {{url: "http://127.0.0.1:{target}/sink"{merging}}}
routes:
  - {{field: messages, to: [sink]}}
spool: {{directory: {directory}/spool{shared}}}
dead_letter: {{directory: {directory}/dead-letter}}
admin: {{address: "127.0.0.1:{admin}"}}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that listens."""

    server: Server
    port: int
    target: nginx.Target | None = None
    """Where it delivers to, if it does."""


Start = Callable[[Ground], AbstractAsyncContextManager[Running]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row of the comparison."""

    name: str
    title: str
    does: str
    """What a 200 of it means."""
    start: Start
    missing: Callable[[], str | None]
    """What is not installed; None: nothing."""
    handshakes: bool = False
    """Whether it is also measured with a full handshake for every request."""
    checks_signature: bool = True
    floor: float | None = None
    """The least that the gateway is to do, as a multiple of this contender."""
    aim: float | None = None
    handshake_floor: float | None = None
    handshake_aim: float | None = None


def merging() -> str:
    """Let the target take many changes in one POST, if this gateway can merge."""
    return f", max_changes: {MAX_CHANGES}" if "max_changes" in TargetSettings.model_fields else ""


def gateway_config(
    ground: Ground,
    *,
    directory: Path,
    port: int,
    admin: int,
    target: int,
    workers: int = 1,
    shared: bool = False,
) -> str:
    """Render a configuration of the gateway: all defaults but for addresses, merging, workers, and (`shared`)
    the PostgreSQL of BENCH_DSN."""
    return CONFIG.format(
        pki=ground.pki,
        path=CALLBACK_PATH,
        directory=directory,
        port=port,
        admin=admin,
        target=target,
        workers=workers,
        merging=merging(),
        shared=", engine: postgresql, dsn: {env: BENCH_DSN}" if shared else "",
    )


@asynccontextmanager
async def running_gateway(
    ground: Ground, *, with_bodies: bool = False, workers: int = 1
) -> AsyncGenerator[Running, None]:
    """Run the gateway with the nginx target behind it."""
    async with nginx.running_target(ground, with_bodies=with_bodies) as target:
        directory = ground.fresh("gateway")
        port, admin = free_ports(2)
        config = directory / "gateway.yaml"
        config.write_text(
            gateway_config(
                ground, directory=directory, port=port, admin=admin, target=target.port, workers=workers
            )
        )
        argv: list[str | Path] = [sys.executable, "-m", "gateway", "--config", config, "run"]
        environ = {"BENCH_SECRET": ground.secret}
        log = directory / "output.log"
        async with running(argv, name="gateway", log=log, port=port, environ=environ) as server:
            if workers > 1:
                await wait_serving(admin, workers)
            yield Running(server, port, target)


async def wait_serving(admin: int, workers: int) -> None:
    """Return when all workers serve: the port listens before they do."""
    line = f'meta_gateway_workers{{state="serving"}} {workers}.0'
    with trio.fail_after(READY_WITHIN_SECONDS):
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                if line in (await client.get(f"http://127.0.0.1:{admin}/metrics")).text.splitlines():
                    return
                await trio.sleep(POLL_SECONDS)


def _server(name: str, words: Callable[[Ground, int], list[str]], app: str = "") -> Start:
    """Make the start of a server, which runs one of the bare apps if it runs any."""

    @asynccontextmanager
    async def start(ground: Ground) -> AsyncGenerator[Running, None]:
        directory = ground.fresh(name)
        [port] = free_ports(1)
        environ = {
            "BENCH_SECRET": ground.secret,
            "BENCH_DATABASE": str(directory / "notifications.sqlite"),
            "PYTHONPATH": str(REPOSITORY),
        }
        argv = [*words(ground, port), *([f"bench.apps:{app}"] if app else [])]
        log = directory / "output.log"
        async with running(argv, name=name, log=log, port=port, environ=environ) as server:
            yield Running(server, port)

    return start


def _bound(ground: Ground, port: int) -> list[str]:
    pki = ground.pki
    return [
        *(sys.executable, "-m", "bench.bound", "--port", str(port), "--anchor", str(pki.meta_ca)),
        *("--certificate", str(pki.server_certificate), "--private-key", str(pki.server_key)),
    ]


def _hypercorn(ground: Ground, port: int) -> list[str]:
    pki = ground.pki
    return [
        *(sys.executable, "-m", "hypercorn", "--worker-class", "trio", "--workers", "1"),
        *("--bind", f"127.0.0.1:{port}", "--verify-mode", "CERT_REQUIRED"),
        *("--certfile", str(pki.server_certificate), "--keyfile", str(pki.server_key)),
        *("--ca-certs", str(pki.meta_ca), "--keep-alive", "60"),
    ]


def _uvicorn(ground: Ground, port: int) -> list[str]:
    pki = ground.pki
    return [
        *(str(OTHERS / "uvicorn"), "--loop", "uvloop", "--http", "httptools", "--no-access-log"),
        *("--log-level", "warning", "--host", "127.0.0.1", "--port", str(port), "--ssl-cert-reqs", "2"),
        *("--ssl-certfile", str(pki.server_certificate), "--ssl-keyfile", str(pki.server_key)),
        *("--ssl-ca-certs", str(pki.meta_ca)),
    ]


def _granian(ground: Ground, port: int) -> list[str]:
    pki = ground.pki
    return [
        *(str(OTHERS / "granian"), "--interface", "asgi", "--workers", "1", "--http", "1", "--no-ws"),
        *("--loop", "uvloop", "--no-access-log", "--log-level", "warning", "--host", "127.0.0.1"),
        *("--port", str(port), "--ssl-certificate", str(pki.server_certificate)),
        *("--ssl-keyfile", str(pki.server_key), "--ssl-ca", str(pki.meta_ca), "--ssl-client-verify"),
    ]


@asynccontextmanager
async def _nginx_proxy(ground: Ground) -> AsyncGenerator[Running, None]:
    async with (
        nginx.running_target(ground) as target,
        nginx.running_front(ground, upstream=target.port) as (server, port),
    ):
        yield Running(server, port)


def _needs_module(name: str) -> Callable[[], str | None]:
    return lambda: None if importlib.util.find_spec(name) else f"{name} is not installed"


def _needs_other(name: str) -> Callable[[], str | None]:
    path = OTHERS / name
    return lambda: None if os.access(path, os.X_OK) else f"{name} is not installed in bench/.venv"


def _needs_nginx() -> str | None:
    return None if nginx.binary() else "nginx is not installed"


GATEWAY: Final = "gateway"

CONTENDERS: Final = (
    Contender(
        name=GATEWAY,
        title="this gateway",
        does="verified, on disk; routed and delivered",
        start=running_gateway,
        missing=_needs_nginx,
        handshakes=True,
    ),
    Contender(
        name="bound",
        title="Trio, pyOpenSSL and httptools alone",
        does="signature checked, nothing kept",
        start=_server("bound", _bound),
        missing=_needs_module("httptools"),
        handshakes=True,
    ),
    Contender(
        name="hypercorn",
        title="Hypercorn on Trio, as it comes",
        does="signature checked, nothing kept",
        start=_server("hypercorn", _hypercorn, "bare"),
        missing=_needs_module("hypercorn"),
        floor=5.0,
        aim=10.0,
    ),
    Contender(
        name="uvicorn-row",
        title="uvicorn, one SQLite row a request",
        does="signature checked, on disk; not delivered",
        start=_server("uvicorn-row", _uvicorn, "row"),
        missing=_needs_other("uvicorn"),
        floor=3.0,
        aim=6.0,
    ),
    Contender(
        name="uvicorn",
        title="uvicorn with uvloop and httptools",
        does="signature checked, nothing kept",
        start=_server("uvicorn", _uvicorn, "bare"),
        missing=_needs_other("uvicorn"),
        handshakes=True,
        floor=0.5,
        aim=1.0,
    ),
    Contender(
        name="granian",
        title="granian",
        does="signature checked, nothing kept",
        start=_server("granian", _granian, "bare"),
        missing=_needs_other("granian"),
        handshakes=True,
    ),
    Contender(
        name="nginx",
        title="nginx proxying to nginx",
        does="no signature checked, nothing kept",
        start=_nginx_proxy,
        missing=_needs_nginx,
        handshakes=True,
        checks_signature=False,
        floor=0.2,
        aim=0.5,
        handshake_floor=0.9,
        handshake_aim=1.5,
    ),
)
