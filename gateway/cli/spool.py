"""`gateway spool`: what concerns the spool as a whole."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from gateway.cli.output import options, out, out_json

commands = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Bring the spool's schema up to date."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result for scripts.")]


@commands.callback()
def _commands() -> None:
    """Bring the spool's schema up to date."""


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
