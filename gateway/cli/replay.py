"""`gateway replay`: send again what was delivered, while it is kept."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli import quantities
from gateway.cli.completion.proposals import complete_app, complete_field, complete_kind, complete_target
from gateway.cli.output import EXIT_FAILED, err, options, out, out_json
from gateway.clock import unix_ms
from gateway.errors import UsageError

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient
    from gateway.delivery.kept_replay import Wanted
    from gateway.settings.model import Settings

CHUNK: Final = 100
"""Notifications in one request to the running gateway: well under a second's work."""
STUCK: Final = frozenset({"unknown_app", "damaged"})
"""What somebody should see to."""

Step = Callable[[Any, int], Awaitable[dict[str, Any]]]
"""Does a part, from a place on and about so much; returns what the admin port would."""


def command(
    target: Annotated[
        str, typer.Option("--target", help="The target that gets it.", autocompletion=complete_target)
    ],
    since: Annotated[
        str,
        typer.Option("--since", metavar="TIME", help="Accepted since then: 2h, 3d, 2026-01-02T03:04:05Z."),
    ],
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Accepted at or before it; else: now.")
    ] = None,
    app: Annotated[
        str | None, typer.Option("--app", help="Of this app.", autocompletion=complete_app)
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(
            "--field",
            help="With a change of this field (* and ? as in routes).",
            autocompletion=complete_field,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="With a change of it: message, status, error or other.",
            autocompletion=complete_kind,
        ),
    ] = None,
    include_delivered: Annotated[
        bool, typer.Option("--include-delivered", help="What the target has taken already, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how much it is; change nothing.")] = False,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="N/s", help="So many a second (or N/m, N/h) at most.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result for scripts.")] = False,
) -> None:
    """Send a target again what was delivered, while spool.keep_delivered keeps it.

    A target that answered 200 and lost it: with --include-delivered it gets the same deliveries once more,
    under their old ids and Idempotency-Keys. A new target: give it routes, reload, then replay without
    --include-delivered; it gets of each notification what the routes give it now. What became a dead letter
    is replayed by gateway dead-letters replay.

    It goes through what is kept in order of acceptance. The running gateway does it, asked through its admin
    port; where none runs, this command takes the spool, and all is delivered after the next start.
    Interrupted, it says with which --since to go on.
    """
    import trio

    from gateway.cli.admin_client import running_gateway, settings_of

    settings = settings_of(options.config)
    wanted = _wanted(settings, target, since, until, app, field, kind, include_delivered)
    per_second = None if rate is None else quantities.rate(rate)
    gateway = running_gateway(options.config, settings)

    async def run() -> Counter[str]:
        if gateway is not None:
            return await _go(_asking(gateway, wanted, dry_run=dry_run), wanted, per_second)
        async with _on_spool(settings, wanted, dry_run=dry_run) as step:
            return await _go(step, wanted, per_second)

    counts = trio.run(run)
    if as_json:
        out_json({"target": target, "counts": dict(counts)})
    else:
        for word, number in counts.items():
            out(f"{word}\t{number}")
        if not counts:
            err("nothing that is kept matches")
    if STUCK & counts.keys():
        raise typer.Exit(EXIT_FAILED)


# -- what is asked


def _wanted(
    settings: "Settings",
    target: str,
    since: str,
    until: str | None,
    app: str | None,
    field: str | None,
    kind: str | None,
    include_delivered: bool,
) -> "Wanted":
    from gateway.core.change import Kind
    from gateway.delivery.kept_replay import Wanted
    from gateway.delivery.selection import parse_moment

    if target not in settings.targets:
        raise UsageError(
            f"there is no target {target!r:.80}", remedy=f"targets: {', '.join(settings.targets)}"
        )
    if app is not None and app not in settings.apps:
        raise UsageError(f"there is no app {app!r:.80}", remedy=f"apps: {', '.join(settings.apps)}")
    if kind is not None and kind not in set(Kind):
        raise UsageError(f"--kind {kind!r:.40} is none", remedy=f"write one of {', '.join(Kind)}")
    if settings.spool.keep_delivered_seconds == 0:
        raise UsageError(
            "nothing that was delivered is kept: spool.keep_delivered is 0s",
            remedy="set it (1d, say) and restart; from then on what is delivered can be sent again",
        )
    now_ms = unix_ms()
    since_ms = parse_moment(since, now_ms=now_ms, option="--since")
    until_ms = now_ms if until is None else parse_moment(until, now_ms=now_ms, option="--until")
    if since_ms > until_ms:
        raise UsageError("--since is after --until", remedy="swap them")
    return Wanted(
        target=target,
        since_ms=since_ms,
        until_ms=until_ms,
        app=app,
        field=field,
        kind=None if kind is None else Kind(kind),
        include_delivered=include_delivered,
    )


