"""`gateway targets discard`: what waits for a target that the configuration has lost becomes dead letters."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.agreement import demand_agreement
from gateway.clock import unix_ms
from gateway.errors import UsageError

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient
    from gateway.settings.model import Settings

CHUNK: Final = 100
"""Deliveries in one request to the running gateway: a second's work, so that the progress bar moves."""

Step = Callable[[int], Awaitable[tuple[int, int]]]
"""Discards about so many; returns how many it were, and how many are left."""


def demand_lost(settings: "Settings", name: str, pending: int) -> None:
    """Refuse what is no lost target with something that waits for it.

    Raises:
        UsageError: says which.
    """
    from gateway.core.routing import UNROUTED

    if name in settings.targets or name == UNROUTED:
        raise UsageError(
            f"target {name!r:.80} is in the configuration: what waits for it will be delivered",
            remedy="to keep it from getting more, pause it; to give it up, take it out of the configuration"
            " and its routes, reload, and discard then",
        )
    if not pending:
        raise UsageError(
            f"nothing waits for a target {name!r:.80}", remedy="gateway targets list shows what waits"
        )


def ask_first(name: str, pending: int) -> None:
    """Have the operator agree.

    Raises:
        typer.Exit: not agreed.
    """
    what = "delivery becomes a dead letter" if pending == 1 else "deliveries become dead letters"
    demand_agreement(f"{pending} {what} of {name}. Go on?", otherwise="nothing is done")


def discard_by_asking(gateway: "AdminClient", name: str, pending: int) -> tuple[int, int]:
    """Have the running gateway do it; return how many were discarded, and how many are left."""
    import trio

    async def step(limit: int) -> tuple[int, int]:
        found = gateway.post("/api/targets/discard", {"target": name, "limit": limit})
        return int(found["discarded"]), int(found["left"])

    return trio.run(_by_steps, step, pending)


def discard_alone(settings: "Settings", name: str, pending: int) -> tuple[int, int]:
    """Do it here, with the spool's lock; return how many were discarded, and how many are left."""
    import trio

    async def run() -> tuple[int, int]:
        async with _on_spool(settings, name) as step:
            return await _by_steps(step, pending)

    return trio.run(run)


async def _by_steps(step: Step, pending: int) -> tuple[int, int]:
    """Go on until nothing is left, or what is left is under way; with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    done, left = 0, pending
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("discard", total=pending)
        while left:
            discarded, left = await step(CHUNK)
            if not discarded:
                break
            done += discarded
            progress.update(task, completed=done)
    return done, left


@asynccontextmanager
async def _on_spool(settings: "Settings", name: str) -> AsyncIterator[Step]:
    from gateway.cli.stopped_spool import open_stopped_spool
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.delivery.discarding import Discarder
    from gateway.delivery.seal_key import FILE_NAME as SEAL_KEY_FILE_NAME
    from gateway.delivery.seal_key import load_or_make_seal_key
    from gateway.delivery.shared_letters import SharedLetters
    from gateway.telemetry.audit import FILE_NAME, AuditLog
    from gateway.telemetry.log import configure_logging
    from gateway.telemetry.metrics import Metrics

    configure_logging(level="error", json=False)  # a line a dead letter would be no result, and much of it
    metrics, beside_spool = Metrics(), settings.spool.directory.parent
    async with open_stopped_spool(settings) as files:
        store = DeadLetterStore(
            settings.dead_letter.directory, load_or_make_seal_key(beside_spool / SEAL_KEY_FILE_NAME)
        )
        store.prepare()
        spools = tuple(files.values())
        index = files[0].letters
        shared = None if index is None else SharedLetters(store, index, now_ms=unix_ms)
        if shared is not None:
            await shared.open()
        discarders = [
            Discarder(spool=spool, dead_letters=store, metrics=metrics, now_ms=unix_ms, shared=shared)
            for spool in spools
        ]
        AuditLog(beside_spool / FILE_NAME).record("discard_target", by="command", target=name)

        async def step(limit: int) -> tuple[int, int]:
            discarded = 0
            for discarder in discarders:
                discarded += await discarder.discard(name, limit=limit - discarded)
            return discarded, sum(spool.pending().get(name, 0) for spool in spools)

        yield step


def shown(name: str, done: int, left: int, *, dry_run: bool) -> dict[str, Any]:
    """Return the result for scripts."""
    return {name: {"would_discard" if dry_run else "discarded": done, "left": left}}
