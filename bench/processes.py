"""Server processes: each in a process group of its own, always ended, and what the group has cost."""

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio
from rich.console import Console

READY_WITHIN_SECONDS: Final = 20.0
"""From exec to the first accepted connection: about a second here; the rest is for a slow machine."""
POLL_SECONDS: Final = 0.05
"""Between two looks at a port: short against the start, cheap against the machine."""
STOP_WITHIN_SECONDS: Final = 15.0
"""From SIGTERM to the end, longer than the gateway's own drain (10 s); then SIGKILL."""
LOG_TAIL_LINES: Final = 15
CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
FAILED: Final = 1
INTERRUPTED: Final = 130
"""What a shell reports of a program that Ctrl-C ended."""


class BenchError(Exception):
    """Something that keeps a measurement from being one; its text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process group has used so far."""

    cpu_seconds: float
    """User and system time of its living processes."""
    peak_bytes: int
    """The largest resident memory that any one of them has had."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: trio.Process
    name: str
    log: Path

    def usage(self) -> Usage:
        """Read what its process group has used."""
        cpu, peak = 0.0, 0
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                with suppress(OSError):  # it ended meanwhile
                    # The name in parentheses may hold blanks: count from behind it (proc(5)).
                    fields = (directory / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[2]) == self.process.pid:
                        cpu += (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
                        peak = max(peak, _peak_bytes((directory / "status").read_text()))
        return Usage(cpu_seconds=cpu, peak_bytes=peak)

    async def wait_listening(self, port: int) -> None:
        """Return when the port accepts connections.

        Raises:
            BenchError: the server ended, or does not listen in time.
        """
        with trio.move_on_after(READY_WITHIN_SECONDS):
            while self.process.poll() is None:
                with suppress(OSError):
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    await stream.aclose()
                    return
                await trio.sleep(POLL_SECONDS)
        code = self.process.poll()
        what = "does not listen" if code is None else f"ended with exit code {code}"
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise BenchError(f"{self.name} {what}; the end of its log:\n{tail}")


def _peak_bytes(status: str) -> int:
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


@asynccontextmanager
async def running(
    argv: Sequence[str | Path], *, name: str, log: Path, port: int, environ: Mapping[str, str] | None = None
) -> AsyncGenerator[Server, None]:
    """Run a server that listens on `port`, and end its whole process group on the way out, come what may."""
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environ or {})},
            start_new_session=True,  # a group of its own; Ctrl-C reaches this program alone, which ends it
        )
    server = Server(process, name, log)
    try:
        await server.wait_listening(port)
        yield server
    finally:
        # Shielded: also when Ctrl-C or a failure has cancelled everything, no process is left behind.
        with trio.CancelScope(shield=True):
            await _end(process)


async def _end(process: trio.Process) -> None:
    _signal_group(process, signal.SIGTERM)
    with trio.move_on_after(STOP_WITHIN_SECONDS):
        await process.wait()
    _signal_group(process, signal.SIGKILL)  # whoever of the group is still there
    await process.wait()


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@asynccontextmanager
async def ended_by_signals() -> AsyncGenerator[None, None]:
    """Let Ctrl-C, SIGTERM and SIGHUP cancel what runs inside: every server is ended on the way out."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def listen(task_status: trio.TaskStatus[None]) -> None:
                task_status.started()
                async for _ in signals:
                    raise KeyboardInterrupt

            await nursery.start(listen)  # not later: what is inside may be over without a pause
            yield
            nursery.cancel_scope.cancel()


def run_to_exit_code(main: Callable[[], Awaitable[None]], console: Console) -> int:
    """Run a measurement from the command line and return the exit code of the program."""
    code = 0
    try:
        trio.run(main)
    except* BenchError as group:
        code = FAILED
        for error in _leaves(group):
            console.print(f"[red]bench:[/] {error}")
    except* KeyboardInterrupt:
        code = INTERRUPTED
        console.print("[yellow]interrupted[/]; every process was ended")
    return code


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]