# -- doing it


def _asking(gateway: "AdminClient", wanted: "Wanted", *, dry_run: bool) -> Step:
    content = {
        "target": wanted.target,
        "since_ms": wanted.since_ms,
        "until_ms": wanted.until_ms,
        "app": wanted.app,
        "field": wanted.field,
        "kind": None if wanted.kind is None else str(wanted.kind),
        "include_delivered": wanted.include_delivered,
        "dry_run": dry_run,
    }

    async def step(after: Any, limit: int) -> dict[str, Any]:
        return gateway.post("/api/replay", {**content, "after": after, "limit": limit})

    return step


@asynccontextmanager
async def _on_spool(settings: "Settings", wanted: "Wanted", *, dry_run: bool) -> AsyncIterator[Step]:
    from gateway.cli.stopped_spool import open_stopped_spool
    from gateway.delivery.kept_replay import Cursor, KeptReplayer
    from gateway.delivery.replay import Known
    from gateway.settings.routes import routing_table
    from gateway.telemetry.audit import FILE_NAME, AuditLog

    directory = settings.spool.directory
    err("no gateway runs: doing it here")
    known = Known(
        apps=frozenset(settings.apps), targets=frozenset(settings.targets), table=routing_table(settings)
    )
    async with open_stopped_spool(settings) as files:
        replayers = {
            number: KeptReplayer(spool=spool, known=lambda: known, now_ms=unix_ms)
            for number, spool in files.items()
        }
        if not dry_run:
            AuditLog(directory.parent / FILE_NAME).record("replay_kept", by="command", **wanted.shown())

        async def step(after: Any, limit: int) -> dict[str, Any]:
            cursor = Cursor.of(after, replayers, since_ms=wanted.since_ms)
            there = cursor.places[cursor.behind]
            done = await replayers[cursor.behind].step(wanted, after=there, limit=limit, dry_run=dry_run)
            cursor = cursor.moved(done.after)
            reached_ms = cursor.reached_ms(since_ms=wanted.since_ms, until_ms=wanted.until_ms)
            return {"counts": done.counts, "after": cursor.flat(), "reached_ms": reached_ms}

        yield step


async def _go(step: Step, wanted: "Wanted", per_second: float | None) -> Counter[str]:
    """Go through all of it, at a rate, with a progress bar on a terminal."""
    import trio
    from rich.console import Console
    from rich.progress import Progress

    chunk = CHUNK if per_second is None else max(1, min(CHUNK, int(per_second)))
    counts: Counter[str] = Counter()
    after, reached_ms = None, wanted.since_ms
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("replay", total=max(1, wanted.until_ms - wanted.since_ms))
        try:
            while True:
                started_seconds = trio.current_time()
                found = await step(after, chunk)
                counts.update(found["counts"])
                after, reached_ms = found["after"], found["reached_ms"]
                progress.update(task, completed=reached_ms - wanted.since_ms)
                if after is None:
                    return counts
                if per_second is not None:
                    sent = found["counts"].get("replayed", 0)
                    await trio.sleep_until(started_seconds + sent / per_second)
        except BaseException:
            _tell_where(reached_ms, counts)
            raise


def _tell_where(reached_ms: int, counts: Counter[str]) -> None:
    from gateway.delivery.message import rfc3339

    done = ", ".join(f"{number} {word}" for word, number in counts.items()) or "nothing done"
    err(f"stopped: {done}; go on with --since {rfc3339(reached_ms)}")
