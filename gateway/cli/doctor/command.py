"""`gateway doctor`: the running environment."""

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.output import EXIT_FAILED, EXIT_USAGE, err, options, out, out_json

if TYPE_CHECKING:
    from gateway.doctor.examination import Ask
    from gateway.settings.model import Settings


def command(
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Look up no name, connect to no target and to no public port; ask the gateway alone.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at the running environment: certificates and days left, trust anchors and whom they admitted,
    refused clients, the public port as Meta sees it, targets, the spool's disk, clock and names.

    Asks the running gateway through its admin port; where none runs, it says so and looks at the rest.
    Nothing is posted to a target or to the public port, no app secret is read, and the spool is not touched.
    Call it as the gateway's user, so that it may measure the disk.

    Exit code 0: no problem (notes and warnings may be there); 1: problems; 2: the configuration cannot be
    read, and no gateway that has loaded it can be asked.
    """
    import trio

    from gateway.cli.admin_client import loaded_content
    from gateway.doctor.examination import examine
    from gateway.errors import ConfigurationError
    from gateway.preflight import load_and_examine

    # Neither secrets nor keys: an operator's shell has not the service's environment, nor its rights.
    loaded, problems = load_and_examine(options.config, environ=os.environ, with_secrets=False)
    if (
        loaded is None
        and (content := loaded_content(options.config, ConfigurationError(problems))) is not None
    ):
        # The file is broken, and a finding of its own; the gateway goes on with what it has loaded.
        loaded, others = load_and_examine(
            options.config, environ=os.environ, with_secrets=False, content=content
        )
        problems = (*problems, *others)
    if loaded is None:
        for problem in problems:
            err(str(problem))
        raise typer.Exit(EXIT_USAGE)
    ask, other = _way_to(loaded.settings)
    report = trio.run(partial(examine, loaded, problems, ask=ask, other=other, offline=offline))
    if json:
        from gateway.cli.doctor.report import as_json

        out_json(as_json(report))
    elif sys.stdout.isatty():
        from gateway.cli.doctor.report import show

        show(report)
    else:
        from gateway.cli.doctor.report import lines

        for line in lines(report):
            out(line)
    if not report.ok:
        raise typer.Exit(EXIT_FAILED)


def _way_to(settings: "Settings") -> "tuple[Ask | None, str]":
    """Return the way to the running gateway, None where it does not listen, and what listens in its place."""
    from gateway.cli.admin_client import get_json, is_listening, stranger_at
    from gateway.doctor.observed import Answer
    from gateway.errors import GatewayError

    address = settings.admin.address
    try:
        if not is_listening(address):
            return None, ""
        if stranger := stranger_at(address, settings):
            return None, stranger
    except GatewayError as error:
        err(f"remark: {error}")
        return None, ""

    def ask(asked: str) -> Answer:
        try:
            status, content = get_json(address, asked)
        except GatewayError as error:
            return Answer(status=0, fault=str(error))
        return Answer(status=status, content=content)

    return ask, ""
