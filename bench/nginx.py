"""nginx in its two parts: the internal target behind everything, and the contender in front of it.

The target logs one line an answer: the time, how many notifications it held, and, where asked for, the body,
from which the ids are read. The log is what is believed about deliveries, not the gateway's own counts.
"""

import os
import pwd
import re
import shutil
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.ground import CALLBACK_PATH, ID_PREFIX, Ground
from bench.processes import Server, running
from gateway.simulator.process import free_ports

FLUSH_SECONDS: Final = 0.1
"""How long the target may hold a line of its log back."""
NOTHING_KEPT_ALIVE_FOR_EVER: Final = 1_000_000_000
"""nginx closes a connection after 1000 requests by default: handshakes that were not asked for."""

MAIN: Final = """\
daemon off;
user {user};
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests {keepalive_requests};
  client_max_body_size 4m;
  client_body_buffer_size 4m;
  tcp_nodelay on;
{server}
}}
"""

COUNTING_TARGET: Final = """\
  log_format counted '$msec $http_gateway_notification_count';
  access_log {log} counted buffer=256k flush={flush_ms}ms;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    return 200;
  }}
"""

# `return` would discard the body unread; mirror reads it, and sends it nowhere. empty_gif says 405 to a POST.
LOGGING_TARGET: Final = """\
  log_format whole escape=none '$msec $http_gateway_notification_count $request_body';
  access_log {log} whole buffer=1m flush={flush_ms}ms;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ mirror /nowhere; empty_gif; error_page 405 =200 /taken; }}
    location = /nowhere {{ internal; access_log off; return 204; }}
    location = /taken {{ internal; return 200; }}
  }}
"""

TIMING_TARGET: Final = """\
  log_format timed '$msec $uri $http_gateway_received_at';
  access_log {log} timed buffer=256k flush={flush_ms}ms;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    return 200;
  }}
"""

FRONT: Final = """\
  access_log off;
  upstream inside {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests {keepalive_requests}; }}
  server {{
    listen 127.0.0.1:{port} ssl backlog=1024;
    ssl_certificate {pki.server_certificate};
    ssl_certificate_key {pki.server_key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate {pki.meta_ca};
    ssl_verify_client on;
    ssl_verify_depth 3;
    ssl_session_cache off;
    ssl_session_tickets off;
    location {path} {{
      proxy_pass http://inside;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
"""

LOGGED: Final = re.compile(r"(\d+\.\d+) (\d*|-)(?: |$)")
LOGGED_ID: Final = re.compile(re.escape(ID_PREFIX.decode()) + r"(\d{12})")


def binary() -> str | None:
    """Find nginx; Debian's stands in /usr/sbin, which is not on everybody's path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """What a target has taken."""

    count: int = 0
    """Notifications; one POST may hold many."""
    posts: int = 0
    last_at: float = 0.0
    """Unix time of the last answer; 0 where there was none."""

    def __add__(self, later: "Deliveries") -> "Deliveries":
        return Deliveries(
            count=self.count + later.count,
            posts=self.posts + later.posts,
            last_at=max(self.last_at, later.last_at),
        )


def read_deliveries(lines: list[str]) -> Deliveries:
    """Read lines of a target's log."""
    found = [match for line in lines if (match := LOGGED.match(line))]
    return Deliveries(
        count=sum(int(match[2]) if match[2].isdigit() else 1 for match in found),
        posts=len(found),
        last_at=max((float(match[1]) for match in found), default=0.0),
    )


def read_ids(lines: list[str]) -> tuple[Counter[str], dict[str, float]]:
    """Return how often each id came, and when it came first, from a log with bodies."""
    times: Counter[str] = Counter()
    first: dict[str, float] = {}
    for line in lines:
        if match := LOGGED.match(line):
            for id_ in LOGGED_ID.findall(line):
                times[id_] += 1
                first.setdefault(id_, float(match[1]))
    return times, first


@dataclass(slots=True)
class Target:
    """A running target."""

    port: int
    log: Path
    _offset: int = 0

    def news(self) -> list[str]:
        """Return the whole lines that were logged since the last call."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            found = file.read()
        whole = found[: found.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()


def render(server: str, *, directory: Path) -> str:
    """Put the server into the frame of a configuration."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return MAIN.format(
        user=user, directory=directory, server=server, keepalive_requests=NOTHING_KEPT_ALIVE_FOR_EVER
    )


@asynccontextmanager
async def _nginx(
    ground: Ground, name: str, template: str, port: int, **fields: object
) -> AsyncGenerator[Server, None]:
    directory = ground.fresh(name)
    server = template.format(port=port, directory=directory, **fields)
    config = directory / "nginx.conf"
    config.write_text(render(server, directory=directory))
    argv: list[str | Path] = [
        binary() or "nginx",
        "-e",
        directory / "error.log",
        "-p",
        directory,
        "-c",
        config,
    ]
    async with running(argv, name=name, log=directory / "output.log", port=port) as process:
        yield process


@asynccontextmanager
async def running_target(
    ground: Ground, *, with_bodies: bool = False, with_times: bool = False
) -> AsyncGenerator[Target, None]:
    """Run the target: every POST is answered 200, empty. `with_times` logs which path was asked for, and when
    the gateway had accepted what came."""
    [port] = free_ports(1)
    log = ground.memory / f"{port}.log"
    template = LOGGING_TARGET if with_bodies else TIMING_TARGET if with_times else COUNTING_TARGET
    flush_ms = round(FLUSH_SECONDS * 1000)
    try:
        async with _nginx(ground, "target", template, port, log=log, flush_ms=flush_ms):
            yield Target(port, log)
    finally:
        log.unlink(missing_ok=True)


@asynccontextmanager
async def running_front(ground: Ground, *, upstream: int) -> AsyncGenerator[tuple[Server, int], None]:
    """Run nginx as a contender: it asks for a client certificate and proxies."""
    [port] = free_ports(1)
    fields = {"upstream": upstream, "pki": ground.pki, "path": CALLBACK_PATH}
    async with _nginx(
        ground, "nginx", FRONT, port, keepalive_requests=NOTHING_KEPT_ALIVE_FOR_EVER, **fields
    ) as process:
        yield process, port
