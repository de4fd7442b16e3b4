"""`gateway dead-letters`: list, show, replay and discard what no target took."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.dead_letter_rows import cells_of, print_tables, row_of, stream_json, visible_lines
from gateway.cli.output import EXIT_FAILED, err, options, out, out_json
from gateway.errors import DeadLetterError, UsageError

if TYPE_CHECKING:
    from gateway.delivery.dead_letter import DeadLetterStore, Found
    from gateway.delivery.replay import Known, Result
    from gateway.delivery.selection import Selection
    from gateway.settings.model import Settings

CHUNK: Final = 100
"""Letters in one request to the running gateway: a second's work, so that the progress bar moves."""

commands = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="List, show, replay and discard dead letters. They are plain files; nothing has to run.",
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Dead letters, by id.")]
Target = Annotated[str | None, typer.Option("--target", help="Of this target; _unrouted: of none.")]
Field = Annotated[
    str | None, typer.Option("--field", help="With a change of this field (* and ? as in routes).")
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
    error of the last attempt. On a terminal received is month, day and time (UTC); --json has everything.
    """
    from gateway.delivery.selection import select

    selection = _selection(target, field, since, until, reason)
    rows = (row_of(found, letter) for found, letter in select(_store(_settings()), selection))
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
    from gateway.delivery.dead_letter_record import encode

    store = _store(_settings())
    found = _find(store, identifier)
    letter = store.read(found)
    # As the file has it, its own seal included.
    file = {**json.loads(encode(letter, seal_key=b"unused")), "integrity": letter.integrity}
    if as_json:
        out_json(file)
        return
    body = file.pop("body", file.pop("body_base64", ""))
    attempts = file.pop("attempts")
    out(visible_lines(str(store.directory / found.name)))
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
    settings = _settings()
    store = _store(settings)
    chosen = _chosen(store, ids, _selection(target, field, since, until, reason), everything=everything)
    if dry_run:
        outcomes = _do_here(store, chosen, partial(_rehearse, settings, accept_edited))
    else:
        alone = partial(_replay_alone, settings, accept_edited)
        outcomes = _do(settings, store, "replay", chosen, {"accept_edited": accept_edited}, alone)
    _report(outcomes, good=frozenset({"replayed", "would_replay", "pending"}), as_json=as_json)


@commands.command()
def discard(
    ids: Ids = None,
    target: Target = None,
    field: Field = None,
    since: Since = None,
    until: Until = None,
    reason: ReasonOption = None,
    everything: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove dead letters for good."""
    settings = _settings()
    store = _store(settings)
    chosen = _chosen(store, ids, _selection(target, field, since, until, reason), everything=everything)
    if chosen and not yes:
        _ask_first(len(chosen))
    outcomes = _do(settings, store, "discard", chosen, {}, partial(_discard_alone, settings, store))
    _report(outcomes, good=frozenset({"discarded"}), as_json=as_json)


# -- which


def _settings() -> "Settings":
    from gateway.settings.load import load_settings

    # Secrets may be in the gateway's environment and not in ours; none is needed but, perhaps, the admin
    # token.
    return load_settings(options.config, environ=os.environ, with_secrets=False).settings


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


def _find(store: "DeadLetterStore", identifier: str) -> "Found":
    """Find the letter of this id, or the only one whose id begins so."""
    if found := _exact(store, identifier):
        return found
    begins = (found for found in store.iterate() if identifier and found.id.startswith(identifier))
    several = list(islice(begins, 2))
    if len(several) > 1:
        raise DeadLetterError(
            f"several dead letters begin with {identifier}: {several[0].id}, {several[1].id}",
            remedy="write more of the id",
        )
    if not several:
        raise DeadLetterError(f"there is no dead letter {identifier}", remedy="gateway dead-letters list")
    return several[0]


def _exact(store: "DeadLetterStore", identifier: str) -> "Found | None":
    from gateway.delivery.dead_letter_record import DELIVERY_ID

    return store.find(identifier) if DELIVERY_ID.fullmatch(identifier) else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _selection(
    target: str | None, field: str | None, since: str | None, until: str | None, reason: str | None
) -> "Selection":
    from gateway.delivery.dead_letter_record import Reason
    from gateway.delivery.selection import Selection, parse_moment

    if reason is not None and reason not in set(Reason):
        raise UsageError(f"--reason {reason!r:.40} is none", remedy=f"write one of {', '.join(Reason)}")
    now_ms = _now_ms()
    return Selection(
        target=target,
        field=field,
        reason=None if reason is None else Reason(reason),
        since_ms=None if since is None else parse_moment(since, now_ms=now_ms, option="--since"),
        until_ms=None if until is None else parse_moment(until, now_ms=now_ms, option="--until"),
    )


def _chosen(
    store: "DeadLetterStore", ids: list[str] | None, selection: "Selection", *, everything: bool
) -> list[str]:
    from gateway.delivery.selection import select

    if bool(ids) + everything + (not selection.states_nothing) != 1:
        raise UsageError("say which", remedy="give ids, or filters, or --all")
    if ids:
        return list(dict.fromkeys(ids))
    chosen = []
    for found, letter in select(store, selection):
        if isinstance(letter, DeadLetterError):
            err(f"left out: {letter}")
        else:
            chosen.append(found.id)
    if not chosen:
        err("no dead letter matches")
    return chosen


# -- doing it

Outcomes = dict[str, tuple[str, str]]
"""Id -> what became of it in one word, and what else there is to say."""
Work = Callable[[list[str]], Outcomes]


def _ask_first(number: int) -> None:
    letters = "dead letter" if number == 1 else "dead letters"
    try:
        agreed = typer.confirm(f"Remove {number} {letters} for good?", err=True)
    except typer.Abort:
        err("")  # the question has no line end
        err("nobody answered, nothing is removed; use --yes where nobody can be asked")
        raise typer.Exit(EXIT_FAILED) from None
    if not agreed:
        err("nothing is removed")
        raise typer.Exit(EXIT_FAILED)


def _do(
    settings: "Settings",
    store: "DeadLetterStore",
    action: str,
    chosen: list[str],
    content: dict[str, object],
    alone: Work,
) -> Outcomes:
    """Have the running gateway do it; where none runs, do it here."""
    from gateway.cli.admin_client import running_gateway
    from gateway.cli.state_owner import refuse_another_user

    if not chosen:
        return {}
    gateway = running_gateway(options.config, settings)
    if gateway is None:

        def work(ids: list[str]) -> Outcomes:
            refuse_another_user(settings.spool.directory)
            err("no gateway runs: doing it here")
            return alone(ids)

        return _do_here(store, chosen, work)

    def ask(ids: list[str]) -> Outcomes:
        results = gateway.post(f"/api/dead-letters/{action}", {**content, "ids": ids}).get("results", {})
        return {name: (str(one["result"]), str(one["detail"])) for name, one in results.items()}

    return _by_chunks(action, chosen, ask)


def _do_here(store: "DeadLetterStore", chosen: list[str], work: Work) -> Outcomes:
    """Look whether the letters are there before anything else is opened or made."""
    there = [identifier for identifier in chosen if _exact(store, identifier)]
    outcomes = work(there) if there else {}
    missing = set(chosen).difference(there)
    return {
        identifier: ("not_found", f"there is no dead letter {identifier}")
        if identifier in missing
        else outcomes[identifier]
        for identifier in chosen
    }


def _by_chunks(what: str, chosen: list[str], work: Work) -> Outcomes:
    outcomes: Outcomes = {}
    for chunk in _chunks(what, chosen):
        outcomes.update(work(chunk))
    return outcomes


def _chunks(what: str, ids: list[str]) -> Iterator[list[str]]:
    """Go through ids a chunk at a time, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=len(ids))
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            yield chunk
            progress.advance(task, len(chunk))


def _plain(results: "Mapping[str, Result]") -> Outcomes:
    return {name: (str(result.word), result.detail) for name, result in results.items()}


def _record(settings: "Settings", action: str, ids: list[str], **fields: object) -> None:
    from gateway.telemetry.audit import FILE_NAME, AuditLog

    AuditLog(settings.spool.directory.parent / FILE_NAME).record(action, by="command", ids=ids, **fields)


def _known(settings: "Settings") -> "Known":
    from gateway.delivery.replay import Known
    from gateway.settings.routes import routing_table

    return Known(
        apps=frozenset(settings.apps), targets=frozenset(settings.targets), table=routing_table(settings)
    )


def _sealed_store(settings: "Settings") -> "DeadLetterStore":
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.delivery.seal_key import FILE_NAME, read_seal_key

    key = read_seal_key(settings.spool.directory.parent / FILE_NAME)
    return DeadLetterStore(settings.dead_letter.directory, key)


def _rehearse(settings: "Settings", accept_edited: bool, ids: list[str]) -> Outcomes:
    from gateway.delivery.replay import rehearse

    store, known = _sealed_store(settings), _known(settings)
    return _by_chunks(
        "look", ids, lambda chunk: _plain(rehearse(store, chunk, known=known, accept_edited=accept_edited))
    )


def _replay_alone(settings: "Settings", accept_edited: bool, ids: list[str]) -> Outcomes:
    import trio

    from gateway.delivery.replay import Replayer
    from gateway.spool.sqlite import SqliteOptions, open_sqlite_spool
    from gateway.telemetry.metrics import Metrics

    store, known = _sealed_store(settings), _known(settings)
    spool_options = SqliteOptions.of(settings.spool)

    async def run() -> Outcomes:
        async with open_sqlite_spool(
            settings.spool.directory, spool_options, metrics=Metrics(), now_ms=_now_ms
        ) as spool:
            _record(settings, "replay", ids, accept_edited=accept_edited)
            replayer = Replayer(spool=spool, store=store, known=lambda: known, now_ms=_now_ms)
            outcomes: Outcomes = {}
            for chunk in _chunks("replay", ids):
                outcomes.update(_plain(await replayer.replay(chunk, accept_edited=accept_edited)))
            return outcomes

    return trio.run(run)


def _discard_alone(settings: "Settings", store: "DeadLetterStore", ids: list[str]) -> Outcomes:
    from gateway.delivery.replay import discard as discard_letters

    _record(settings, "discard", ids)
    return _by_chunks("discard", ids, lambda chunk: _plain(discard_letters(store, chunk)))


def _report(outcomes: Outcomes, *, good: frozenset[str], as_json: bool) -> None:
    """Print what became of each; exit 1 where something was not done."""
    counts = Counter(word for word, _ in outcomes.values())
    if as_json:
        results = {name: {"result": word, "detail": detail} for name, (word, detail) in outcomes.items()}
        out_json({"counts": dict(counts), "results": results})
    else:
        for name, (word, detail) in outcomes.items():
            out(visible_lines(f"{word}\t{name}\t{detail}"))
        err(", ".join(f"{number} {word}" for word, number in counts.items()))
    if not good.issuperset(counts):
        raise typer.Exit(EXIT_FAILED)
