"""`gateway dead-letters`: list, show, replay and discard what no target took."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.agreement import demand_agreement
from gateway.cli.completion.proposals import complete_field, complete_target
from gateway.cli.dead_letters.alone import (
    discard_alone,
    do_with_others,
    read_with_others,
    rehearse_alone,
    replay_alone,
)
from gateway.cli.dead_letters.choice import Chosen, choose, make_selection
from gateway.cli.dead_letters.report import Report, reporting
from gateway.cli.dead_letters.rows import cells_of, print_tables, stream_json
from gateway.cli.dead_letters.source import PATH, Files, Source, source_of
from gateway.cli.output import err, options, out, out_json, visible_lines
from gateway.core.routing import UNROUTED
from gateway.errors import DeadLetterError

if TYPE_CHECKING:
    from gateway.cli.admin_client import AdminClient
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.settings.model import Settings

CHUNK: Final = 100
"""Letters in one request to the running gateway: a second's work, so that the progress bar moves."""

commands = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="List, show, replay and discard dead letters. They are plain files; nothing has to run. Those of all"
    " gateways that share a spool are seen by each, and dealt with where they are.",
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Dead letters, by id.")]
Target = Annotated[
    str | None,
    typer.Option("--target", help="Of this target; _unrouted: of none.", autocompletion=complete_target),
]
Field = Annotated[
    str | None,
    typer.Option(
        "--field", help="With a change of this field (* and ? as in routes).", autocompletion=complete_field
    ),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Accepted at or after it: 2h, 3d, or 2026-01-02T03:04:05Z."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Accepted at or before it.")]
