"""`gateway spool`: what concerns the spool as a whole."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import err, options, out, out_json
from gateway.clock import unix_ms
from gateway.errors import UsageError

commands = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Bring the spool's schema up to date, or carry a spool over.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result for scripts.")]


@commands.callback()
def _commands() -> None:
    """Bring the spool's schema up to date, or carry a spool over."""


@commands.command()
def migrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the schema of the spool up to what this version of the gateway needs.

    With spool.engine postgresql this comes first, before a newer gateway is started, and makes the schema in
    an empty database. Older gateways may go on running meanwhile; then they are replaced one by one.

    With sqlite a gateway does it by itself when it starts, and while one runs there is nothing to do here.
    """
    from gateway.cli.stopped_spool import spool_with_dsn
    from gateway.settings.load import load_settings
    from gateway.spool.migrating import migrate_spool

    settings = load_settings(options.config, environ=os.environ, with_secrets=False).settings
    done = migrate_spool(spool_with_dsn(settings.spool), dry_run=dry_run)
    if as_json:
        out_json({"dry_run": dry_run, "databases": [asdict(one) for one in done]})
        return
    if not done:
        out("there is no spool yet: a gateway makes it when it starts")
    for one in done:
        if one.steps:
            verb = "would go" if dry_run else "went"
            out(f"{one.place}: {verb} from schema {one.before or 'none'} to {one.after}")
        else:
            out(f"{one.place}: schema {one.after}, nothing to do")


@commands.command()
def move(
    source: Annotated[
        str, typer.Option("--from", metavar="sqlite:DIR", help="The spool directory that is carried over.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="postgresql", help="Where to: the database of spool.dsn.")
    ],
    as_json: AsJson = False,
) -> None:
    """Carry a SQLite spool over to PostgreSQL: what waits, what is kept, pauses, the duplicates window.

    No gateway may run on that directory; others may run on the database, which needs its schema (gateway
    spool migrate). It may be interrupted and repeated; start no gateway on the directory in between.
    When all has arrived, verified by number and checksum, the files are set aside (spool.sqlite.moved).
    """
    from gateway.cli.state_owner import refuse_another_user
    from gateway.settings.load import load_settings
    from gateway.settings.secret import read_again
    from gateway.spool.moving import move_to_postgresql

    kind, _, directory = source.partition(":")
    if kind != "sqlite" or not directory or to != "postgresql":
        raise UsageError("only --from sqlite:DIR --to postgresql is known")
    settings = load_settings(options.config, environ=os.environ, with_secrets=False).settings.spool
    if settings.dsn is None:
        raise UsageError("the configuration has no spool.dsn", remedy="add it: {env: GATEWAY_DSN}")
    place = Path(directory)
    if not place.is_dir():
        raise UsageError(f"there is no directory {directory}", remedy="name the spool.directory of before")
    refuse_another_user(place)
    gone = 0

    def tell(number: int) -> None:
        nonlocal gone
        gone += number
        err(f"{gone} notifications have gone")

    with_dsn = settings.model_copy(update={"dsn": read_again(settings.dsn, os.environ)})
    done = move_to_postgresql(place, with_dsn, now_ms=unix_ms, progress=tell)
    if as_json:
        out_json({"files": [asdict(one) | {"file": str(one.file), "aside": str(one.aside)} for one in done]})
        return
    if not done:
        out("there is nothing to carry over")
    for one in done:
        sums = one.sums
        out(f"{one.file}: {sums.notifications} notifications with {sums.deliveries} deliveries have arrived;")
        out(f"  it is set aside as {one.aside.name}, and may be removed")
