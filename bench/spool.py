"""How fast the embedded spool takes notifications: durable appends, one delivery each, by waiting tasks.

Run: `.venv/bin/python bench/spool.py [--tasks 64] [--seconds 5] [--directory DIR] [--busy] [--deliver]`.
`--busy` keeps the Trio loop at work besides, never giving up the GIL by itself: worse than TLS and HTTP do.
`--deliver` leases and settles everything, too.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import trio

from gateway.core.signature import VerifiedBody, sign, verify_signature
from gateway.spool.contract import Done, NewDelivery, Notification
from gateway.spool.sqlite import SqliteOptions, SqliteSpool, open_sqlite_spool
from gateway.telemetry.metrics import Metrics

BODY_BYTES = 600
SECRET = b"bench"
LEASE_LIMIT = 100


def now_ms() -> int:
    """Return Unix time."""
    return time.time_ns() // 1_000_000


def new_notification() -> Notification:
    """Return one that nobody has seen."""
    raw = os.urandom(BODY_BYTES)
    body = verify_signature(app="main", raw=raw, header_values=[sign(SECRET, raw).encode()], secrets=[SECRET])
    if not isinstance(body, VerifiedBody):
        raise TypeError(body)
    id_ = os.urandom(16).hex()
    return Notification(
        id=id_,
        received_at_ms=now_ms(),
        body=body,
        deliveries=(NewDelivery(id=id_, target="support", selection=None),),
    )


async def deliver(spool: SqliteSpool) -> None:
    """Lease what is due and settle it at once."""
    ready = trio.Event()

    def wake(_: frozenset[str]) -> None:
        ready.set()

    spool.on_ready(wake)
    while True:
        leases = await spool.lease(
            "support",
            now_ms=now_ms(),
            limit=LEASE_LIMIT,
            next_due_ms=lambda attempt: now_ms() + attempt * 1000,
        )
        if leases:
            async with trio.open_nursery() as nursery:
                for lease in leases:
                    nursery.start_soon(spool.settle, lease, Done())
        else:
            ready = trio.Event()
            await ready.wait()


async def measure(options: argparse.Namespace) -> None:
    """Append until the time is over, and print what came of it."""
    took: list[float] = []
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        settings = SqliteOptions(
            duplicates_window_seconds=604_800, duplicates_max=20_000_000, min_free_bytes=0
        )
        async with open_sqlite_spool(
            Path(directory) / "spool", settings, metrics=Metrics(), now_ms=now_ms
        ) as spool:
            end = trio.current_time() + options.seconds

            async def append() -> None:
                while trio.current_time() < end:
                    notification = new_notification()
                    started = time.perf_counter()
                    await spool.append(notification)
                    took.append(time.perf_counter() - started)

            async def be_busy() -> None:
                while True:
                    sum(range(2000))
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as outer:
                if options.busy:
                    outer.start_soon(be_busy)
                if options.deliver:
                    outer.start_soon(deliver, spool)
                async with trio.open_nursery() as nursery:
                    for _ in range(options.tasks):
                        nursery.start_soon(append)
                outer.cancel_scope.cancel()
            left = spool.pending()
    took.sort()
    p50, p99, worst = (took[int(len(took) * share)] * 1000 for share in (0.5, 0.99, 0.9999))
    sys.stdout.write(
        f"{options.tasks} tasks: {len(took) / options.seconds:.0f} appends/s; p50 {p50:.1f} ms, "
        f"p99 {p99:.1f} ms, p99.99 {worst:.1f} ms; pending at the end: {dict(left)}\n"
    )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--directory", help="where the spool is made; a real disk, not a tmpfs")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--deliver", action="store_true")
    sys.setswitchinterval(0.0005)
    trio.run(measure, parser.parse_args())


if __name__ == "__main__":
    main()
