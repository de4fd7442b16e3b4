"""`gateway targets`: list them, leave one alone for a while, and deliver to it again."""

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli import quantities
from gateway.cli.completion.proposals import complete_target
from gateway.cli.other_gateways import alone_note, with_others
from gateway.cli.output import EXIT_FAILED, err, options, out, out_json
from gateway.clock import unix_ms
from gateway.errors import UsageError

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient
    from gateway.delivery.pause_book import PauseBook
    from gateway.settings.model import Settings
    from gateway.spool.contract import Spool

commands = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="List the targets, pause one, resume it, give up a former one. A pause survives restarts: what"
    " comes in meanwhile waits in the spool, attempts under way end, and the give-up clock stands still. The"
    " running gateway is asked through its admin port; where none runs, the command works on the spool"
    " itself.\n\n"
    "Before maintenance: gateway targets pause NAME --for 2h --reason 'database upgrade'. After an incident:"
    " gateway targets resume NAME --rate 50/s. A target that fails needs no pause: its breaker opens by"
    " itself.",
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A target of the configuration.", autocompletion=complete_target)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result for scripts.")]

Work = Callable[["Sequence[PauseBook]"], Awaitable[None]]
"""Does something to the pauses in every worker's file."""

STOPPED: Final = "stopped"


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the targets: a table on a terminal, tab-separated in a pipe.

    States: delivering; recovering (back, released gradually); open (the breaker: probes alone); paused;
    stopped (no gateway runs); unknown (deliveries wait for a target that the configuration has lost: they go
    out when it is back, or become dead letters by `gateway targets discard`). Next is when the next attempt
    starts: `gateway targets resume` makes all that waits due now. Where several gateways share a database,
    the worst is told, and how it is on each where they differ.
    """
    from gateway.cli.gateways_report import told_of_absent, told_of_gateways
    from gateway.cli.targets.report import line_of, show

    settings = _settings()
    gateway = _gateway(settings)
    found, gateways = _ask_status(gateway) if gateway is not None else look_without_gateway(settings)
    if as_json:
        out_json({"targets": found, "gateways": gateways})
        return
    is_here = any(one["own"] for one in gateways)
    if told := told_of_absent(gateways) if is_here else told_of_gateways(gateways):
        err(told)
    if os.isatty(1):
        show(found, datetime.now(UTC))
    else:
        for name, target in found.items():
            out(line_of(name, target))


@commands.command()
def pause(
    name: Name,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Ends by itself after 30m, 2h, 1d; else until resumed."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Shown by list, and put on the audit log.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Leave a target alone. One that is paused already takes the new end and reason."""
    seconds = None if for_ is None else quantities.duration(for_, option="--for")
    content: dict[str, object] = {"seconds": seconds, "reason": reason}

    async def alone(books: "Sequence[PauseBook]") -> None:
        for book in books:
            await book.pause(name, seconds=seconds, reason=reason)

    _change("pause", name, content, alone, as_json=as_json)


