"""A process to be killed: it appends and settles as fast as it can, and tells what was acknowledged.

A line on stdout is written after the spool's answer: `+ID` stored, `-ID` delivered.
Run: `python -m tests.spool.appender DIRECTORY`.
"""

import os
import sys
from pathlib import Path

import trio

from gateway.spool.contract import Done
from gateway.spool.sqlite import SqliteSpool
from tests.spool.rig import NOW_MS, in_an_hour, note, opened

TASKS = 20


def tell(sign: str, id_: str) -> None:
    """Write a line at once: what is buffered would be lost with the process."""
    os.write(1, f"{sign}{id_}\n".encode())


async def append(spool: SqliteSpool) -> None:
    """Append, each time a body that holds the ids of its deliveries."""
    while True:
        unique = os.urandom(16).hex()
        wanted = note(unique.encode() * 20, targets=(f"kept-{unique}", "served"))
        await spool.append(wanted)
        tell("+", f"kept-{unique}")


async def serve(spool: SqliteSpool) -> None:
    """Deliver to one of the targets."""
    while True:
        leases = await spool.lease("served", now_ms=NOW_MS, limit=10, next_due_ms=in_an_hour)
        for lease in leases:
            await spool.settle(lease, Done())
            tell("-", lease.raw[:32].decode())
        await trio.lowlevel.checkpoint()


async def main(directory: Path) -> None:
    """Run until killed."""
    async with opened(directory) as spool, trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(append, spool)
        nursery.start_soon(serve, spool)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
