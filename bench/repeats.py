"""How many of the notifications that Meta sends twice are delivered twice, with several workers.

    .venv/bin/python -m bench.repeats --workers 1 2 4

Each worker remembers what it has accepted itself (`docs/delivery.md`, "Repeats"). Here every notification is
sent twice, from many clients at once: the second time over the connection of the first, or over a new one.
What the target has had beyond one of each was not recognised.
"""

import argparse
from functools import partial

import trio
from rich.console import Console

from bench.compare import wait_delivered
from bench.contenders import Running, running_gateway
from bench.ground import CALLBACK_PATH, MARKER, Ground, made_ground
from bench.nginx import FLUSH_SECONDS, read_deliveries
from bench.processes import BenchError, ended_by_signals, run_to_exit_code
from gateway.simulator.client import MetaClient

CLIENTS = 16
"""At once, so that all workers have connections."""
DELIVERED_WITHIN_SECONDS = 30.0
STRAGGLERS_SECONDS = 2.0
"""For what comes twice, after everything has come once."""


async def play(ground: Ground, running: Running, numbers: range, *, anew: bool) -> None:
    """Send each notification twice."""
    template = ground.body.read_bytes().strip()

    def client() -> MetaClient:
        return MetaClient(
            f"https://localhost:{running.port}",
            secret=ground.secret.encode(),
            ca=ground.pki.server_ca,
            certificate=ground.pki.client_certificate,
            private_key=ground.pki.client_key,
        )

    async def post(meta: MetaClient, body: bytes) -> None:
        status = (await meta.post(CALLBACK_PATH, body)).status
        if status != 200:
            raise BenchError(f"answered {status}")

    for number in numbers:
        body = template.replace(MARKER, b"%012d" % number)
        async with client() as meta:
            await post(meta, body)
            if not anew:
                await post(meta, body)
        if anew:
            async with client() as meta:
                await post(meta, body)


async def measure(ground: Ground, *, workers: int, count: int, anew: bool) -> float:
    """Return the share of repeats that were delivered again."""
    each = max(1, count // CLIENTS)
    async with running_gateway(ground, workers=workers) as running:
        if running.target is None:
            raise BenchError("the gateway has no target")
        async with trio.open_nursery() as nursery:
            for client in range(CLIENTS):
                numbers = range(client * each, (client + 1) * each)
                nursery.start_soon(partial(play, ground, running, numbers, anew=anew))
        found = await wait_delivered(running.target, CLIENTS * each, DELIVERED_WITHIN_SECONDS)
        await trio.sleep(STRAGGLERS_SECONDS + FLUSH_SECONDS)
        found += read_deliveries(running.target.news())
    return found.count / (CLIENTS * each) - 1


async def run(given: argparse.Namespace, console: Console) -> None:
    """Measure, and print the table."""
    lines = []
    with made_ground() as ground:
        async with ended_by_signals():
            for workers in given.workers:
                shares = [
                    await measure(ground, workers=workers, count=given.count, anew=anew)
                    for anew in (False, True)
                ]
                lines.append(f"| {workers} | {shares[0]:.0%} | {shares[1]:.0%} |")
    console.print("| workers | delivered again: over the same connection | over a new one |")
    console.print("| ---: | ---: | ---: |")
    for line in lines:
        console.print(line)


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.repeats", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--count", type=int, default=800, help="notifications, each sent twice")
    given = parser.parse_args()
    console = Console(highlight=False)
    return run_to_exit_code(partial(run, given, console), console)


if __name__ == "__main__":
    raise SystemExit(main())
