"""One of the processes that send: `python -m gateway.simulator.bench.child`.

Standard input: an `Order`, then `go`, then perhaps `stop`, a line each; its end means stop. Standard output:
`Said`, a line each.
"""

import signal
import sys
from typing import Final

import msgspec
import trio

from gateway.errors import GatewayError
from gateway.simulator.bench.lines import Lines
from gateway.simulator.bench.load import Load
from gateway.simulator.bench.tally import Order, Said
from gateway.simulator.bench.wire import WireError

TELL_SECONDS: Final = 0.5
"""Between two tallies: a progress bar lives, and it costs nothing."""
FINISH_SECONDS: Final = 3.0
"""After `stop`, for the requests under way: somebody has pressed Ctrl-C and waits."""


def main() -> None:
    """Send what is ordered."""
    # A terminal's Ctrl-C goes to every process; the one that ordered says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(_serve)


async def _serve() -> None:
    lines = Lines(trio.lowlevel.FdStream(sys.stdin.fileno()))
    try:
        load = Load(msgspec.json.decode(await anext(lines), type=Order))
        await load.connect()
    except GatewayError as error:
        _say(Said(fault=str(error), done=True))
        return
    except WireError as error:
        _say(Said(fault=f"{error}; is the gateway running?", done=True))
        return
    _say(Said(ready=True))
    if await anext(lines, b"stop") == b"stop":
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, load)
        nursery.start_soon(_obey, lines, load, nursery.cancel_scope)
        await load.run()
        nursery.cancel_scope.cancel()
    _say(Said(tally=load.tally(final=True), done=True))


async def _tell(load: Load) -> None:
    while True:
        await trio.sleep(TELL_SECONDS)
        _say(Said(tally=load.tally()))


async def _obey(lines: Lines, load: Load, scope: trio.CancelScope) -> None:
    async for _ in lines:
        break
    load.stop()
    await trio.sleep(FINISH_SECONDS)
    scope.cancel()


def _say(said: Said) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