@commands.command()
def resume(
    name: Name,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="N/s",
            help="Start so many attempts a second (or N/m, N/h) until nothing that is due waits any more.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Deliver to a target again: all that waits is due now, whatever its schedule said.

    Of one that is not paused it does that, too, and changes the rate: for a target that is well again after
    an outage, when the oldest would be tried in hours. Where much waits, give a --rate. While the breaker is
    open, probes alone go out, as ever.
    """
    per_second = None if rate is None else quantities.rate(rate)

    async def alone(books: "Sequence[PauseBook]") -> None:
        for book in books:  # the workers share the rate when they run
            await book.resume(name, rate_per_second=per_second)
            await book.hasten(name)

    _change("resume", name, {"rate_per_second": per_second}, alone, as_json=as_json)


@commands.command()
def discard(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A target that is no longer configured.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many deliveries there are; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give up a target that the configuration has lost: what waits for it becomes dead letters.

    Until then it stays in the spool, and goes out when the target is back, by a reload or a restart. The dead
    letters say discarded_target; once a target of that name is back they can be replayed. It may be
    interrupted and repeated.
    """
    from gateway.cli.targets.discarding import ask_first, demand_lost, discard_alone, discard_by_asking, shown

    settings = _settings()
    gateway = _gateway(settings)
    if gateway is None and not settings.spool.directory.exists():
        demand_lost(settings, name, 0)
    found = _ask_status(gateway)[0] if gateway is not None else look_without_gateway(settings)[0]
    pending = int(found.get(name, {}).get("pending", 0))
    demand_lost(settings, name, pending)
    if dry_run:
        done, left = pending, pending
    else:
        if not yes:
            ask_first(name, pending)
        if gateway is None:
            err(alone_note(settings))
            done, left = discard_alone(settings, name, pending)
        else:
            done, left = discard_by_asking(gateway, name, pending)
    if as_json:
        out_json(shown(name, done, left, dry_run=dry_run))
    else:
        between = ": " if os.isatty(1) else "\t"
        out(f"{name}{between}{done} {'would become' if dry_run else 'became'} dead letters, {left} left")
    if left and not dry_run:
        err("what is left is under way; repeat the command in a moment")
        raise typer.Exit(EXIT_FAILED)


# -- what is asked


def _settings() -> "Settings":
    from gateway.cli.admin_client import settings_of

    return settings_of(options.config)


def _demand_target(settings: "Settings", name: str) -> None:
    if name not in settings.targets:
        raise UsageError(f"there is no target {name!r:.80}", remedy=f"targets: {', '.join(settings.targets)}")


# -- doing it


def _gateway(settings: "Settings") -> "AdminClient | None":
    from gateway.cli.admin_client import running_gateway

    return running_gateway(options.config, settings)


def _ask_status(gateway: "AdminClient") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from gateway.cli.admin_client import get_view

    content = get_view(gateway.address, "/api/status", key="targets")
    return dict(content["targets"]), list(content.get("gateways", ()))


def _change(
    action: str,
    name: str,
    content: Mapping[str, object],
    alone: Work,
    *,
    as_json: bool,
) -> None:
    """Have the running gateway do it; where none runs, do it on the spool."""
    settings = _settings()
    _demand_target(settings, name)
    gateway = _gateway(settings)
    if gateway is not None:
        found = gateway.post(f"/api/targets/{action}", {"target": name, **content})
    else:

        async def work(books: "Sequence[PauseBook]") -> None:
            from gateway.telemetry.audit import FILE_NAME, AuditLog

            audit = AuditLog(settings.spool.directory.parent / FILE_NAME)
            audit.record(action, by="command", target=name, **content)
            await alone(books)

        err(alone_note(settings))
        found = with_others(settings, _on_spool(settings, work), follow=True)[0][name]
    if as_json:
        out_json({name: found})
    else:
        from gateway.cli.targets.report import plain_note, sentence_of

        if os.isatty(1):
            out(sentence_of(name, found, datetime.now(UTC)))
        else:
            out("\t".join(part for part in (name, str(found["state"]), plain_note(found)) if part))


def look_without_gateway(settings: "Settings") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Say how the targets are by the spool of a gateway that does not run, whose lock it takes meanwhile, and
    by those that run on the same database; and who these are."""
    return with_others(settings, _on_spool(settings, _nothing))


def _on_spool(settings: "Settings", work: Work) -> dict[str, Any]:
    """Open the spool, with its lock, do something there, and return how the targets are then."""
    import trio

    from gateway.cli.stopped_spool import open_stopped_spool
    from gateway.delivery.pause_book import PauseBook

    async def run() -> dict[str, Any]:
        async with open_stopped_spool(settings) as files:
            opened = [(spool, PauseBook(spool, unix_ms)) for spool in files.values()]
            for _, book in opened:
                await book.load()
            await work([book for _, book in opened])
            return await _describe(settings, opened)

    return trio.run(run)


async def _nothing(_: "Sequence[PauseBook]") -> None:
    """Only look."""


async def _describe(settings: "Settings", opened: "Sequence[tuple[Spool, PauseBook]]") -> dict[str, Any]:
    """Say what `/api/status` would, of a spool that nobody delivers from."""
    from gateway.core import pausing
    from gateway.core.routing import UNROUTED
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.delivery.message import rfc3339
    from gateway.delivery.view import UNKNOWN, TargetState, shown_pause

    now_ms = unix_ms()
    [(first, _), *_] = opened
    dead: Mapping[str, int]
    if first.letters is None:
        store = DeadLetterStore(settings.dead_letter.directory, b"")
        store.count()
        dead = store.counts()
    else:
        dead = await first.letters.counts()
    waiting: Counter[str] = Counter(dict.fromkeys(settings.targets, 0))
    oldest: dict[str, int] = {}
    due: dict[str, int] = {}
    for spool, _ in opened:
        waiting.update(spool.pending())
        for name, at_ms in (await spool.oldest_received_ms()).items():
            oldest[name] = min(at_ms, oldest.get(name, at_ms))
        for name in spool.pending():
            if (due_ms := await spool.next_due_ms(name)) is not None:
                due[name] = min(due_ms, due.get(name, due_ms))
    found = {}
    for name, pending in waiting.items():
        if name not in settings.targets and not pending and not dead.get(name):
            continue
        books = [book.of(name) for _, book in opened]
        pause = next(filter(None, (pausing.current(pauses, now_ms) for pauses in books)), None)
        rates = [rate for rate in map(pausing.rate_after, books) if rate is not None]
        stopped = STOPPED if name in settings.targets or name == UNROUTED else UNKNOWN
        found[name] = {
            "pending": pending,
            "oldest_seconds": max(0, now_ms - oldest[name]) / 1000 if name in oldest else 0.0,
            # What is due already waits for the start, and not for a time.
            "next_attempt_at": rfc3339(due[name]) if pause is None and due.get(name, 0) > now_ms else None,
            "dead_letters": dead.get(name, 0),
            "state": stopped if pause is None else str(TargetState.PAUSED),
            "pause": shown_pause(pause),
            "rate_per_second": max(rates) if rates and pause is None else None,
        }
    return found
