"""`gateway demo`: the simulator's demo, told as it happens."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Protocol

import trio
import typer

from gateway.cli.demo.plain import JsonTeller, PlainTeller
from gateway.cli.output import EXIT_DONE, EXIT_FAILED, err
from gateway.clock import unix_ms
from gateway.simulator.demo import Demo
from gateway.simulator.report import Addresses, Audience, Report
from gateway.simulator.target import Received


class Teller(Audience, Protocol):
    """An audience that tells others."""

    def summary(self, report: Report) -> None:
        """Tell how it went."""
        ...

    def serving(self, addresses: Addresses, report: Report) -> None:
        """Tell where everything is, which now goes on running."""
        ...

    def received(self, target: str, received: Received) -> None:
        """Tell what a target got while everything goes on running."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def command(
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Leave everything running afterwards and print its addresses; Ctrl-C ends it."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result for scripts, and nothing else.")
    ] = False,
) -> None:
    """Run the whole job in one go, on throw-away certificates and real sockets.

    Makes a PKI shaped like Meta's, starts a gateway process and small internal targets (one fails at first,
    one for ever, one refuses), plays Meta's part (the verification GET, signed POSTs over mTLS, a forged one,
    one without certificate, one with a stranger's), and tells what went where, and why.

    Everything is checked against what really happened: the exit code is 0 only if all of it was as it should
    be. Nothing is left behind.
    """
    raise typer.Exit(trio.run(_run, serve, _choose_teller(as_json=as_json)))


def _choose_teller(*, as_json: bool) -> Teller:
    if as_json:
        return JsonTeller()
    draws = os.environ.get("TERM") != "dumb" and sys.stdout.encoding.lower().startswith("utf")
    if sys.stdout.isatty() and draws:
        from gateway.cli.demo.screen import ScreenTeller

        return ScreenTeller()
    return PlainTeller()


async def _run(serve: bool, teller: Teller) -> int:
    async with trio.open_nursery() as nursery:
        playing = trio.CancelScope()
        wish = _WishToEnd(playing.cancel)
        # Listens to the very end: a second Ctrl-C finds the first one being obeyed, and changes nothing.
        await nursery.start(wish.listen)
        report = None
        try:
            with playing, tempfile.TemporaryDirectory(prefix="gateway-demo-") as directory:
                report = await _play(Path(directory), serve, teller, wish)
        finally:
            teller.close()
        nursery.cancel_scope.cancel()
    if report is None:
        err("interrupted; the gateway process is stopped, and nothing is left behind")
        return EXIT_FAILED
    if not wish.serving:
        teller.summary(report)
    elif report.differences:
        err("\n".join(report.differences))
    return EXIT_DONE if report.ok else EXIT_FAILED


async def _play(directory: Path, serve: bool, teller: Teller, wish: "_WishToEnd") -> Report:
    demo = Demo(
        directory=directory,
        environ=os.environ,
        audience=teller,
        now_ms=unix_ms,
    )

    async def keep_running(addresses: Addresses, report: Report) -> None:
        teller.serving(addresses, report)
        wish.serving = True
        await wish.expressed.wait()

    def received(target: str, one: Received) -> None:
        if wish.serving:
            teller.received(target, one)

    return await demo.run(serve=keep_running if serve else None, on_received=received)


class _WishToEnd:
    """Ctrl-C, SIGTERM, a closed terminal: ends what is kept running, breaks off everything else.

    Either way the gateway process is stopped and the directory removed.
    """

    def __init__(self, break_off: Callable[[], None]) -> None:
        self.serving = False
        self.expressed = trio.Event()
        self._break_off = break_off

    async def listen(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                if not self.serving or self.expressed.is_set():
                    self._break_off()
                self.expressed.set()
