"""PgBouncer before a server, for `make postgresql`: its mode can be changed, and it can be restarted."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.postgresql.server import NOBODY, Log, Server, directory_of_somebody, free_port

_PATH = f"{os.environ['PATH']}:/usr/sbin"
START_SECONDS = 10.0
READY = re.compile(rb"process up")
_SOMEBODY = NOBODY if os.geteuid() == 0 else None
USERS = ("gateway", "neighbour")


def pgbouncer() -> str | None:
    """Return where it lies; None where it is not installed."""
    return shutil.which("pgbouncer", path=_PATH)


@dataclass
class Pooler:
    """One PgBouncer; `start` and `stop` as often as is wanted."""

    directory: Path
    server: Server
    mode: str = "session"
    pool_size: int = 100
    round_robin: bool = False
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def dsn(self, user: str = "gateway") -> str:
        """Return where the server seems to be."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/postgres"

    def write(self) -> None:
        """Write its configuration."""
        (self.directory / "users").write_text("".join(f'"{user}" ""\n' for user in USERS))
        (self.directory / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={self.server.port}\n"
            "[pgbouncer]\n"
            "listen_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\n"
            "unix_socket_dir =\n"
            "auth_type = trust\n"
            f"auth_file = {self.directory / 'users'}\n"
            f"pool_mode = {self.mode}\n"
            f"default_pool_size = {self.pool_size}\n"
            "max_client_conn = 500\n"
            f"server_round_robin = {int(self.round_robin)}\n"
            "server_login_retry = 1\n"
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = pgbouncer()
        assert program is not None
        self.write()
        self.process = subprocess.Popen(
            [program, str(self.directory / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=_SOMEBODY,
            group=_SOMEBODY,
        )
        log = Log(self.process.stdout, self.directory / "log", ready=READY)
        log.start()
        assert log.settled.wait(START_SECONDS), "PgBouncer does not answer"
        assert log.ready, (self.directory / "log").read_text()

    def reload(self, mode: str) -> None:
        """Change its mode while it runs."""
        assert self.process is not None
        self.mode = mode
        self.write()
        self.process.send_signal(signal.SIGHUP)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Stop it."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait(timeout=10)


@contextmanager
def pooler(
    server: Server, *, mode: str = "session", pool_size: int = 100, round_robin: bool = False
) -> Iterator[Pooler]:
    """Give a PgBouncer that runs."""
    with directory_of_somebody() as directory:
        made = Pooler(directory, server, mode=mode, pool_size=pool_size, round_robin=round_robin)
        made.start()
        try:
            yield made
        finally:
            made.stop()
