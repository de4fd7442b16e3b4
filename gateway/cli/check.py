"""`gateway check`: the configuration and every file that it names; no network."""

import os
from typing import Annotated

import typer

from gateway.cli.output import EXIT_USAGE, err, options, out, out_json


def command(
    without_secrets: Annotated[
        bool,
        typer.Option("--without-secrets", help="Read neither secrets nor private keys: for CI."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check configuration, certificates, secrets and routes. Exit code 0: clean; 2: problems.

    Each problem is one line: FILE:LINE:COLUMN: key.path: what is wrong; what to do. Remarks on what works,
    but is worth a look, go to stderr and change nothing.
    """
    from gateway.preflight import load_and_examine, remarks

    loaded, problems = load_and_examine(options.config, environ=os.environ, with_secrets=not without_secrets)
    noticed = remarks(loaded, with_keys=not without_secrets) if loaded is not None else ()
    if json:
        plain = [problem.plain() for problem in problems]
        out_json({"ok": not problems, "problems": plain, "remarks": [one.plain() for one in noticed]})
    else:
        for remark in noticed:
            err(f"remark: {remark}")
        for problem in problems:
            out(str(problem))
    if problems:
        raise typer.Exit(EXIT_USAGE)
    if loaded is not None and not json:
        held = loaded.settings
        counts = f"apps: {len(held.apps)}, targets: {len(held.targets)}, routes: {len(held.routes)}"
        out(f"{options.config}: no problems ({counts})")
