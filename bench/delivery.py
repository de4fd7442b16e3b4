"""How fast deliveries leave: a spool is filled, then drained to a local nginx, singly or merged.

Run: `.venv/bin/python bench/delivery.py [--deliveries 20000] [--max-changes 1 100] [--concurrency 8]
[--directory DIR] [--url URL]`. Without `--url` it starts an nginx of its own that answers 200
(`apt-get install nginx`). Only the draining is timed: from the start of the dispatcher to an empty spool.
"""

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from gateway.core.joining import joinable_object
from gateway.core.signature import VerifiedBody, sign, verify_signature
from gateway.delivery.dead_letter import DeadLetterStore
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.target import dispatch_target
from gateway.process.service import SWITCH_INTERVAL_SECONDS
from gateway.settings.model import Target
from gateway.spool.contract import NewDelivery, Notification
from gateway.spool.sqlite import SqliteOptions, SqliteSpool, open_sqlite_spool
from gateway.telemetry.log import configure_logging
from gateway.telemetry.metrics import Metrics

SECRET = b"bench"
FILLERS = 500
"""Tasks that append at once, so that the filling is quick."""
PATIENCE_SECONDS = 10.0

NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_max_body_size 8m; keepalive_requests 1000000;
    client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
    uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
    server {{ listen 127.0.0.1:{port}; return 200; }}
}}
"""
"""It reads every body and throws it away."""


def now_ms() -> int:
    """Return Unix time."""
    return time.time_ns() // 1_000_000


def new_notification() -> Notification:
    """Return a message of WhatsApp that nobody has seen: one change, some 550 bytes."""
    metadata = {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"}
    message = {
        "from": "16505551234",
        "id": "wamid." + os.urandom(24).hex(),
        "timestamp": "1749416383",
        "type": "text",
        "text": {"body": "Does it come in another color?"},
    }
    contacts = [{"profile": {"name": "Sheena Nelson"}, "wa_id": "16505551234"}]
    value = {
        "messaging_product": "whatsapp",
        "metadata": metadata,
        "contacts": contacts,
        "messages": [message],
    }
    entry = {"id": "102290129340398", "changes": [{"value": value, "field": "messages"}]}
    raw = json.dumps(
        {"object": "whatsapp_business_account", "entry": [entry]}, separators=(",", ":")
    ).encode()
    body = verify_signature(app="main", raw=raw, header_values=[sign(SECRET, raw).encode()], secrets=[SECRET])
    if not isinstance(body, VerifiedBody):
        raise TypeError(body)
    identifier = os.urandom(16).hex()
    return Notification(
        id=identifier,
        received_at_ms=now_ms(),
        body=body,
        deliveries=(NewDelivery(id=f"{identifier}-support", target="support", selection=None, changes=1),),
        object=joinable_object(raw),
    )


@asynccontextmanager
async def nginx() -> AsyncIterator[str]:
    """Run an nginx on a free port; gives its URL."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        config = Path(directory) / "nginx.conf"
        config.write_text(NGINX.format(directory=directory, port=port))
        command = [program, "-p", directory, "-e", f"{directory}/error.log", "-c", str(config)]
        process = subprocess.Popen(command)  # noqa: ASYNC220, S603 - started once; the operator's own nginx
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                while True:
                    try:
                        (await trio.open_tcp_stream("127.0.0.1", port)).socket.close()
                        break
                    except OSError:
                        await trio.sleep(0.05)
            yield f"http://127.0.0.1:{port}/support"
        finally:
            process.terminate()
            process.wait()


async def fill(spool: SqliteSpool, deliveries: int) -> None:
    """Store so many notifications with one delivery each."""
    left = deliveries

    async def append() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await spool.append(new_notification())

    async with trio.open_nursery() as nursery:
        for _ in range(FILLERS):
            nursery.start_soon(append)


async def drain(spool: SqliteSpool, dispatcher: Dispatcher) -> tuple[float, float]:
    """Deliver everything; returns wall seconds and CPU seconds of this process."""
    started, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(dispatcher.run)
        while spool.pending():  # noqa: ASYNC110 - the spool has no event for "empty"
            await trio.sleep(0.005)
        took = time.perf_counter() - started, time.process_time() - cpu
        await dispatcher.drain(PATIENCE_SECONDS)
    return took


async def measure(options: argparse.Namespace, url: str, max_changes: int) -> None:
    """Fill, drain, print."""
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        metrics = Metrics()
        settings = SqliteOptions(
            duplicates_window_seconds=604_800, duplicates_max=20_000_000, min_free_bytes=0
        )
        async with open_sqlite_spool(directory / "spool", settings, metrics=metrics, now_ms=now_ms) as spool:
            await fill(spool, options.deliveries)
            target = Target(url=url, max_changes=max_changes, concurrency=options.concurrency)
            dispatcher = Dispatcher(
                spool=spool,
                targets={"support": dispatch_target(target)},
                dead_letters=DeadLetterStore(directory / "dead", b"k" * 32),
                metrics=metrics,
                now_ms=now_ms,
                random=random.random,
                app_secret={"main": SECRET}.get,
            )
            seconds, cpu_seconds = await drain(spool, dispatcher)
    value = partial(metrics.registry.get_sample_value, labels={"target": "support", "outcome": "delivered"})
    delivered = value("meta_gateway_deliveries_total") or 0.0
    posts = metrics.registry.get_sample_value("meta_gateway_delivery_seconds_count", {"target": "support"})
    sys.stdout.write(
        f"max_changes {max_changes}: {delivered:.0f} deliveries of one change in {posts:.0f} POSTs, "
        f"{delivered / seconds:.0f}/s, {cpu_seconds / delivered * 1e6:.0f} us of CPU each\n"
    )
    sys.stdout.flush()


async def run(options: argparse.Namespace) -> None:
    """Measure each of the sizes asked for."""
    if options.url:
        for max_changes in options.max_changes:
            await measure(options, options.url, max_changes)
        return
    async with nginx() as url:
        for max_changes in options.max_changes:
            await measure(options, url, max_changes)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=20_000)
    parser.add_argument("--max-changes", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--directory", help="where the spool is made; a real disk, not a tmpfs")
    parser.add_argument("--url", help="of a target that is there already")
    configure_logging(level="info", json=True)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    trio.run(run, parser.parse_args())


if __name__ == "__main__":
    main()