ReasonOption = Annotated[
    str | None,
    typer.Option("--reason", help="refused, gave_up, unrouted, unparseable, damaged or discarded_target."),
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter there is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result for scripts.")]


@commands.command("list")
def list_(
    target: Target = None,
    field: Field = None,
    since: Since = None,
    until: Until = None,
    reason: ReasonOption = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first: a table on a terminal, tab-separated in a pipe.

    In a pipe the columns are: id, target, reason, fields, received_at, died_at (UTC), and last: status or
    error of the last attempt; where gateways share a spool, also the gateway that holds it. On a terminal
    received is month, day and time (UTC); --json has everything.
    """
    selection = make_selection(target, field, since, until, reason)
    with _looking() as (settings, source, _):
        selected = source.rows(selection)
        first = list(islice(selected, 1))
        if not first:
            err("no dead letter matches")
            _note_misspelt(settings, target)
        rows = chain(first, selected)
        if as_json:
            stream_json(rows)
        elif sys.stdout.isatty():
            print_tables(rows)
        else:
            for row in rows:
                out("\t".join(cells_of(row)))


@commands.command()
def show(
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="A dead letter, by id, or by as much of its begin as is unique."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: why it died, every attempt, and the body. This prints message text."""
    with _looking() as (settings, source, gateway):
        where, file, holder = _read(settings, source, gateway, _find(source, identifier))
    if as_json:
        out_json(file)
        return
    body = file.pop("body", file.pop("body_base64", ""))
    attempts = file.pop("attempts")
    out(visible_lines(where))
    if holder:
        out(f"on gateway: {visible_lines(holder)}")
    for key, value in file.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        out(f"{key}: {visible_lines(shown)}")
    for number, attempt in enumerate(attempts, start=1):
        outcome = attempt["status"] or attempt["error"]
        out(f"attempt {number}: {attempt['at']}  {visible_lines(str(outcome))}  {attempt['duration_ms']} ms")
        if attempt["response_excerpt"]:
            out(f"  {visible_lines(attempt['response_excerpt'])}")
    out("body:")
    out(visible_lines(body))


@commands.command()
def replay(
    ids: Ids = None,
    target: Target = None,
    field: Field = None,
    since: Since = None,
    until: Until = None,
    reason: ReasonOption = None,
    everything: All = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be replayed; change nothing.")
    ] = False,
    accept_edited: Annotated[
        bool, typer.Option("--accept-edited", help="Replay letters whose file was edited, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Store dead letters again, to be delivered under their old ids; then remove their files.

    The running gateway does it, asked through its admin port; where none runs, this command takes the spool
    and does it itself, and they are delivered after the next start. It may be interrupted and repeated.
    Letters of _unrouted go through the routes again.
    """
    selection = make_selection(target, field, since, until, reason)
    with _looking() as (settings, source, gateway):
        chosen = choose(source, ids, selection, everything=everything)
        content: dict[str, object] = {"accept_edited": accept_edited}
        with reporting(frozenset({"replayed", "would_replay", "pending"}), as_json=as_json) as report:
            if dry_run and isinstance(source, Files):
                _do_here(chosen, partial(rehearse_alone, settings, accept_edited), report)
            elif dry_run:
                _do_shared(settings, gateway, "rehearse", chosen, content, report)
            else:
                alone = partial(replay_alone, settings, accept_edited)
                _do(settings, gateway, "replay", chosen, content, alone, report)
            if not report.counts:
                _note_misspelt(settings, target)


@commands.command()
def discard(
    ids: Ids = None,
    target: Target = None,
    field: Field = None,
    since: Since = None,
    until: Until = None,
    reason: ReasonOption = None,
    everything: All = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove dead letters for good. It may be interrupted and repeated."""
    selection = make_selection(target, field, since, until, reason)
    with _looking() as (settings, source, gateway):
        chosen = choose(source, ids, selection, everything=everything)
        if not (dry_run or yes) and (number := chosen.number()):
            letters = "dead letter" if number == 1 else "dead letters"
            demand_agreement(f"Remove {number} {letters} for good?", otherwise="nothing is removed")
        with reporting(frozenset({"discarded", "would_discard"}), as_json=as_json) as report:
            if dry_run:
                _do_here(chosen, _would_discard, report)
            else:
                _do(settings, gateway, "discard", chosen, {}, partial(discard_alone, settings), report)
            if not report.counts:
                _note_misspelt(settings, target)


# -- which


@contextmanager
def _looking() -> "Iterator[tuple[Settings, Source, AdminClient | None]]":
    """Give the settings, where letters are looked up, and the gateway that runs with them, where it is known
    by now: of letters that are shared, it is asked for the list, too."""
    from gateway.cli.admin_client import running_gateway
    from gateway.spool.opening import is_shared

    settings = _settings()
    gateway = running_gateway(options.config, settings) if is_shared(settings.spool) else None
    with source_of(settings, gateway, _store(settings)) as source:
        yield settings, source, gateway


def _read(
    settings: "Settings", source: "Source", gateway: "AdminClient | None", identifier: str
) -> tuple[str, dict[str, Any], str]:
    """Return the path of a letter, what is in it, and the gateway that holds it, where that is another."""
    from gateway.listing import FOUND

    if isinstance(source, Files):
        return *source.read(identifier), ""
    said = (
        read_with_others(settings, identifier)
        if gateway is None
        else gateway.post(f"{PATH}/show", {"id": identifier})
    )
    if said["result"] != FOUND:
        words = str(said["result"]).replace("_", " ")
        raise DeadLetterError(f"{identifier}: {said['detail'] or words}")
    return str(said["file"]), dict(said["letter"]), str(said.get("gateway", ""))


def _note_misspelt(settings: "Settings", target: str | None) -> None:
    """Where nothing matched: name the targets there are, if it may be for a slip of the pen."""
    names = [*settings.targets, UNROUTED]
    if target is not None and target not in names:
        err(f"note: the configuration has no target {target!r:.80}; it has {', '.join(names)}")


def _settings() -> "Settings":
    from gateway.cli.admin_client import settings_of

    # Secrets may be in the gateway's environment and not in ours; none is needed but, perhaps, the admin
    # token.
    return settings_of(options.config)


def _store(settings: "Settings") -> "DeadLetterStore":
    from gateway.delivery.dead_letter import DeadLetterStore

    directory = settings.dead_letter.directory
    try:
        directory.stat()
    except FileNotFoundError:
        err(f"{directory} does not exist: has the gateway run with this configuration?")
    except OSError:
        pass  # reading it tells
    return DeadLetterStore(directory, b"")


def _find(source: "Source", identifier: str) -> str:
    """Return the id of this letter, or of the only one whose id begins so."""
    several = source.beginning(identifier) if identifier else []
    if identifier in several:
        return identifier
    if len(several) > 1:
        raise DeadLetterError(
            f"several dead letters begin with {identifier}: {several[0]}, {several[1]}",
            remedy="write more of the id",
        )
    if not several:
        raise DeadLetterError(f"there is no dead letter {identifier}", remedy="gateway dead-letters list")
    return several[0]


# -- doing it

Work = Callable[[Iterator[list[str]], Report], None]
"""Does something to dead letters, some at a time, and reports what became of each."""


def _do(
    settings: "Settings",
    gateway: "AdminClient | None",
    action: str,
    chosen: Chosen,
    content: dict[str, object],
    alone: Work,
    report: Report,
) -> None:
    """Have the running gateway do it; where none runs, do it here."""
    from gateway.cli.admin_client import running_gateway
    from gateway.cli.state_owner import refuse_another_user

    if not isinstance(chosen.source, Files):
        _do_shared(settings, gateway, action, chosen, content, report)
        return
    if chosen.is_empty():
        return
    gateway = running_gateway(options.config, settings)
    if gateway is not None:
        _ask(gateway, action, chosen, content, report)
        return

    def work(chunks: Iterator[list[str]], report: Report) -> None:
        refuse_another_user(settings.spool.directory)
        err("no gateway runs: doing it here")
        alone(chunks, report)

    _do_here(chosen, work, report)


def _do_shared(
    settings: "Settings",
    gateway: "AdminClient | None",
    action: str,
    chosen: Chosen,
    content: dict[str, object],
    report: Report,
) -> None:
    """Have the running gateway do it, and it the others; where it does not run, do it from here."""
    if chosen.is_empty():
        return
    if gateway is not None:
        _ask(gateway, action, chosen, content, report)
        return
    err("this gateway does not run: doing it in the spool that the others share")
    do_with_others(settings, action, content, _chunks(action, chosen), report)


def _ask(
    gateway: "AdminClient", action: str, chosen: Chosen, content: dict[str, object], report: Report
) -> None:
    for chunk in _chunks(action, chosen):
        results = gateway.post(f"{PATH}/{action}", {**content, "ids": chunk}).get("results", {})
        for identifier in chunk:
            one = results[identifier]
            report.add(identifier, str(one["result"]), str(one["detail"]))


def _do_here(chosen: Chosen, work: Work, report: Report) -> None:
    """Look whether letters are there before anything else is opened or made."""
    if chosen.ids is not None:
        found = chosen.source.there(chosen.ids)
        there = tuple(identifier for identifier in chosen.ids if identifier in found)
        for identifier in chosen.ids:
            if identifier not in there:
                report.add(identifier, "not_found", f"there is no dead letter {identifier}")
        if not there:
            return
        chosen = replace(chosen, ids=there)
    if not chosen.is_empty():
        work(_chunks("dead letters", chosen), report)


def _chunks(what: str, chosen: Chosen) -> Iterator[list[str]]:
    """Go through ids a chunk at a time, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        # Results are printed above the bar where they go to the same terminal, and to the pipe where not.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar as progress:
        task = progress.add_task(what, total=None if bar.disable else chosen.at_most())
        ids = chosen.walk(err)
        while chunk := list(islice(ids, CHUNK)):
            yield chunk
            progress.advance(task, len(chunk))


def _would_discard(chunks: Iterator[list[str]], report: Report) -> None:
    for chunk in chunks:
        for identifier in chunk:
            report.add(identifier, "would_discard", "")
