"""`gateway dead-letters`: list, show, replay and discard what no target took."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.dead_letter_report import Report, reporting
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
    with reporting(frozenset({"replayed", "would_replay", "pending"}), as_json=as_json) as report:
        if dry_run:
            _do_here(chosen, partial(_rehearse, settings, accept_edited), report)
        else:
            alone = partial(_replay_alone, settings, accept_edited)
            _do(settings, "replay", chosen, {"accept_edited": accept_edited}, alone, report)


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
    settings = _settings()
    store = _store(settings)
    chosen = _chosen(store, ids, _selection(target, field, since, until, reason), everything=everything)
    if not (dry_run or yes) and (number := chosen.number()):
        _ask_first(number)
    with reporting(frozenset({"discarded", "would_discard"}), as_json=as_json) as report:
        if dry_run:
            _do_here(chosen, _would_discard, report)
        else:
            _do(settings, "discard", chosen, {}, partial(_discard_alone, settings, store), report)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """The dead letters that are meant: ids as written, or whatever the selection takes, in no list at all."""

    store: "DeadLetterStore"
    ids: tuple[str, ...] | None
    selection: "Selection"
    began_ms: int
    """What died since is left: a letter that is replayed and dies again at once would come round for ever."""

    def walk(self, tell: Callable[[str], None] = lambda _: None) -> Iterator[str]:
        """Go through the ids; `tell` hears of files that cannot be read, which are left out."""
        from gateway.delivery.selection import select

        if self.ids is not None:
            yield from self.ids
            return
        for found, letter in select(self.store, self.selection):
            if isinstance(letter, DeadLetterError):
                tell(f"left out: {letter}")
            elif found.written_ms < self.began_ms:
                yield found.id

    def is_empty(self) -> bool:
        """Whether there are none; then it is told why."""
        if next(self.walk(), None) is not None:
            return False
        for _ in self.walk(err):
            pass
        err("no dead letter matches")
        return True

    def number(self) -> int:
        """Return how many there are; reads them all."""
        return sum(1 for _ in self.walk())

    def at_most(self) -> int:
        """Return how many there can be, judged by the names of the files alone."""
        if self.ids is not None:
            return len(self.ids)
        found = self.store.iterate(target=self.selection.target)
        return sum(1 for one in found if self.selection.may_hold(one))


def _chosen(
    store: "DeadLetterStore", ids: list[str] | None, selection: "Selection", *, everything: bool
) -> _Chosen:
    if bool(ids) + everything + (not selection.states_nothing) != 1:
        raise UsageError("say which", remedy="give ids, or filters, or --all")
    named = tuple(dict.fromkeys(ids)) if ids else None
    return _Chosen(store=store, ids=named, selection=selection, began_ms=_now_ms())


# -- doing it

Work = Callable[[Iterator[list[str]], Report], None]
"""Does something to dead letters, some at a time, and reports what became of each."""


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
    action: str,
    chosen: _Chosen,
    content: dict[str, object],
    alone: Work,
    report: Report,
) -> None:
    """Have the running gateway do it; where none runs, do it here."""
    from gateway.cli.admin_client import running_gateway
    from gateway.cli.state_owner import refuse_another_user

    if chosen.is_empty():
        return
    gateway = running_gateway(options.config, settings)
    if gateway is None:

        def work(chunks: Iterator[list[str]], report: Report) -> None:
            refuse_another_user(settings.spool.directory)
            err("no gateway runs: doing it here")
            alone(chunks, report)

        _do_here(chosen, work, report)
        return
    for chunk in _chunks(action, chosen):
        results = gateway.post(f"/api/dead-letters/{action}", {**content, "ids": chunk}).get("results", {})
        for identifier in chunk:
            one = results[identifier]
            report.add(identifier, str(one["result"]), str(one["detail"]))


def _do_here(chosen: _Chosen, work: Work, report: Report) -> None:
    """Look whether letters are there before anything else is opened or made."""
    if chosen.ids is not None:
        there = tuple(identifier for identifier in chosen.ids if _exact(chosen.store, identifier))
        for identifier in chosen.ids:
            if identifier not in there:
                report.add(identifier, "not_found", f"there is no dead letter {identifier}")
        if not there:
            return
        chosen = replace(chosen, ids=there)
    if not chosen.is_empty():
        work(_chunks("dead letters", chosen), report)


def _chunks(what: str, chosen: _Chosen) -> Iterator[list[str]]:
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


def _tell(report: Report, results: "Mapping[str, Result]") -> None:
    for name, result in results.items():
        report.add(name, str(result.word), result.detail)


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


def _rehearse(settings: "Settings", accept_edited: bool, chunks: Iterator[list[str]], report: Report) -> None:
    from gateway.delivery.replay import rehearse

    store, known = _sealed_store(settings), _known(settings)
    for chunk in chunks:
        _tell(report, rehearse(store, chunk, known=known, accept_edited=accept_edited))


def _replay_alone(
    settings: "Settings", accept_edited: bool, chunks: Iterator[list[str]], report: Report
) -> None:
    import trio

    from gateway.delivery.replay import Replayer
    from gateway.spool.sqlite import SqliteOptions, open_sqlite_spool
    from gateway.telemetry.metrics import Metrics

    store, known = _sealed_store(settings), _known(settings)
    spool_options = SqliteOptions.of(settings.spool)

    async def run() -> None:
        async with open_sqlite_spool(
            settings.spool.directory, spool_options, metrics=Metrics(), now_ms=_now_ms
        ) as spool:
            replayer = Replayer(spool=spool, store=store, known=lambda: known, now_ms=_now_ms)
            for chunk in chunks:
                _record(settings, "replay", chunk, accept_edited=accept_edited)
                _tell(report, await replayer.replay(chunk, accept_edited=accept_edited))

    trio.run(run)


def _discard_alone(
    settings: "Settings", store: "DeadLetterStore", chunks: Iterator[list[str]], report: Report
) -> None:
    from gateway.delivery.replay import discard as discard_letters

    for chunk in chunks:
        _record(settings, "discard", chunk)
        _tell(report, discard_letters(store, chunk))


def _would_discard(chunks: Iterator[list[str]], report: Report) -> None:
    for chunk in chunks:
        for identifier in chunk:
            report.add(identifier, "would_discard", "")
