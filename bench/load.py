"""The load client (load.c) as a function."""

import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import trio

from bench.ground import BENCH, CALLBACK_PATH, Ground
from bench.processes import BenchError

CLIENT: Final = BENCH / "load"
GRACE_SECONDS: Final = 60.0
"""Beyond the run itself: the client waits 30 s for an answer, then some for the sorting."""
FIELD: Final = re.compile(r"(\w+)=([0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send."""

    seconds: float
    connections: int = 64
    new_connection: bool = False
    """A full handshake for each request."""
    rate: float | None = None
    """Requests a second over all connections; None: as fast as they are answered."""
    first: int = 0
    """Serial number to begin with; two runs against one process must not share any."""
    with_certificate: bool = True
    secret: str | None = None
    """Another than the ground's: a forger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the load client saw. Latencies in ms, from when a request was due to the end of its answer."""

    ok: int
    bad: int
    rps: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    over250: int
    over1000: int
    began: float
    """Unix time of the first request."""
    ended: float
    cpu: float
    """Seconds that the load client itself has used."""

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name."""
        return asdict(self)


def read_outcome(line: str) -> Outcome:
    """Read the line that the load client prints.

    Raises:
        BenchError: it is not that line.
    """
    found: dict[str, Any] = dict(FIELD.findall(line))
    try:
        return Outcome(**{name: kind(found[name]) for name, kind in Outcome.__annotations__.items()})
    except (KeyError, ValueError) as error:
        raise BenchError(f"the load client said {line!r}") from error


async def _kill(process: trio.Process) -> None:
    process.kill()  # it holds nothing that would have to be put in order


async def run_load(ground: Ground, port: int, load: Load, *, acked: Path | None = None) -> Outcome:
    """Send, and return what came back; `acked` gets the ids that were answered 200."""
    certificate = str(ground.pki.client_certificate) if load.with_certificate else "-"
    argv = [CLIENT, port, load.connections, load.seconds, ground.body, ground.signature, CALLBACK_PATH]
    argv += [int(load.new_connection), certificate, ground.pki.client_key]
    if load.rate is not None:
        argv.append(load.rate)
    environ = {**os.environ, "VARY": "1", "SECRET": load.secret or ground.secret, "FIRST": str(load.first)}
    if acked is not None:
        environ["ACKED"] = str(acked)
    with trio.move_on_after(2 * load.seconds + GRACE_SECONDS):
        done = await trio.run_process(
            [str(word) for word in argv],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environ,
            stdin=subprocess.DEVNULL,
            deliver_cancel=_kill,
        )
        if done.returncode != 0:
            raise BenchError(f"the load client failed: {done.stderr.decode(errors='replace').strip()}")
        return read_outcome(done.stdout.decode())
    raise BenchError("the load client does not end")
