"""A rig for stories: a real gateway process, a PKI shaped like Meta's, real targets, Meta's part played."""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import trio

from gateway.errors import GatewayError
from gateway.simulator.client import Exchange, MetaClient
from gateway.simulator.pki import PkiFiles
from gateway.simulator.process import NO_TRUST, GatewayProcess, start_gateway
from gateway.simulator.target import ACCEPT, Behaviour, Target

APP_SECRET = b"story-app-secret-3f9c"
VERIFY_TOKEN = "story-verify-token-77"
PATH = "/webhooks/main"
PAYLOADS = Path(__file__).parent.parent / "data" / "payloads"

Config = dict[str, Any]


def free_port() -> int:
    """Ask the kernel for a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def message(message_id: str, *, field_name: str = "messages") -> bytes:
    """Return a notification whose identity is `message_id`."""
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "4930901820143", "phone_number_id": "541870239965418"},
        "messages": [{"from": "4915560017342", "id": message_id, "timestamp": "1795330800", "type": "text"}],
    }
    change = {"value": value, "field": field_name}
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "735190284461207", "changes": [change]}]}
    ).encode()


def message_id(body: bytes) -> str:
    """Return the identity of a body that `message` made."""
    return str(json.loads(body)["entry"][0]["changes"][0]["value"]["messages"][0]["id"])


@dataclass
class Rig:
    """Files and addresses of one gateway; it may be started more than once."""

    directory: Path
    pki: PkiFiles
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    wrapper: Sequence[str] = ()
    """What the gateway is started with, `nsenter ...` for one."""
    descriptors: Sequence[int] = ()
    """What the gateway inherits."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the gateway."""
    seen: Path | None = None
    """Where the test sees the directory of dead letters, if not where the gateway does."""

    @property
    def config(self) -> Path:
        return self.directory / "gateway.yaml"

    @property
    def public_url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def spool_directory(self) -> Path:
        return self.directory / "state" / "spool"

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        """Return every dead letter that lies there now."""
        return [json.loads(path.read_text()) for path in sorted(self.dead_letter_directory.rglob("*.json"))]

    @property
    def dead_letter_directory(self) -> Path:
        return self.seen or self.directory / "dead"

    @property
    def log(self) -> str:
        return (self.directory / "gateway.log").read_text(errors="replace")

    def write(
        self, *, targets: Mapping[str, str], change: Callable[[Config], None] = lambda config: None
    ) -> None:
        """Write the configuration: every field goes to every target, unless `change` says otherwise."""
        config: Config = {
            "listen": {"address": f"127.0.0.1:{self.port}"},
            "tls": {
                "certificate": str(self.pki.server_certificate),
                "private_key": str(self.pki.server_key),
                "clients": {"meta": {"trust_anchors": [str(self.pki.meta_ca)]}},
            },
            "apps": {
                "main": {
                    "path": PATH,
                    "app_secrets": [{"file": "secrets/app_secret"}],
                    "verify_token": {"file": "secrets/verify_token"},
                }
            },
            "targets": {
                name: {"url": url, "timeout": "5s", "retry": {"schedule": ["200ms", "500ms", "1s"]}}
                for name, url in targets.items()
            },
            "routes": [{"field": "*", "to": list(targets)}],
            "spool": {"directory": "state/spool", "min_free": "1MiB"},
            "dead_letter": {"directory": "dead"},
            "admin": {"address": f"127.0.0.1:{self.admin_port}"},
            "log": {"format": "json", "notifications": "all"},
        }
        change(config)
        folder = self.directory / "secrets"
        folder.mkdir(exist_ok=True, mode=0o700)
        for name, value in (("app_secret", APP_SECRET), ("verify_token", VERIFY_TOKEN.encode())):
            (folder / name).write_bytes(value + b"\n")
        self.config.write_text(json.dumps(config, indent=1))  # JSON is YAML 1.2

    @asynccontextmanager
    async def running(self, *, ready: bool | None = True) -> AsyncGenerator[GatewayProcess, None]:
        """Start the gateway and end it on the way out.

        Wait until it is ready (False: until it listens; None: for nothing).
        """
        async with start_gateway(
            self.config,
            admin_url=self.admin_url,
            log_path=self.directory / "gateway.log",
            environ={**os.environ, "NO_COLOR": "1", **self.environ},
            wrapper=self.wrapper,
            descriptors=self.descriptors,
        ) as process:
            if ready:
                try:
                    await process.wait_ready()
                except GatewayError as error:
                    raise AssertionError(self.log) from error
            elif ready is not None:
                await self.wait_alive()
            yield process

    def meta(self, *, certificate: bool = True, http2: bool = False) -> MetaClient:
        """Return Meta's side of a connection; without `certificate`, one that has none."""
        return MetaClient(
            self.public_url,
            secret=APP_SECRET,
            ca=self.pki.server_ca,
            certificate=self.pki.client_certificate if certificate else None,
            private_key=self.pki.client_key if certificate else None,
            http2=http2,
        )

    async def post(self, body: bytes) -> Exchange:
        """Post one signed notification over a connection of its own."""
        async with self.meta() as meta:
            return await meta.post(PATH, body)

    async def admin_get(self, path: str, *, host: str | None = None) -> httpx.Response:
        """Ask the admin port."""
        async with httpx.AsyncClient(verify=NO_TRUST, trust_env=False) as client:
            return await client.get(self.admin_url + path, headers={"host": host} if host else {})

    async def wait_alive(self) -> None:
        """Return when /healthz answers: the process is there, ready or not."""
        with trio.fail_after(20):
            while True:
                try:
                    (await self.admin_get("/healthz")).raise_for_status()
                except httpx.TransportError:
                    await trio.sleep(0.05)
                else:
                    return

    async def metric(self, line_start: str) -> float:
        """Return the value of the series that starts so; 0 where there is none."""
        text = (await self.admin_get("/metrics")).text
        for line in text.splitlines():
            if line.startswith(line_start):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    async def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run `gateway --config ... ARGUMENTS`."""
        done = await trio.run_process(
            [*self.wrapper, sys.executable, "-m", "gateway", "--config", str(self.config), *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, **self.environ},
        )
        assert not (check and done.returncode), done
        return done


@asynccontextmanager
async def open_target(
    name: str = "support", behaviour: Behaviour = ACCEPT, *, port: int = 0
) -> AsyncGenerator[Target, None]:
    """Run a real HTTP target."""
    target = Target(name, secret=APP_SECRET, behaviour=behaviour, port=port)
    async with trio.open_nursery() as nursery:
        await nursery.start(target.serve)
        yield target
        nursery.cancel_scope.cancel()


async def until(is_so: Callable[[], bool], *, seconds: float = 20) -> None:
    """Return when it is so; another process gives no event that could be waited for."""
    with trio.fail_after(seconds):
        while not is_so():  # noqa: ASYNC110 (as the docstring says)
            await trio.sleep(0.05)


def unique_id() -> str:
    """Return a message id that was never used."""
    return "wamid." + secrets.token_hex(12)
