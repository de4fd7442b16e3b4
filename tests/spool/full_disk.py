"""Fill a small file system with a spool and drain it again. Run on a tmpfs of its own: see test_sqlite.py."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from gateway.errors import SpoolUnavailableError
from gateway.spool.contract import Appended, Done, Lease
from gateway.spool.sqlite import SqliteSpool
from tests.spool.rig import NOW_MS, in_an_hour, note, opened


async def append_for_ever(spool: SqliteSpool) -> None:
    """Append until there is no room."""
    while True:
        await spool.append(note(os.urandom(20_000)))


async def drain(spool: SqliteSpool, make_room: Callable[[], object]) -> None:
    """Deliver everything; where not even a settlement finds room, somebody makes some, once."""
    leases: list[Lease] = []
    while spool.pending():
        try:
            leases = leases or list(
                await spool.lease("support", now_ms=NOW_MS, limit=1, next_due_ms=in_an_hour)
            )
            assert await spool.settle(leases[-1], Done())
            leases.pop()
        except SpoolUnavailableError:
            make_room()


async def main(directory: Path) -> None:
    """Nothing is lost, and with room it goes on where it stood."""
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(1024**2))
    async with opened(directory / "spool") as spool:
        with pytest.raises(SpoolUnavailableError, match="the disk is full"):
            await append_for_ever(spool)
        stored = spool.pending()["support"]
        assert stored > 10
        assert not spool.room().writable
    async with opened(directory / "spool") as spool:
        assert spool.pending() == {"support": stored}
        await drain(spool, ballast.unlink)
        ballast.unlink(missing_ok=True)
        assert await spool.append(note(os.urandom(20_000))) is Appended.STORED
    async with opened(directory / "spool") as spool:
        assert spool.pending() == {"support": 1}
    sys.stdout.write("ok\n")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
