"""`gateway trace`: where is this message?"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.output import EXIT_FAILED, err, options, out, out_json

if TYPE_CHECKING:
    from gateway.settings.model import Settings


def command(
    id_: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Of a notification (32 hexadecimal digits: Gateway-Notification, and in the log), of a"
            " delivery (NOTIFICATION-TARGET: Idempotency-Key), or what stands in a body: a wamid.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result for scripts.")] = False,
) -> None:
    """Follow one notification: accepted when, how it came, and per target its state, the attempts that
    failed, the next one, or the dead letter.

    A message id has no index: it is looked for in the bodies that are there, newest first, for 10 seconds at
    most, then in the dead letters for as long; whether that was all is told. What a target has taken leaves
    the spool: memory knows it for the next ten thousand notifications, spool.keep_delivered for as long as it
    says.

    The running gateway is asked through its admin port; where none runs, the command looks into the spool
    itself. Exit code 0: found; 1: not found; 2: that is no id.
    """
    from gateway.cli.admin_client import running_gateway, settings_of
    from gateway.cli.other_gateways import has_others
    from gateway.cli.trace.report import lines
    from gateway.clock import unix_ms
    from gateway.tracing import read_asked

    asked = read_asked(id_).text
    settings = settings_of(options.config)
    gateway = running_gateway(options.config, settings)
    if gateway is None:
        err(
            "this gateway does not run: looking into the spool, and asking the others"
            if has_others(settings)
            else "no gateway runs: looking into the spool"
        )
        found = _trace_alone(settings, asked)
    else:
        from urllib.parse import quote

        found = gateway.get(f"/api/trace?id={quote(asked, safe='')}")
    if as_json:
        out_json(found)
    else:
        for line in lines(found, now_ms=unix_ms()):
            out(line)
    if not found["notifications"]:
        raise typer.Exit(EXIT_FAILED)


def _trace_alone(settings: "Settings", text: str) -> dict[str, Any]:
    """Answer as `/api/trace` does, from the files of a gateway that does not run."""
    import trio

    from gateway.cli.stopped_spool import open_stopped_spool, spool_with_dsn
    from gateway.clock import unix_ms
    from gateway.delivery.dead_letter import DeadLetterStore
    from gateway.spool.opening import is_shared
    from gateway.tracing import answer, find_part, letters_of, read_asked

    asked = read_asked(text)

    async def run() -> dict[str, Any]:
        store = DeadLetterStore(settings.dead_letter.directory, b"")
        store.count()
        shared = is_shared(settings.spool)
        async with open_stopped_spool(settings) as files:
            parts = [
                await find_part(asked, spool=spool, worker=number, shared=shared)
                for number, spool in files.items()
            ]
        letters = await letters_of(asked, parts, store, targets=settings.targets)
        if not shared:
            return answer(asked, parts, letters)
        from gateway.process.visiting import trace_with_others

        spool = spool_with_dsn(settings.spool)
        return dict(await trace_with_others(spool, asked, parts, letters, now_ms=unix_ms))

    return trio.run(run)
