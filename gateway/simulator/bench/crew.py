"""The processes that send: started, told what, listened to, always ended."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from gateway.errors import GatewayError, PeerError
from gateway.simulator.bench.lines import Lines
from gateway.simulator.bench.tally import Order, Said, Tally

RATE_OF_ONE: Final = 3000
"""Requests a second that one process keeps up on a slow core, with room; beyond it there are several."""
READY_SECONDS: Final = 60.0
"""To start, to make the bodies and to open the connections: seconds, on a machine that is busy."""
END_SECONDS: Final = 30.0
"""After the duration, or the word to stop: an answer may take 20 s (`client.TIMEOUT_SECONDS`)."""


def processes_for(rate: float, cores: int) -> int:
    """Return how many processes it takes to keep a rate; no more than there are cores."""
    return max(1, min(cores, -(-int(rate) // RATE_OF_ONE)))


class Crew:
    """The processes of one run."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self._orders = orders
        self._tallies: dict[int, Tally] = {}
        self._processes: list[trio.Process] = []
        self.stopped = False

    def tally(self) -> Tally:
        """Return the sum of what they have told so far."""
        total = Tally()
        for tally in self._tallies.values():
            total.add(tally)
        return total

    def marks(self) -> list[bytes]:
        """Return what each has told of its changes; empty before the end."""
        return [self._tallies[at].marks if at in self._tallies else b"" for at in range(len(self._orders))]

    async def run(self, *, started: Callable[[], None]) -> None:
        """Return when all have ended; `started` is called when the first request goes out.

        Raises:
            GatewayError: one of them could not begin, or ended by itself.
        """
        ready = [trio.Event() for _ in self._orders]
        begin = trio.Event()
        async with trio.open_nursery() as nursery:
            for at in range(len(self._orders)):
                nursery.start_soon(self._one, at, ready[at], begin)
            with trio.move_on_after(READY_SECONDS) as waiting:
                for one in ready:
                    await one.wait()
            if waiting.cancelled_caught:
                raise PeerError(
                    f"the connections are not open after {READY_SECONDS:g} s",
                    remedy="give fewer --connections, and look at the gateway's log",
                )
            started()
            begin.set()

    async def stop(self) -> None:
        """Have them end: the requests under way are answered, or cut off after some seconds."""
        self.stopped = True
        for process in self._processes:
            if process.stdin is not None:
                try:
                    await process.stdin.send_all(b"stop\n")
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    continue  # ended by itself meanwhile

    async def _one(self, at: int, ready: trio.Event, begin: trio.Event) -> None:
        order = self._orders[at]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "gateway.simulator.bench.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._processes.append(process)
        try:
            await self._talk(at, order, process, ready, begin)
        finally:
            process.kill()  # it holds nothing that would have to be put in order
            with trio.CancelScope(shield=True):
                await process.wait()

    async def _talk(
        self, at: int, order: Order, process: trio.Process, ready: trio.Event, begin: trio.Event
    ) -> None:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        lines = Lines(process.stdout)
        # The secret goes through a pipe: the process list shows arguments.
        await process.stdin.send_all(msgspec.json.encode(order) + b"\n")
        done = False
        with trio.move_on_after(READY_SECONDS + order.seconds + END_SECONDS):
            async for line in lines:
                said = msgspec.json.decode(line, type=Said)
                if said.fault:
                    raise PeerError(said.fault)
                if said.tally is not None:
                    self._tallies[at] = said.tally
                if said.ready:
                    ready.set()
                    await begin.wait()
                    await process.stdin.send_all(b"stop\n" if self.stopped else b"go\n")
                done = done or said.done
        if not done and not self.stopped:
            raise GatewayError(
                "a process of the load client ended by itself", remedy="see what it wrote above"
            )
