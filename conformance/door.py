"""A real gateway process for the zoo to knock at, and what it says of each knock."""

import json
import os
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from conformance.clients import Call, TlsClient, TlsVersion, write_chain
from conformance.specimen import PARTNER_NAME, DoorKind, Fate, Ground, Specimen
from gateway.core.signature import sign
from gateway.simulator.pki import META_CLIENT_NAME
from gateway.simulator.process import free_ports, start_gateway

CALLBACK_PATH: Final = "/webhooks/main"
COUNTED_WITHIN_SECONDS: Final = 5.0
"""From the client's end to the gateway's count of it: at once, but for a busy machine."""
POLL_SECONDS: Final = 0.02

_HANDSHAKES: Final = re.compile(
    r'^meta_gateway_handshakes_total\{reason="(\w+)",result="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE
)
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A running gateway."""

    directory: Path
    pid: int
    admin: httpx.AsyncClient
    port: int
    ca: Path
    secret: bytes
    token: bytes

    def signed(self, body: bytes, *, close: bool = True) -> bytes:
        """Return a whole request as Meta sends it, over HTTP/1.1."""
        head = [
            f"POST {CALLBACK_PATH} HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"X-Hub-Signature-256: {sign(self.secret, body)}",
            f"Content-Length: {len(body)}",
            *(["Connection: close"] if close else []),
        ]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    async def handshakes(self) -> dict[tuple[str, str], float]:
        """Return how many handshakes were counted, by result and reason."""
        text = (await self.admin.get("/metrics")).text
        return {(result, reason): float(count) for reason, result, count in _HANDSHAKES.findall(text)}

    async def knock(self, specimen: Specimen, ground: Ground, client: TlsClient, version: TlsVersion) -> Fate:
        """Present a specimen, post a signed notification, and return what became of it.

        Raises:
            ClientUnableError: the client does not present it.
            AssertionError: the gateway has not counted exactly this one handshake.
        """
        before = await self.handshakes()
        chain, key = write_chain(self.directory, specimen.present(ground))
        request = self.signed(notification())
        call = Call(port=self.port, ca=self.ca, chain=chain, key=key, version=version, request=request)
        answer = await client.converse(call)
        status = _STATUS.search(answer)
        result, reason = await self._counted(before)
        return Fate(status=int(status[1]) if status else None, result=result, reason=reason)

    async def _counted(self, before: dict[tuple[str, str], float]) -> tuple[str, str]:
        more: dict[tuple[str, str], float] = {}
        with trio.move_on_after(COUNTED_WITHIN_SECONDS):
            while not more:
                now = await self.handshakes()
                more = {series: now[series] - before.get(series, 0) for series in now}
                more = {series: count for series, count in more.items() if count}
                await trio.sleep(POLL_SECONDS)
        if list(more.values()) != [1]:
            raise AssertionError(f"not one handshake was counted, but {more}")
        return next(iter(more))


def notification() -> bytes:
    """Return a small notification that was never sent before."""
    value = {"messaging_product": "whatsapp", "statuses": [{"id": f"wamid.{secrets.token_hex(8)}"}]}
    changes = [{"field": "messages", "value": value}]
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "0", "changes": changes}]}
    ).encode()


@asynccontextmanager
async def open_door(directory: Path, ground: Ground, kind: DoorKind) -> AsyncGenerator[Door, None]:
    """Run a gateway of this kind in a directory of its own."""
    port, admin_port = free_ports(2)
    secret, token = secrets.token_hex(32).encode(), secrets.token_hex(16).encode()
    config = _write(directory, ground, _settings(port, admin_port, kind), secret=secret, token=token)
    admin_url = f"http://127.0.0.1:{admin_port}"
    async with (
        start_gateway(
            config,
            admin_url=admin_url,
            log_path=directory / "gateway.log",
            environ={**os.environ, "NO_COLOR": "1"},
        ) as process,
        httpx.AsyncClient(base_url=admin_url, trust_env=False) as admin,
    ):
        await process.wait_ready()
        yield Door(
            directory=directory,
            pid=process.pid,
            admin=admin,
            port=port,
            ca=directory / "ca.pem",
            secret=secret,
            token=token,
        )


def _write(directory: Path, ground: Ground, settings: dict[str, Any], *, secret: bytes, token: bytes) -> Path:
    directory.mkdir(mode=0o700)
    files = {
        "app_secret": secret,
        "verify_token": token,
        "ca.pem": ground.pki.server_root.pem,
        "server.pem": ground.pki.server_chain_pem,
        "server.key": ground.pki.server.key_pem,
        "meta.pem": ground.metas_anchors,
        "meta.crl": ground.revocation_lists,
        "partner.pem": ground.partner.pem,
    }
    for name, content in files.items():
        (directory / name).write_bytes(content)
        (directory / name).chmod(0o600)
    config = directory / "gateway.yaml"
    config.write_text(json.dumps(settings, indent=1))  # JSON is YAML 1.2
    return config


def _settings(port: int, admin_port: int, kind: DoorKind) -> dict[str, Any]:
    return {
        "listen": {"address": f"127.0.0.1:{port}"},
        "tls": {
            "certificate": "server.pem",
            "private_key": "server.key",
            "handshake": "demand" if kind is DoorKind.DEMAND else "ask",
            "clients": {
                "meta": {
                    "trust_anchors": ["meta.pem"],
                    "names": [META_CLIENT_NAME],
                    "revocation_lists": ["meta.crl"],
                },
                "partner": {"trust_anchors": ["partner.pem"], "names": [PARTNER_NAME]},
            },
        },
        "apps": {
            "main": {
                "path": CALLBACK_PATH,
                "app_secrets": [{"file": "app_secret"}],
                "verify_token": {"file": "verify_token"},
                "client_certificate": "report" if kind is DoorKind.REPORT else "required",
                "clients": ["meta"],
            },
            "partner": {
                "path": "/webhooks/partner",
                "app_secrets": [{"file": "app_secret"}],
                "verify_token": {"file": "verify_token"},
                "clients": ["partner"],
            },
        },
        # Nobody listens there: the zoo looks at the door, and what comes in stays in the spool.
        "targets": {"nowhere": {"url": "http://127.0.0.1:9/"}},
        "routes": [{"field": "*", "to": ["nowhere"]}],
        "spool": {"directory": "spool", "min_free": "1MiB"},
        "dead_letter": {"directory": "dead"},
        "admin": {"address": f"127.0.0.1:{admin_port}"},
        "log": {"format": "json", "notifications": "all"},
    }
