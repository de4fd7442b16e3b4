"""`gateway run`."""

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.output import err, options, out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings.model import Settings


def command(
    worker: Annotated[int | None, typer.Option(hidden=True)] = None,
    channel: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve until SIGTERM or SIGINT, and print the callback URL of each app.

    Everything that `gateway check` complains about is complained about here too, before anything listens; its
    remarks are logged. Logs go to stderr. On SIGTERM the gateway takes nothing new, finishes what is in
    flight within `listen.drain.timeout`, and exits with 0; what is not delivered yet stays in the spool and
    goes out after the next start.

    On SIGHUP everything is read anew: settings, certificates, anchors, lists, file secrets. A certificate,
    key, anchor, list or secret file that changes is taken up by itself, a second after it came to rest. No
    connection is dropped. A new state that is broken, or that changes listen.address, listen.workers, spool,
    admin or metrics, changes nothing: the log, /readyz and /api/config of the admin port say why.

    With listen.workers above 1, this process is the supervisor of so many workers: signals are for it alone,
    and its admin port answers for all.
    """
    import signal
    import sys

    if worker is not None and channel is not None:
        _work(channel)
        return

    # Until the gateway listens to signals itself: not the end of the process, and not forgotten either.
    early: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))

    import trio

    from gateway.errors import ConfigurationError
    from gateway.preflight import load_and_examine, remarks
    from gateway.process.service import serve
    from gateway.process.supervisor import needs_supervisor, supervise
    from gateway.telemetry.log import apply_log_settings, get_logger, written_aside

    loaded, problems = load_and_examine(options.config, environ=os.environ)
    if problems or loaded is None:
        raise ConfigurationError(problems)
    apply_log_settings(loaded.settings.log)
    log = get_logger("configuration")
    for remark in remarks(loaded):
        log.warning(
            "configuration_remark",
            place=f"{remark.file}:{remark.line}:{remark.column}",
            key=remark.key_path,
            message=remark.message,
            remedy=remark.remedy,
        )

    if sys.stdout.isatty():
        for line in banner(loaded.settings):
            out(line)

    def announce(line: str) -> None:
        out(line)
        sys.stdout.flush()

    def asked() -> bool:
        return bool(early)

    if needs_supervisor(loaded.settings):
        run = partial(supervise, loaded, config=options.config, announce=announce, reload_asked=asked)
    else:
        run = partial(serve, loaded, announce=announce, reload_asked=asked)
    with written_aside():
        trio.run(run)
    err("stopped; what was not delivered is in the spool")


def banner(settings: "Settings") -> "Iterator[str]":
    """Say what is started, for whoever has started it in a terminal; logs and pipes have no use for it."""
    from gateway import __version__

    counts = [(len(settings.apps), "app"), (len(settings.targets), "target"), (len(settings.routes), "route")]
    told = ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in counts)
    yield f"gateway {__version__}: {options.config} ({told})"
    if settings.admin.address.port:
        yield f"admin port: http://{settings.admin.address}/"
    yield f"Ctrl-C stops it; kill -HUP {os.getpid()} reloads it"
    yield ""


def _work(channel: int) -> None:
    """Be a worker of the supervisor at the other end of a socket pair (a descriptor that was inherited)."""
    import signal

    # They are the supervisor's: a terminal and systemd send them to every process.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    import socket

    import trio

    from gateway.process.worker import work
    from gateway.telemetry.log import written_aside

    with written_aside():
        trio.run(partial(work, socket.socket(fileno=channel), config=options.config))
